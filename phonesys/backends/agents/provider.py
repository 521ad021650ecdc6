"""The agent-numbers backend."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

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
from phonesys.backends.reconcile import drop_none
from phonesys.errors import CallError, DecodeError, InvalidArgument, OutcomeUnknown, RepeatedPage
from phonesys.http.auth import ApiKey, Auth
from phonesys.http.ratelimit.headers import RateLimitHeaders
from phonesys.model import Page
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from phonesys.backends.agents.wire import Agent, Rows
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.window import RateLimit
    from phonesys.http.transport import Transport
    from phonesys.model import Cursor
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret

R = TypeVar("R", "Agent", "AgentNumber")

_MAX_PAGE_SIZE = 100

_LIMIT_HEADERS = RateLimitHeaders(
    limit="X-RateLimit-Limit",
    remaining="X-RateLimit-Remaining",
    reset="X-RateLimit-Reset",
    reset_unit="unix_seconds",
)


class AgentNumbers(WritingBackend[AgentNumber]):
    """Phone numbers assigned to agents, as Omnia Voice documents them. One key opens one account.

    - `account`: name of that account here; `"default"` unless given. `auth=PerAccount({…: ApiKey(key)})`
      opens several.
    - `status`: list only the numbers in this state, by the vendor's word.
    - `limit`: none by default, since the vendor states none. Its `Retry-After` is obeyed.
    """

    write_kinds = ("assign", "update", "delete")

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
        page_size: int = _MAX_PAGE_SIZE,
        account: str = DEFAULT_ACCOUNT,
        status: str | None = None,
        limit: RateLimit | None = None,
        name: str = "agents",
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(
            name,
            account=account,
            base_url=base_url,
            auth=resolve_auth(api_key, auth, what="api_key", kind=ApiKey),
            limit=limit,
            limit_headers=_LIMIT_HEADERS,
            http=http,
            session=session,
            transport=transport,
        )
        self.page_size = validate_page_size(page_size, _MAX_PAGE_SIZE)
        self.status = status

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /, **options: Any) -> Self:
        """Make a backend that talks to the sandbox."""
        return cls(sandbox.agents_key, base_url=sandbox.agents_url, **options)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[AgentNumber]:
        """Fetch one page. `cursor` is its number, from 1.

        With a single key, `account` is only the name that the numbers get.
        """
        number = _page_number(cursor)
        call = calls.list_numbers(page=number, limit=self.page_size, status=self.status, account=account)
        response = await self.send(call)
        for row in response.rows:
            row.account = account
        offset = (number - 1) * effective_page_size(self.page_size, response.paging.limit)
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            offset=offset,
            numbers=response.rows,
            next=_next_pages(number, self.page_size, response),
            total=plausible_total(response.paging.total, offset + _row_count(response)),
            rejected=response.rejected,
        )

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Return True if the row is still at that offset of the list."""
        response = await self.send(
            calls.list_numbers(page=offset + 1, limit=1, status=self.status, account=account)
        )
        if _row_count(response) > 1:
            return True  # the vendor ignores the page size
        return [number.id for number in response.rows] == [row]

    async def assign(
        self,
        *,
        phone_number: str,
        agent_id: str,
        friendly_name: str | None = None,
        account: str | None = None,
    ) -> AgentNumber:
        """Assign a number to an agent, which takes its live calls from then on.

        If the response has no content, the assignment is looked up. Raises OutcomeUnknown if the response is
        lost.
        """
        call = calls.assign_number(
            phone_number=phone_number,
            agent_id=agent_id,
            friendly_name=friendly_name,
            account=self._account_or_default(account),
        )
        wanted = drop_none(agent_id=agent_id, friendly_name=friendly_name)
        write = Write(kind="assign", account=call.account, number=phone_number, wanted=wanted)
        assigned = await self.write(call, write)
        if assigned is None:
            assigned = await self._find_assignment(phone_number, agent_id, friendly_name, account)
        return self._with_account(assigned, account)

    async def _find_assignment(
        self, phone_number: str, agent_id: str, friendly_name: str | None, account: str | None
    ) -> AgentNumber:
        """Return an assignment that was just made; if it cannot be found, as it was requested."""
        with contextlib.suppress(CallError):  # the assignment was made all the same
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
        """Update the given fields. Raises OutcomeUnknown if the response is lost.

        If the response has no content, the number is fetched.
        """
        call = calls.update_number(
            number_id,
            friendly_name=friendly_name,
            agent_id=agent_id,
            status=status,
            account=self._account_or_default(account),
        )
        wanted = drop_none(friendly_name=friendly_name, agent_id=agent_id, status=status)
        write = Write(kind="update", account=call.account, number_id=number_id, wanted=wanted)
        updated = await self.write(call, write)
        return await self._read_back(call, write) if updated is None else self._with_account(updated, account)

    async def _read_back(self, call: Call[AgentNumber | None], write: Write) -> AgentNumber:
        """Fetch a number that was changed. A failure is no failure of the change, and is reported as such."""
        try:
            return await self.get(write.number_id or "", account=write.account)
        except CallError as failure:
            unknown = OutcomeUnknown(
                "the change was accepted, but the number could not be read back",
                recovery_hint=call.recovery_hint,
                cause=str(failure),
            ).with_call(backend=self.name, operation=call.operation, account=call.account)
            raise unknown.with_write(write, by=self) from failure

    async def of_agent(self, agent_id: str, *, account: str | None = None) -> tuple[AgentNumber, ...]:
        """Fetch the numbers of one agent. Raises DecodeError for a row that cannot be read.

        The vendor documents no pages of this list. If a response announces more, they are read all the same.
        """
        account = self._account_or_default(account)
        rows = self._all_readable(await self._pages_of_agent(agent_id, account), "numbers_of_agent", account)
        return tuple(self._with_account(row, account) for row in rows)

    async def agents(
        self, *, status: str | None = None, search: str | None = None, account: str | None = None
    ) -> tuple[Agent, ...]:
        """Fetch all agents.

        Raises DecodeError for a row that cannot be read, and RepeatedPage if the pages go in a circle.
        """
        account = self._account_or_default(account)
        pages = await self._read_pages(
            lambda page: calls.list_agents(
                page=page, limit=self.page_size, status=status, search=search, account=account
            ),
            lambda page, _, response: bool(_next_page(page, self.page_size, response)),
        )
        rows = self._all_readable(pages, "list_agents", account)
        return tuple({str(agent.id): agent for agent in rows}.values())

    async def _pages_of_agent(self, agent_id: str, account: str) -> list[Rows[AgentNumber]]:
        return await self._read_pages(
            lambda page: calls.numbers_of_agent(agent_id, page=None if page == 1 else page, account=account),
            _announces_more,
        )

    async def _pages_of_account(self, account: str) -> list[Rows[AgentNumber]]:
        """Read all numbers of any status."""
        return await self._read_pages(
            lambda page: calls.list_numbers(page=page, limit=self.page_size, account=account),
            lambda page, _, response: bool(_next_page(page, self.page_size, response)),
        )

    async def _read_pages(
        self, call_for: Callable[[int], Call[Rows[R]]], has_more: Callable[[int, int, Rows[R]], bool]
    ) -> list[Rows[R]]:
        """Read all pages, each without the rows of earlier ones. Raises RepeatedPage for a circle."""
        pages: list[Rows[R]] = []
        seen: set[str | bytes] = set()
        size, following = 0, True
        while following:
            number = len(pages) + 1
            call = call_for(number)
            response = await self.send(call)
            size += len(response.rows) + len(response.rejected)
            following = has_more(number, size, response)
            fresh = tuple(row for row in response.rows if str(row.id) not in seen)
            met = {str(row.id) for row in response.rows} | {row.raw for row in response.rejected}
            if following and met <= seen:
                raise RepeatedPage(f"page {number} brings nothing new, yet is not the last").with_call(
                    backend=self.name, operation=call.operation, account=call.account
                )
            seen |= met
            pages.append(msgspec.structs.replace(response, rows=fresh))
        return pages

    def _all_readable(self, pages: list[Rows[R]], operation: str, account: str) -> list[R]:
        """Return the rows. Raises DecodeError, which shows the row, if one was rejected."""
        for bad in (bad for page in pages for bad in page.rejected):
            raise DecodeError(f"a row cannot be read: {bad.reason}", body=bad.raw).with_call(
                backend=self.name, operation=operation, account=account
            )
        return [row for page in pages for row in page.rows]

    def _get_call(self, number_id: str, account: str) -> Call[AgentNumber]:
        return calls.get_number(number_id, account=account)

    def _delete_call(self, number_id: str, account: str) -> Call[None]:
        return calls.delete_number(number_id, account=account)

    def _lookup(self, evaluator: OutcomeEvaluator) -> AgentLookup:
        account = evaluator.write.account
        return AgentLookup(
            evaluator,
            get=partial(self.get, account=account),
            of_agent=partial(self._pages_of_agent, account=account),
            all_numbers=partial(self._pages_of_account, account),
        )


