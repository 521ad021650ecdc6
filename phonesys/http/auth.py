"""Who signs a call, and with what."""

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

T = TypeVar("T")


class Auth(Protocol):
    """Signs calls.

    `sign` is what every request pays, so it does not wait; where a credential has to be fetched first, it
    answers None, and `prepare` is awaited before it is asked again.
    """

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the headers that carry the credential, or None if it must be prepared."""
        ...

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Fetch what signing this call needs; raises a CallError where that fails.

        A sweep counts this as a request under way: what waits for longer than one takes does so in
        `scope.waiting()`.
        """

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Take note that these headers were answered with 401; say whether others are worth a try."""
        ...

    def accounts(self) -> tuple[str, ...]:
        """List the accounts that the credentials name; none where they do not."""
        ...


class AuthClient(Protocol):
    """The part of an HttpClient that credentials need for requests of their own."""

    options: HttpOptions

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
    ) -> AuthClient:
        """Create a client to the same vendor over the same connections, with other credentials."""
        ...


@runtime_checkable
class RefreshableAuth(Protocol):
    """An Auth that sends requests of its own, and so is opened and closed with the clients it signs for."""

    async def open(self, client: AuthClient) -> None:
        """Prepare to sign calls of this client, whose address and options its own requests share."""

    async def close(self, client: AuthClient) -> None:
        """Finish what must not be interrupted, before the client closes."""


class StaticAuth:
    """The same header on every call."""

    def __init__(self, header: str, value: HeaderValue) -> None:
        self._headers: dict[str, str] = {header: value}

    @property
    def headers(self) -> Mapping[str, str]:
        """The header, which is the same for every call."""
        return self._headers

    def sign(self, call: Call[Any]) -> Mapping[str, str]:
        """Return the header."""
        return self._headers

    async def ensure_valid(self, call: Call[Any]) -> None:
        """There is nothing to prepare."""

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """No other credential is to be had."""
        return False

    def accounts(self) -> tuple[str, ...]:
        """Name none: a single credential does not say whose it is."""
        return ()


class Unsigned(StaticAuth):
    """No header at all: for what proves itself otherwise, or needs no proof."""

    def __init__(self) -> None:
        self._headers = {}


class Bearer(StaticAuth):
    """A token that stays the same: a Private Integration Token, an organization key."""

    def __init__(self, token: str | Secret) -> None:
        secret = Secret(token, what="token")
        super().__init__("Authorization", HeaderValue(f"Bearer {secret.reveal()}"))


class ApiKey(StaticAuth):
    """A key in a header of its own."""

    def __init__(self, key: str | Secret, *, header: str = "X-API-Key") -> None:
        super().__init__(header, HeaderValue(Secret(key, what="API key").reveal()))


class PerAccount:
    """A static credential for each account: `PerAccount({"loc_1": Bearer("pit-…"), …})`.

    Strings stand for Bearer tokens. A call for any other account is InvalidArgument, before it is sent.
    """

    def __init__(self, credentials: Mapping[str, Auth | Secret | str]) -> None:
        self._auths: dict[str, Auth] = {
            account: Bearer(auth) if isinstance(auth, str | Secret) else auth
            for account, auth in credentials.items()
        }

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Sign with the credential of the call's account."""
        return self._of(call).sign(call)

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Prepare the credential of the call's account."""
        await self._of(call).ensure_valid(call)

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Tell the credential of the call's account."""
        return self._of(call).on_unauthorized(call, headers)

    def accounts(self) -> tuple[str, ...]:
        """List the accounts that there are credentials for."""
        return tuple(self._auths)

    async def open(self, client: AuthClient) -> None:
        """Open those credentials that have to be fetched; all of them, or none."""
        async with AsyncExitStack() as stack:
            for auth in self._fetching():
                await auth.open(client)
                stack.push_async_callback(auth.close, client)
            stack.pop_all()

    async def close(self, client: AuthClient) -> None:
        """Close them, whichever fail."""
        async with AsyncExitStack() as stack:
            for auth in self._fetching():
                stack.push_async_callback(auth.close, client)

    def _fetching(self) -> list[RefreshableAuth]:
        return [auth for auth in self._auths.values() if isinstance(auth, RefreshableAuth)]

    def _of(self, call: Call[Any]) -> Auth:
        auth = self._auths.get(call.account)
        if auth is None:
            raise InvalidArgument(
                f"no credential for account {call.account!r}; there are {len(self._auths)} others"
            )
        return auth
