"""The agent-numbers backend."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import msgspec

from phonesys.backends.agents import calls
from phonesys.backends.agents.changes import RULES
from phonesys.backends.agents.lookup import AgentLookup
from phonesys.backends.agents.wire import AgentNumber, Rows
from phonesys.backends.base import (
    DEFAULT_ACCOUNT,
    WritingBackend,
    resolve_auth,
    set_owner,
    validate_page_size,
)
from phonesys.backends.info import BackendInfo, BackendOption
from phonesys.backends.paging import (
    END_ERRORS,
    MAX_PAGES,
    Position,
    brings_new_rows,
    effective_page_size,
    is_beyond_end,
    may_be_capped,
    plausible_total,
    position_of,
)
from phonesys.backends.reconcile import drop_none, same_number
from phonesys.backends.windows import WindowPosition
from phonesys.errors import BadRequest, CallError, DecodeError, NotFound, OutcomeUnknown, RepeatedPage
from phonesys.http.auth import ApiKey, Auth
from phonesys.http.ratelimit.headers import RateLimitHeaders
from phonesys.http.ratelimit.window import RateLimit
from phonesys.model import Page
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import aiohttp

    from phonesys.backends.agents.wire import Agent
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.transport import Transport
    from phonesys.model import Cursor
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret
    from phonesys.writes import Value

R = TypeVar("R", "Agent", "AgentNumber")

_MAX_PAGE_SIZE = 100
_METHOD_NOT_ALLOWED = 405
_UNPAGED = 2**31
"""Page size of a list that is not documented to be paged: more than any page holds."""

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
    - `agent_id`: list only the numbers of this agent.
    - `limit`: 1 000 requests per hour and key.
    """

    write_kinds = ("assign", "update", "delete")
    change_rules = RULES
    overlaps = True

    info: ClassVar = BackendInfo(
        credential="api_key",
        make_auth=ApiKey,
        options=(
            BackendOption("page_size", int, "Numbers per page, 1 to 100."),
            BackendOption("status", str, "List only the numbers in this state, by the vendor's word."),
            BackendOption("agent_id", str, "List only the numbers of this agent."),
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
        agent_id: str | None = None,
        limit: RateLimit | None = RateLimit(1000, per=3600),
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
        self.agent_id = agent_id
        self._update_method: Literal["PUT", "PATCH"] = "PUT"
        self._largest_page = 0

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /, **options: Any) -> Self:
        """Make a backend that talks to the sandbox."""
        return cls(sandbox.agents_key, base_url=sandbox.agents_url, **options)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[AgentNumber]:
        """Fetch one page. `cursor` is its number, from 1.

        With a single key, `account` is only the name that the numbers get.
        """
        position = position_of(cursor, self.page_size, first=1)
        response = await self._fetch(account, position)
        set_owner(response.rows, account, self.name)
        rows = _row_count(response)
        size = _page_size(position, response)
        offset = (position.number - 1) * size
        following = _next_pages(position, size, response)
        self._largest_page = max(self._largest_page, rows)
        if not following and position.number == 1 and self._may_continue(size, response):
            second = self._ids(account, Position(2, rows))
            if await brings_new_rows(second, {row.id for row in response.rows}):
                following, size = (Position(2, rows),), rows
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            offset=offset,
            numbers=response.rows,
            next=tuple(one.cursor(self.page_size) for one in following),
            total=plausible_total(response.paging.total, offset + rows),
            rejected=response.rejected,
            mended=response.mended,
        )

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[AgentNumber]:
        """Fetch one page that shares rows with those beside it."""
        position = WindowPosition.parse(cursor, self.page_size)
        page, size = position.window
        response = await self._send_listing(account, Position(page + 1, size))
        set_owner(response.rows, account, self.name)
        rows, paging = _row_count(response), response.paging
        offset = page * effective_page_size(size, paging.limit)
        total = plausible_total(paging.total, offset + rows)
        more = _announces_more(page + 1, offset + rows, response)
        self._largest_page = max(self._largest_page, rows)
        position = position.resized(rows, reported=paging.limit, more=more, largest=self._largest_page)
        is_contradicted = more and total is not None and total <= offset + rows
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            offset=offset,
            overlap=min(position.overlap, rows),
            numbers=response.rows,
            next=position.following(rows, None if is_contradicted else total, more=more),
            total=total,
            rejected=response.rejected,
            mended=response.mended,
        )

    async def _fetch(self, account: str, position: Position) -> Rows[AgentNumber]:
        """Fetch a page. One beyond the end is empty, even if the vendor refuses it."""
        try:
            return await self._send_listing(account, position)
        except END_ERRORS:
            if position.number == 1 or not await self._is_beyond_end(account, position):
                raise
        return Rows(rows=())

    async def _send_listing(self, account: str, position: Position) -> Rows[AgentNumber]:
        number, size = position
        return await self.send(
            calls.list_numbers(
                page=number, limit=size, status=self.status, agent_id=self.agent_id, account=account
            )
        )

    async def _is_beyond_end(self, account: str, position: Position) -> bool:
        async def count_rows(number: int) -> int:
            return _row_count(await self._send_listing(account, Position(number + 1, position.size)))

        async def has_row(offset: int) -> bool:
            return _row_count(await self._send_listing(account, Position(offset + 1, 1))) > 0

        return await is_beyond_end(
            position.number - 1, count_rows=count_rows, size=position.size, has_row=has_row
        )

    def _may_continue(self, size: int, response: Rows[AgentNumber]) -> bool:
        """Return True if a short first page, on which the vendor says nothing, may not be the last."""
        rows = _row_count(response)
        is_doubtful = may_be_capped(rows, size, largest=self._largest_page)
        return is_doubtful and _announces_more(1, rows, response) is None

    async def _ids(self, account: str, position: Position) -> set[str]:
        return {row.id for row in (await self._send_listing(account, position)).rows}

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Return True if the row is still at that offset of the list."""
        response = await self._send_listing(account, Position(offset + 1, 1))
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
                if same_number(phone_number, number.number):
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
        wanted = drop_none(friendly_name=friendly_name, agent_id=agent_id, status=status)
        return await self._change_fields(number_id, wanted, self._account_or_default(account))

    async def unassign(self, number_id: str, *, account: str | None = None) -> AgentNumber:
        """Remove a number from its agent. Raises OutcomeUnknown if the response is lost."""
        account = self._account_or_default(account)
        return await self._change_fields(number_id, {"agent_id": None}, account)

    async def carry_out(self, write: Write, /) -> AgentNumber | None:
        """Send a write of a plan. An `agent_id` of None unassigns."""
        if write.kind == "delete":
            await self.delete(write.number_id or "", account=write.account)
            return None
        if write.kind == "assign":
            return await self.assign(phone_number=write.number or "", account=write.account, **write.wanted)
        return await self._change_fields(write.number_id or "", write.wanted, write.account)

    async def check_field(self, account: str, field: str, value: Value, /) -> str | None:
        """Return a sentence if there is no such agent."""
        try:
            await self.agent(str(value), account=account)
        except NotFound:
            return f"{field}: there is no agent {value!r:.80}"
        return None

    async def _change_fields(self, number_id: str, fields: Mapping[str, Any], account: str) -> AgentNumber:
        """Set the fields, by their parameter names, with one request."""
        sent = drop_none(**fields)
        unassign = "agent_id" in fields and fields["agent_id"] is None
        call_with = partial(calls.update_number, number_id, **sent, unassign=unassign, account=account)
        write = Write(kind="update", account=account, number_id=number_id, wanted=dict(fields))
        return await self._change(call_with, write)

    async def _change(self, call_with: Callable[..., Call[AgentNumber | None]], write: Write) -> AgentNumber:
        """Send a change with PUT, or PATCH once PUT was refused: the vendor's documents disagree.

        A 405 proves that nothing was changed.
        """
        call = call_with(method=self._update_method)
        try:
            updated = await self.write(call, write)
        except BadRequest as error:
            if error.status != _METHOD_NOT_ALLOWED or self._update_method == "PATCH":
                raise
            updated = await self.write(call_with(method="PATCH"), write)
            self._update_method = "PATCH"
        return (
            await self._read_back(call, write)
            if updated is None
            else self._with_account(updated, write.account)
        )

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

    async def agent(self, agent_id: str, *, account: str | None = None) -> Agent:
        """Fetch one agent."""
        return await self.send(calls.get_agent(agent_id, account=self._account_or_default(account)))

    async def agents(
        self, *, status: str | None = None, search: str | None = None, account: str | None = None
    ) -> tuple[Agent, ...]:
        """Fetch all agents.

        Raises DecodeError for a row that cannot be read, and RepeatedPage if the pages go in a circle.
        """
        account = self._account_or_default(account)
        pages = await self._read_pages(
            lambda page, limit: calls.list_agents(
                page=page, limit=limit, status=status, search=search, account=account
            ),
            size=self.page_size,
        )
        rows = self._all_readable(pages, "list_agents", account)
        return tuple({str(agent.id): agent for agent in rows}.values())

    async def _pages_of_agent(self, agent_id: str, account: str) -> list[Rows[AgentNumber]]:
        """Read the numbers of an agent: a list that is not documented to be paged, and has no page size."""
        return await self._read_pages(
            lambda page, _: calls.numbers_of_agent(
                agent_id, page=None if page == 1 else page, account=account
            ),
            size=_UNPAGED,
        )

    async def _pages_of_account(self, account: str) -> list[Rows[AgentNumber]]:
        """Read all numbers of any status."""
        return await self._read_pages(
            lambda page, limit: calls.list_numbers(page=page, limit=limit, account=account),
            size=self.page_size,
        )

    async def _read_pages(self, call_for: Callable[[int, int], Call[Rows[R]]], *, size: int) -> list[Rows[R]]:
        """Read all pages of that size in order, each without the rows of earlier ones.

        Raises RepeatedPage if a page that the vendor announced brings nothing new. A page that was requested
        without an announcement may be refused or repeat earlier rows: it is beyond the end.
        """
        pages: list[Rows[R]] = []
        seen: set[str | bytes] = set()
        following: Continuation | None = Continuation(Position(1, size), announced=True)
        while following is not None:
            position, announced = following
            call = call_for(*position)
            try:
                response = await self.send(call)
            except (BadRequest, NotFound):
                if announced:
                    raise
                break
            ids = {str(row.id) for row in response.rows} | {row.raw for row in response.rejected}
            read = sum(map(_row_count, pages)) + _row_count(response)
            following = _continuation(position, read, response)
            if pages and ids <= seen:
                # If it repeats a single full page, the vendor may ignore the page number and hide the rest.
                ignores_number = ids == seen and len(pages) == 1 and _row_count(response) >= size
                if not ignores_number and (following is None or not following.announced):
                    break
                raise RepeatedPage(f"page {position.number} has no new row, but is not the last").with_call(
                    backend=self.name, operation=call.operation, account=call.account
                )
            pages.append(_without_known(response, seen))
            seen |= ids
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


class Continuation(NamedTuple):
    """The next page of a list that is read in order."""

    position: Position
    announced: bool
    """False if the response does not say that there is another page."""


def _continuation(position: Position, read: int, response: Rows[Any]) -> Continuation | None:
    """Return the next page, after so many rows in all; None after the last page."""
    size = _page_size(position, response)
    following = Position(position.number + 1, size)
    announced = _announces_more(position.number, read, response)
    if announced is not None:
        return Continuation(following, announced=True) if announced else None
    rows = _row_count(response)
    if rows >= size:
        return Continuation(following, announced=False)
    if position.number == 1 and may_be_capped(rows, size):
        return Continuation(Position(2, rows), announced=False)
    return None


def _announces_more(number: int, read: int, response: Rows[Any]) -> bool | None:
    """Return True if the response announces another page, False if it excludes it, else None."""
    paging = response.paging
    statements = (
        paging.has_more,
        None if paging.pages is None or not 0 <= paging.pages <= MAX_PAGES else number < paging.pages,
        None if paging.total is None or paging.total < read else read < paging.total,
    )
    said = [statement for statement in statements if statement is not None]
    return any(said) if said else None


def _without_known(response: Rows[R], seen: Collection[str | bytes]) -> Rows[R]:
    fresh = tuple(row for row in response.rows if str(row.id) not in seen)
    return msgspec.structs.replace(response, rows=fresh)


def _page_size(position: Position, response: Rows[Any]) -> int:
    """Return the rows per page: those that a first page has, if others follow it."""
    paging, rows = response.paging, _row_count(response)
    size = effective_page_size(position.size, paging.limit)
    is_first_of_several = position.number == 1 and _announces_more(1, rows, response)
    return min(size, rows) if rows and is_first_of_several else size


def _next_pages(position: Position, size: int, response: Rows[Any]) -> tuple[Position, ...]:
    """Return all other pages at once if the vendor says how many there are, else the next one."""
    number, paging, rows = position.number, response.paging, _row_count(response)
    count = _page_count(number, size, response)
    following = (Position(number + 1, size),)
    if count is None:
        return following if (rows >= size if paging.has_more is None else paging.has_more) else ()
    if paging.total is None:
        # A count of pages may be by another page size than the one that the first page showed.
        return following if number < count or (number == count and rows >= size) else ()
    return tuple(Position(other, size) for other in range(2, count + 1)) if number == 1 else ()


def _page_count(number: int, size: int, response: Rows[Any]) -> int | None:
    """Return the number of pages of this size; the larger one, if pages and rows are counted.

    None if the vendor does not say, or if what it says is implausible or contradicted by the page itself.
    """
    paging, rows = response.paging, _row_count(response)
    counts = [] if paging.pages is None else [paging.pages]
    if paging.total is not None and paging.total >= rows:
        counts.append(-(-paging.total // size))
    count = max(counts, default=None)
    if count is None or not 0 <= count <= MAX_PAGES:
        return None
    contradicted = (rows and number > count) or (paging.has_more and number >= count)
    return None if contradicted else count


def _row_count(response: Rows[Any]) -> int:
    return len(response.rows) + len(response.rejected)
