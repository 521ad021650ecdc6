"""The agent-numbers backend."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import msgspec

from phonesys.backends.agents import calls
from phonesys.backends.agents.lookup import AgentLookup
from phonesys.backends.agents.wire import AgentNumber
from phonesys.backends.base import (
    DEFAULT_ACCOUNT,
    MAX_PAGES,
    WritingBackend,
    effective_page_size,
    plausible_total,
    resolve_auth,
    validate_page_size,
)
from phonesys.backends.info import BackendInfo, BackendOption
from phonesys.backends.reconcile import OutcomeEvaluator, drop_none, look_up_until_settled, write_of
from phonesys.errors import CallError, DecodeError, InvalidArgument, OutcomeUnknown, RepeatedPage
from phonesys.http.auth import ApiKey, Auth
from phonesys.model import Page
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD, Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from phonesys.backends.agents.wire import Agent, Rows
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.window import RateLimit
    from phonesys.model import Cursor
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret
    from phonesys.writes import Reconciled

R = TypeVar("R", "Agent", "AgentNumber")

_LARGEST_PAGE = 100


class AgentNumbers(WritingBackend):
    """Phone numbers assigned to agents, as Omnia Voice documents them: one account a key.

    - `account`: what that one account is called; `"default"` unless given. With `auth=PerAccount(…)` there
      are several.
    - `status`: list only the numbers in this state, by the vendor's word.
    - `limit`: the vendor states none; what its answers ask for is obeyed.
    """

    info: ClassVar = BackendInfo(
        credential="api_key",
        make_auth=ApiKey,
        options=(
            BackendOption("page_size", int, "Numbers per page, 1 to 100."),
            BackendOption("status", str, "List only the numbers in this state, by the vendor's word."),
        ),
    )

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        auth: Auth | None = None,
        base_url: str = "https://dashboard.omnia-voice.com/api/v1",
        page_size: int = _LARGEST_PAGE,
        account: str = DEFAULT_ACCOUNT,
        status: str | None = None,
        limit: RateLimit | None = None,
        name: str = "agents",
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        super().__init__(
            name,
            base_url=base_url,
            auth=resolve_auth(api_key, auth, what="api_key", kind=ApiKey),
            limit=limit,
            http=http,
            session=session,
        )
        self.page_size = validate_page_size(page_size, _LARGEST_PAGE)
        self.status = status
        self._account = account

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /) -> Self:
        """Make a backend that talks to the sandbox."""
        return cls(sandbox.agents_key, base_url=sandbox.agents_url)

    async def accounts(self) -> AsyncIterator[str]:
        """Yield the accounts that the credentials name; the one of a single key otherwise."""
        for account in self.http.auth.accounts() or (self._account,):
            yield account

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[AgentNumber]:
        """Fetch one page; `cursor` is its number, from 1.

        A single key reads one account whatever it is called here: `account` is what the numbers are
        labelled with.
        """
        number = _page_number(cursor)
        call = calls.list_numbers(page=number, limit=self.page_size, status=self.status, account=account)
        answer = await self.send(call)
        for row in answer.rows:
            row.account = account
        place = (number - 1) * effective_page_size(self.page_size, answer.paging.limit)
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            offset=place,
            numbers=answer.rows,
            next=_next(number, self.page_size, answer),
            total=plausible_total(answer.paging.total, place + _size(answer)),
            rejected=answer.rejected,
        )

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Check the row at an offset."""
        answer = await self.send(
            calls.list_numbers(page=offset + 1, limit=1, status=self.status, account=account)
        )
        if _size(answer) > 1:
            return True  # the vendor has its own idea of a page's size
        return [number.id for number in answer.rows] == [row]

    async def get(self, number_id: str, *, account: str | None = None) -> AgentNumber:
        """Fetch one number."""
        return self._with_account(
            await self.send(calls.get_number(number_id, account=self._account_or_default(account))), account
        )

    async def assign(
        self,
        *,
        phone_number: str,
        agent_id: str,
        friendly_name: str | None = None,
        account: str | None = None,
    ) -> AgentNumber:
        """Assign a number to an agent, which takes its live calls from then on.

        The vendor documents no content of the answer; where there is none, the assignment is looked up.
        Raises OutcomeUnknown where the answer is lost.
        """
        call = calls.assign_number(
            phone_number=phone_number,
            agent_id=agent_id,
            friendly_name=friendly_name,
            account=self._account_or_default(account),
        )
        wanted = drop_none(agent_id=agent_id, friendly_name=friendly_name)
        facts = Write(kind="assign", account=call.account, number=phone_number, wanted=wanted)
        assigned = await self.write(call, facts)
        if assigned is None:
            assigned = await self._look_up(phone_number, agent_id, friendly_name, account)
        return self._with_account(assigned, account)

    async def _look_up(
        self, phone_number: str, agent_id: str, friendly_name: str | None, account: str | None
    ) -> AgentNumber:
        """Find an assignment that was just made; what is known of it where it cannot be found."""
        with contextlib.suppress(CallError):  # it was made, whatever becomes of this
            for number in await self.of_agent(agent_id, account=account):
                if number.number == phone_number:
                    return number
        return AgentNumber(number=phone_number, agent_id=agent_id, label=friendly_name)

    async def update(
        self,
        number_id: str,
        *,
        friendly_name: str | None = None,
        agent_id: str | None = None,
        status: str | None = None,
        account: str | None = None,
    ) -> AgentNumber:
        """Change the fields that are given; fetches the number where the answer does not hold it.

        Raises OutcomeUnknown where the answer is lost, or the number cannot be fetched after it.
        """
        call = calls.update_number(
            number_id,
            friendly_name=friendly_name,
            agent_id=agent_id,
            status=status,
            account=self._account_or_default(account),
        )
        wanted = drop_none(friendly_name=friendly_name, agent_id=agent_id, status=status)
        facts = Write(kind="update", account=call.account, number_id=number_id, wanted=wanted)
        updated = await self.write(call, facts)
        return await self._read_back(call, facts) if updated is None else self._with_account(updated, account)

    async def _read_back(self, call: Call[AgentNumber | None], facts: Write) -> AgentNumber:
        """Fetch what was changed; an error of this must not pass for one of the change."""
        try:
            return await self.get(facts.number_id or "", account=facts.account)
        except CallError as failure:
            unknown = OutcomeUnknown(
                "the change was accepted, but the number could not be read back",
                recovery_hint=call.recovery_hint,
                cause=str(failure),
            ).with_call(backend=self.name, operation=call.operation, account=call.account)
            raise unknown.with_write(facts, by=self) from failure

    async def delete(self, number_id: str, *, account: str | None = None) -> None:
        """Delete an assignment; raises OutcomeUnknown where the answer is lost."""
        facts = Write(kind="delete", account=self._account_or_default(account), number_id=number_id)
        await self.write(calls.delete_number(number_id, account=facts.account), facts)

    async def reconcile(
        self,
        lost: OutcomeUnknown | Write,
        /,
        *,
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> Reconciled[AgentNumber]:
        """Look up whether a write was carried out whose answer was lost.

        - `grace_period`: seconds after that during which the request may still be under way. It is looked up
          again until then, unless it is done.
        - `clock_skew`: how many seconds the vendor's clock and this one may be apart.
        """
        facts = write_of(lost, self.name, ("assign", "update", "delete"))
        look = AgentLookup(
            OutcomeEvaluator(facts, clock_skew),
            get=lambda number_id: self.get(number_id, account=facts.account),
            of_agent=lambda agent_id: self._pages_of_agent(agent_id, facts.account),
            everything=lambda: self._all_pages(facts.account),
        )
        return await look_up_until_settled(look, facts, grace_period)

    async def of_agent(self, agent_id: str, *, account: str | None = None) -> tuple[AgentNumber, ...]:
        """Fetch the numbers of one agent; raises DecodeError where a row cannot be read.

        The vendor documents no pages of them; an answer that speaks of more is read on all the same.
        """
        account = self._account_or_default(account)
        rows = self._all_readable(await self._pages_of_agent(agent_id, account), "numbers_of_agent", account)
        return tuple(self._with_account(row, account) for row in rows)

    async def agents(
        self, *, status: str | None = None, search: str | None = None, account: str | None = None
    ) -> tuple[Agent, ...]:
        """Fetch all agents, page by page.

        Raises DecodeError where a row cannot be read, and RepeatedPage where the pages go in a circle.
        """
        account = self._account_or_default(account)
        pages = await self._read_on(
            lambda page: calls.list_agents(
                page=page, limit=self.page_size, status=status, search=search, account=account
            ),
            lambda page, _, answer: bool(_following(page, self.page_size, answer)),
        )
        rows = self._all_readable(pages, "list_agents", account)
        return tuple({str(agent.id): agent for agent in rows}.values())

    async def _pages_of_agent(self, agent_id: str, account: str) -> list[Rows[AgentNumber]]:
        return await self._read_on(
            lambda page: calls.numbers_of_agent(agent_id, page=None if page == 1 else page, account=account),
            _says_more,
        )

    async def _all_pages(self, account: str) -> list[Rows[AgentNumber]]:
        """Read all numbers, whatever their status."""
        return await self._read_on(
            lambda page: calls.list_numbers(page=page, limit=self.page_size, account=account),
            lambda page, _, answer: bool(_following(page, self.page_size, answer)),
        )

    async def _read_on(
        self, ask: Callable[[int], Call[Rows[R]]], more: Callable[[int, int, Rows[R]], bool]
    ) -> list[Rows[R]]:
        """Read page after page, each without the rows of earlier ones; raises RepeatedPage for a circle."""
        pages: list[Rows[R]] = []
        seen: set[str | bytes] = set()
        size, following = 0, True
        while following:
            number = len(pages) + 1
            call = ask(number)
            answer = await self.send(call)
            size += len(answer.rows) + len(answer.rejected)
            following = more(number, size, answer)
            fresh = tuple(row for row in answer.rows if str(row.id) not in seen)
            met = {str(row.id) for row in answer.rows} | {row.raw for row in answer.rejected}
            if following and met <= seen:
                raise RepeatedPage(f"page {number} brings nothing new, yet is not the last").with_call(
                    backend=self.name, operation=call.operation, account=call.account
                )
            seen |= met
            pages.append(msgspec.structs.replace(answer, rows=fresh))
        return pages

    def _all_readable(self, pages: list[Rows[R]], operation: str, account: str) -> list[R]:
        """Return the rows; raises DecodeError, which shows the row, where one was rejected."""
        for bad in (bad for page in pages for bad in page.rejected):
            raise DecodeError(f"a row cannot be read: {bad.reason}", body=bad.raw).with_call(
                backend=self.name, operation=operation, account=account
            )
        return [row for page in pages for row in page.rows]

    def _account_or_default(self, account: str | None) -> str:
        return self._account if account is None else account

    def _with_account(self, row: AgentNumber, account: str | None) -> AgentNumber:
        row.account = self._account_or_default(account)
        return row


def _page_number(cursor: Cursor | None) -> int:
    number = 1 if cursor is None else cursor
    if not isinstance(number, int) or number < 1:
        raise InvalidArgument(f"cursor: expected the number of a page, from 1, got {cursor!r}")
    return number


def _next(number: int, page_size: int, answer: Rows[AgentNumber]) -> tuple[Cursor, ...]:
    """Name all other pages at once where the vendor says how many there are, else the one that follows."""
    count = _pages(number, page_size, answer)
    if count is None:
        return _following(number, page_size, answer)
    return tuple(range(2, count + 1)) if number == 1 else ()


def _following(number: int, page_size: int, answer: Rows[AgentNumber] | Rows[Agent]) -> tuple[Cursor, ...]:
    """Name the page that follows; a page that is not full is the last where nothing else is said."""
    count = _pages(number, page_size, answer)
    if count is not None:
        more = number < count
    elif answer.paging.has_more is not None:
        more = answer.paging.has_more
    else:
        more = _size(answer) >= page_size
    return (number + 1,) if more else ()


def _says_more(number: int, read: int, answer: Rows[AgentNumber]) -> bool:
    """Say whether the answer itself speaks of more, for a list that is not known to be paged."""
    paging = answer.paging
    if paging.has_more is not None:
        return paging.has_more
    if paging.pages is not None:
        return number < paging.pages
    return paging.total is not None and read < paging.total


def _pages(number: int, page_size: int, answer: Rows[AgentNumber] | Rows[Agent]) -> int | None:
    """Count the pages; the vendor's own page size wins over the one that was asked for.

    None where the vendor does not say, counts what cannot be, or what the page itself belies.
    """
    paging, rows = answer.paging, _size(answer)
    count = paging.pages
    if count is None and paging.total is not None and paging.total >= rows:
        count = -(-paging.total // effective_page_size(page_size, paging.limit))
    if count is None or not 0 <= count <= MAX_PAGES:
        return None
    belied = (rows and number > count) or (paging.has_more and number >= count)
    return None if belied else count


def _size(answer: Rows[AgentNumber] | Rows[Agent]) -> int:
    return len(answer.rows) + len(answer.rejected)
