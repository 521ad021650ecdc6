"""Acme's numbers for phonesys: rows, calls, changes and a backend, in one module."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import msgspec

from phonesys import (
    BackendInfo,
    Capabilities,
    NotFound,
    NumberBase,
    NumberKind,
    NumberStatus,
    OutcomeUnknown,
    Page,
    Reconciled,
    UsageError,
    Write,
    WriteOutcome,
)
from phonesys.change_rules import ChangeRules, FieldRule
from phonesys.http import (
    ApiKey,
    Call,
    HttpClient,
    encode_query,
    encode_segment,
    expect_no_content,
    json_decoder,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from phonesys import Auth, Cursor, HttpOptions, RateLimit

__all__ = ["Acme", "AcmeLine"]

T = TypeVar("T")

_STATUS = {"live": NumberStatus.ACTIVE, "parked": NumberStatus.INACTIVE}

RULES = ChangeRules(
    vendor="Acme",
    fields={
        "label": FieldRule(parameter="label", nullable=True, clearable=True),
        "status": FieldRule(parameter="state", words={"active": "live", "inactive": "parked"}),
    },
    update=("label", "status"),
    deletes=True,
    switch="status",
    switched_off="inactive",
)
"""The changes that Acme allows. Its API creates no lines, so a deletion is final."""


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
_READ_LINE = json_decoder(AcmeLine)


class Acme:
    """The lines of Acme's offices; an account is an office."""

    change_rules = RULES
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
            self._own(line, account)
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            numbers=answer.lines,
            next=(answer.after,) if answer.after else (),
        )

    async def get(self, number_id: str, *, account: str) -> AcmeLine:
        """Fetch one line."""
        call = Call(
            operation="get_line",
            method="GET",
            target=_line_path(account, number_id),
            decode=_READ_LINE,
            account=account,
        )
        return self._own(await self._http.send(call), account)

    async def carry_out(self, write: Write, /) -> AcmeLine | None:
        """Update or delete a line, once."""
        if write.kind == "delete":
            await self._http.send(_change_line("DELETE", write, expect_no_content))
            return None
        return self._own(await self._http.send(_change_line("PATCH", write, _READ_LINE)), write.account)

    async def reconcile(
        self, lost: OutcomeUnknown | Write, /, *, grace_period: float = 60, clock_skew: float = 60
    ) -> Reconciled[AcmeLine]:
        """Look up a lost write. Acme's requests end within a second, so that no look is repeated."""
        write = lost.write if isinstance(lost, OutcomeUnknown) else lost
        if write is None:
            raise UsageError("only updates and deletions can be looked up")
        await asyncio.sleep(min(grace_period, 1))
        try:
            line = await self.get(write.number_id or "", account=write.account)
        except NotFound:
            done = write.kind == "delete"
            return Reconciled(outcome=WriteOutcome.DONE if done else WriteOutcome.UNCLEAR)
        wanted = write.wanted.items()
        if write.kind == "delete" or any(getattr(line, name) != value for name, value in wanted):
            return Reconciled(outcome=WriteOutcome.NOT_DONE)
        return Reconciled(outcome=WriteOutcome.DONE, number=line)

    def _own(self, line: AcmeLine, account: str) -> AcmeLine:
        line.account, line.backend = account, self.name
        return line


def _line_path(office: str, line: str) -> str:
    return f"/offices/{encode_segment(office, 'office')}/lines/{encode_segment(line, 'line id')}"


def _change_line(method: str, write: Write, decode: Callable[[bytes], T]) -> Call[T]:
    return Call(
        operation=f"{write.kind}_line",
        method=method,
        target=_line_path(write.account, write.number_id or ""),
        decode=decode,
        idempotent=False,
        body=msgspec.json.encode(write.wanted) if write.wanted else None,
        account=write.account,
        recovery_hint="get(number_id)",
    )