def _page_number(cursor: Cursor | None) -> int:
    number = 1 if cursor is None else cursor
    if not isinstance(number, int) or number < 1:
        raise InvalidArgument(f"cursor: expected the number of a page, from 1, got {cursor!r}")
    return number


def _next_pages(number: int, page_size: int, response: Rows[AgentNumber]) -> tuple[Cursor, ...]:
    """Return all other pages at once if the vendor says how many there are, else the next one."""
    count = _page_count(number, page_size, response)
    if count is None:
        return _next_page(number, page_size, response)
    return tuple(range(2, count + 1)) if number == 1 else ()


def _next_page(number: int, page_size: int, response: Rows[AgentNumber] | Rows[Agent]) -> tuple[Cursor, ...]:
    """Return the next page. Without any other sign, a page that is not full is the last."""
    count = _page_count(number, page_size, response)
    if count is not None:
        more = number < count
    elif response.paging.has_more is not None:
        more = response.paging.has_more
    else:
        more = _row_count(response) >= page_size
    return (number + 1,) if more else ()


def _announces_more(number: int, read: int, response: Rows[AgentNumber]) -> bool:
    """Return True if the response announces more, for a list that is not documented to be paged."""
    paging = response.paging
    if paging.has_more is not None:
        return paging.has_more
    if paging.pages is not None:
        return number < paging.pages
    return paging.total is not None and read < paging.total


def _page_count(number: int, page_size: int, response: Rows[AgentNumber] | Rows[Agent]) -> int | None:
    """Return the number of pages, by the vendor's own page size if it reports one.

    None if the vendor does not say, or if what it says is implausible or contradicted by the page itself.
    """
    paging, rows = response.paging, _row_count(response)
    count = paging.pages
    if count is None and paging.total is not None and paging.total >= rows:
        count = -(-paging.total // effective_page_size(page_size, paging.limit))
    if count is None or not 0 <= count <= MAX_PAGES:
        return None
    contradicted = (rows and number > count) or (paging.has_more and number >= count)
    return None if contradicted else count


def _row_count(response: Rows[AgentNumber] | Rows[Agent]) -> int:
    return len(response.rows) + len(response.rejected)
