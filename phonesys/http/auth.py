"""Authentication: objects that sign calls with a credential."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from phonesys.errors import InvalidArgument
from phonesys.secret import HeaderValue, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.leased import SharedLimit
    from phonesys.telemetry.observers import Observers

T = TypeVar("T")


class Auth(Protocol):
    """Signs calls.

    Every request pays for `sign`, so it does not wait. If a credential must be fetched first, `sign` returns
    None, and `ensure_valid` is awaited before `sign` is called again.
    """

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the headers that carry the credential, or None if it must be fetched first."""
        ...

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Fetch the credential for this call. Raise a CallError if that fails.

        A sweep counts this as one request in flight. Waits that take longer belong in
        `_slot.waiting()`.
        """

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Note that these headers were rejected with 401. Return True if another credential may work."""
        ...

    def accounts(self) -> tuple[str, ...]:
        """Return the accounts that the credentials name, if they name any."""
        ...


class AuthClient(Protocol):
    """The part of an HttpClient that credentials need for requests of their own."""

    options: HttpOptions
    backend: str
    observers: Observers

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    async def send(self, call: Call[T]) -> T:
        """Send a call, and return the decoded response or raise a CallError."""
        ...

    def clone(
        self,
        auth: Auth,
        *,
        headers: Mapping[str, str],
        base_url: str | None = None,
        max_concurrency: int | None = None,
        shared_limit: SharedLimit | None = None,
    ) -> AuthClient:
        """Create a client to the same vendor over the same connections, with other credentials."""
        ...


@runtime_checkable
class RefreshableAuth(Protocol):
    """An Auth that sends requests of its own, and is opened and closed with the clients it signs for."""

    async def open(self, client: AuthClient) -> None:
        """Prepare to sign calls of this client, whose address and options its own requests share."""

    async def close(self, client: AuthClient) -> None:
        """Finish what must not be interrupted, before the client closes."""


@runtime_checkable
class RenewableAuth(Protocol):
    """A RefreshableAuth whose tokens can be renewed before they expire."""

    @property
    def grantors(self) -> tuple[str, ...]:
        """Accounts whose consent gave the token of all others, such as a company; they are not swept."""
        ...

    async def renew(self, account: str, *, valid_for: float) -> bool:
        """Renew the token of an account unless it is usable for so many more seconds.

        Return True if it was renewed, by this program or another one. Raises as a call does that needs it.
        """
        ...


class StaticAuth:
    """The same header on every call."""

    def __init__(self, header: str, value: HeaderValue) -> None:
        self._headers: dict[str, str] = {header: value}

    @property
    def headers(self) -> Mapping[str, str]:
        """The header of every call."""
        return self._headers

    def sign(self, call: Call[Any]) -> Mapping[str, str]:
        """Return the header."""
        return self._headers

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Do nothing: the credential never changes."""

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Return False: there is no other credential."""
        return False

    def accounts(self) -> tuple[str, ...]:
        """Return no accounts: a single credential does not name its own."""
        return ()


class Unsigned(StaticAuth):
    """No header: for calls that need no credential, or carry it in their body."""

    def __init__(self) -> None:
        self._headers = {}


class Bearer(StaticAuth):
    """A Bearer token that never changes: a Private Integration Token, an organization key."""

    def __init__(self, token: str | Secret) -> None:
        secret = Secret(token, what="token")
        super().__init__("Authorization", HeaderValue(f"Bearer {secret.reveal()}"))


class ApiKey(StaticAuth):
    """A key in a header of its own."""

    def __init__(self, key: str | Secret, *, header: str = "X-API-Key") -> None:
        super().__init__(header, HeaderValue(Secret(key, what="API key").reveal()))


class PerAccount:
    """A credential for each account: `PerAccount({"loc_1": Bearer("pit-0001"), ...})`.

    Strings are Bearer tokens. A call for any other account raises InvalidArgument before it is sent.
    """

    def __init__(self, credentials: Mapping[str, Auth | Secret | str]) -> None:
        self._auths: dict[str, Auth] = {
            account: Bearer(auth) if isinstance(auth, str | Secret) else auth
            for account, auth in credentials.items()
        }

    @property
    def credentials(self) -> Mapping[str, Auth]:
        """The credential of each account."""
        return self._auths

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Sign with the credential of the call's account."""
        return self._auth_for(call.account).sign(call)

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Fetch the credential of the call's account."""
        await self._auth_for(call.account).ensure_valid(call)

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Pass a 401 on to the credential of the call's account."""
        return self._auth_for(call.account).on_unauthorized(call, headers)

    def accounts(self) -> tuple[str, ...]:
        """Return the accounts that have credentials."""
        return tuple(self._auths)

    @property
    def grantors(self) -> tuple[str, ...]:
        """No accounts: each has a credential of its own."""
        return ()

    async def renew(self, account: str, *, valid_for: float) -> bool:
        """Renew the token of an account, if it is of a kind that can be renewed."""
        auth = self._auth_for(account)
        return isinstance(auth, RenewableAuth) and await auth.renew(account, valid_for=valid_for)

    async def open(self, client: AuthClient) -> None:
        """Open the refreshable credentials: all of them, or none."""
        async with AsyncExitStack() as stack:
            for auth in self._refreshable():
                await auth.open(client)
                stack.push_async_callback(auth.close, client)
            stack.pop_all()

    async def close(self, client: AuthClient) -> None:
        """Close the refreshable credentials, even if some fail to close."""
        async with AsyncExitStack() as stack:
            for auth in self._refreshable():
                stack.push_async_callback(auth.close, client)

    def _refreshable(self) -> list[RefreshableAuth]:
        return [auth for auth in self._auths.values() if isinstance(auth, RefreshableAuth)]

    def _auth_for(self, account: str) -> Auth:
        auth = self._auths.get(account)
        if auth is None:
            raise InvalidArgument(
                f"no credential for account {account!r}; there are {len(self._auths)} others"
            )
        return auth
