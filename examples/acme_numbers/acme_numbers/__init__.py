"""Acme's numbers for phonesys: rows, calls and a backend, in one page."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

from phonesys import BackendInfo, Capabilities, NumberBase, NumberKind, NumberStatus, Page
from phonesys.http import ApiKey, Call, HttpClient, encode_query, encode_segment, json_decoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from phonesys import Auth, Cursor, HttpOptions, RateLimit

__all__ = ["Acme", "AcmeLine"]

_STATUS = {"live": NumberStatus.ACTIVE, "parked": NumberStatus.INACTIVE}


class AcmeLine(NumberBase, msgspec.Struct, kw_only=True, rename={"number": "e164", "created_at": "since"}):
    """One line, as Acme writes it, with the names that phonesys gives its fields."""

    number: str
    id: str
    label: str | None = None
    state: str = ""
    """Acme's own word for `status`."""
    created_at: datetime | None = None
    account: str = ""
    """Filled in by the backend: Acme says it in the path only."""
    backend: str = ""
    """Filled in by the backend: its name in this system."""

    provider = "acme"
    country = None
    kind = NumberKind.UNKNOWN
    capabilities = Capabilities(voice=True)
    assignee = None
    updated_at = None

    @property
    def status(self) -> NumberStatus:
        """An unknown word is an unknown state, and no error."""
        return _STATUS.get(self.state, NumberStatus.UNKNOWN)


class _Lines(msgspec.Struct):
    lines: tuple[AcmeLine, ...]
    after: str | None = None


class _Offices(msgspec.Struct):
    offices: tuple[str, ...]


_READ_LINES, _READ_OFFICES = json_decoder(_Lines), json_decoder(_Offices)


class Acme:
    """The lines of Acme's offices; an account is an office."""

    info: ClassVar = BackendInfo(
        credential="api_key", make_auth=ApiKey, one_account=False, lists_accounts=True
    )

    def __init__(
        self,
        api_key: str = "",
        *,
        auth: Auth | None = None,
        base_url: str = "https://api.acme.example",
        name: str = "acme",
        limit: RateLimit | None = None,
        http: HttpOptions | None = None,
    ) -> None:
        self.name = name
        self._http = HttpClient(
            base_url, backend=name, auth=auth or ApiKey(api_key), limit=limit, options=http
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def accounts(self) -> AsyncIterator[str]:
        """Yield the offices."""
        call = Call(operation="list_offices", method="GET", target="/offices", decode=_READ_OFFICES)
        for office in (await self._http.send(call)).offices:
            yield office

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[AcmeLine]:
        """Fetch a page of an office's lines; Acme's `after` leads from one to the next."""
        call = Call(
            operation="list_lines",
            method="GET",
            target=f"/offices/{encode_segment(account, 'office')}/lines" + encode_query({"after": cursor}),
            decode=_READ_LINES,
            account=account,
        )
        answer = await self._http.send(call)
        for line in answer.lines:
            line.account = account
            line.backend = self.name
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            numbers=answer.lines,
            next=(answer.after,) if answer.after else (),
        )
