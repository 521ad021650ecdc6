"""Paging as vendors really do it: silent caps, any spelling of a statement, and refusals beyond the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from phonesys import (
    AgentNumbers,
    BadRequest,
    DecodeError,
    InvalidArgument,
    LeadConnector,
    NotFound,
    PhoneSystem,
    ServerError,
)
from phonesys.backends.paging import (
    Paging,
    effective_page_size,
    find_paging,
    is_beyond_end,
    may_be_capped,
    plausible_total,
    position_of,
)
from phonesys.errors import status_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys import Cursor
    from phonesys.http.call import Call

    Statement = Callable[[int, int, int], dict[str, Any]]

NUMBERS = [f"+1415555{index:04}" for index in range(1000)]
EMPTY = "empty page"
BEYOND = [EMPTY, 400, 404, 422, 500, "null"]


class Vendor:
    """A list of numbers, paged by index and size, with a cap and a refusal beyond the end."""

    def __init__(
        self,
        count: int,
        cap: int,
        *,
        says: Statement | None = None,
        beyond: str | int = EMPTY,
        broken: int = -1,
    ) -> None:
        self.numbers, self.cap, self.says, self.beyond = NUMBERS[:count], cap, says, beyond
        self.broken = broken
        """Offset of a row whose page fails."""
        self.requests = 0

    def answer(self, index: int, size: int, key: str) -> bytes:
        self.requests += 1
        size = min(size, self.cap)
        start = index * size
        if start <= self.broken < start + size:
            raise ServerError("broken row", status=500)
        if start >= len(self.numbers) and self.beyond in {"first", "last"} and self.numbers:
            start = 0 if self.beyond == "first" else (len(self.numbers) - 1) // size * size
        found = self.numbers[start : start + size]
        if not found and index and self.beyond != EMPTY:
            if isinstance(self.beyond, int):
                raise status_class(self.beyond)("no such page", status=self.beyond)
            return msgspec.json.encode({key: None})
        rows = [{"phoneNumber": number, "id": number, "sid": number} for number in found]
        said = self.says(index, size, len(self.numbers)) if self.says else {}
        return msgspec.json.encode({key: rows, **said})


def asked(call: Call[Any]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(call.target).query).items()}


class CappedLocations(LeadConnector):
    def __init__(self, vendor: Vendor, **options: Any) -> None:
        super().__init__("pit-1", locations=("loc_1",), **options)
        self.vendor = vendor

    async def send(self, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        assert call.account == "loc_1"
        query = asked(call)
        return call.decode(self.vendor.answer(int(query["page"]), int(query["pageSize"]), "numbers"))


class CappedAgents(AgentNumbers):
    def __init__(self, vendor: Vendor, **options: Any) -> None:
        super().__init__("key_1", **options)
        self.vendor = vendor

    async def send(self, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        assert call.account == "default"
        query = asked(call)
        return call.decode(self.vendor.answer(int(query["page"]) - 1, int(query["limit"]), "data"))


Backend = CappedLocations | CappedAgents
BACKENDS = (CappedLocations, CappedAgents)


async def listed(backend: Backend) -> list[str]:
    """Return every number that the pages list, in any order and with repetitions."""
    (account,) = [account async for account in backend.accounts()]
    work: list[Cursor | None] = [None]
    found: list[str] = []
    while work:
        page = await backend.page(account, work.pop(0))
        if page.numbers:
            assert page.offset == NUMBERS.index(page.numbers[0].number)
        found += [number.number for number in page.numbers]
        work.extend(page.next)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("cap", [10, 25, 50])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25, 50, 60, 75, 100])
async def test_a_silent_cap_hides_no_number(
    backend: type[Backend], cap: int, count: int, beyond: str | int
) -> None:
    """A vendor may cap its pages without a word, and refuse pages beyond the end in any way."""
    assert await listed(backend(Vendor(count, cap, beyond=beyond))) == NUMBERS[:count]


SPELLINGS: dict[str, Statement] = {
    "count": lambda _, __, total: {"count": total},
    "totalCount": lambda _, __, total: {"totalCount": total},
    "total_count": lambda _, __, total: {"meta": {"total_count": total}},
    "totalItems": lambda _, __, total: {"pagination": {"totalItems": total}},
    "as text": lambda _, __, total: {"total": str(total)},
    "has_more": lambda index, size, total: {"has_more": (index + 1) * size < total},
    "hasNext": lambda index, size, total: {"paging": {"hasNext": (index + 1) * size < total}},
    "hasNextPage": lambda index, size, total: {"pageInfo": {"hasNextPage": (index + 1) * size < total}},
    "as a word": lambda index, size, total: {"hasMore": "yes" if (index + 1) * size < total else "no"},
    "nextPage": lambda index, size, total: {"nextPage": index + 2 if (index + 1) * size < total else None},
    "next link": lambda index, size, total: {
        "links": {"next": "https://vendor.example/2" if (index + 1) * size < total else None}
    },
    "total_pages": lambda _, size, total: {"meta": {"pagination": {"total_pages": -(-total // size)}}},
    "last_page": lambda index, size, total: {
        "meta": {"current_page": index + 1, "per_page": size, "last_page": -(-total // size), "total": total}
    },
    "pages and requested limit": lambda _, size, total: {
        "pagination": {"limit": 100, "total": total, "totalPages": -(-total // 100)}
    },
    "Spring": lambda index, size, total: {
        "page": {"size": size, "number": index, "totalElements": total, "totalPages": -(-total // size)}
    },
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("cap", [13, 50])
@pytest.mark.parametrize("count", [13, 26, 50, 120])
async def test_any_statement_leads_to_every_number(spelling: str, cap: int, count: int) -> None:
    """Agent numbers state their paging in any common spelling, beside a cap that they do not mention."""
    vendor = Vendor(count, cap, says=SPELLINGS[spelling], beyond=404)
    assert await listed(CappedAgents(vendor)) == NUMBERS[:count]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beyond", [*BEYOND, "first", "last"])
@pytest.mark.parametrize("count", [3, 9, 10, 20, 40, 41])
async def test_an_account_is_complete_whatever_lies_beyond_its_end(
    backend: type[Backend], count: int, beyond: str | int
) -> None:
    """Pages that are requested ahead and refused fail no account and drop no page."""
    async with PhoneSystem(backend(Vendor(count, 1000, beyond=beyond), page_size=10)) as phones:
        found = await phones.numbers()
    assert sorted(number.number for number in found) == NUMBERS[:count]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("broken", [0, 7, 10, 15, 19, 25])
async def test_a_page_that_fails_inside_the_list_is_a_failure(backend: type[Backend], broken: int) -> None:
    """A vendor's error in the middle is not taken for the end."""
    provider = backend(Vendor(30, 1000, broken=broken), page_size=10)
    with pytest.raises(ServerError, match="broken row"):
        await listed(provider)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_first_page_is_never_beyond_the_end(backend: type[Backend]) -> None:
    """A list without rows under its key is not an empty account."""

    class Silent(Vendor):
        def answer(self, index: int, size: int, key: str) -> bytes:
            return msgspec.json.encode({key: None})

    with pytest.raises(DecodeError):
        await listed(backend(Silent(0, 10)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("count", "requests"), [(8, 1), (9, 1), (10, 2), (11, 1), (50, 2), (51, 1)])
async def test_certainty_costs_one_request_where_it_is_needed(
    backend: type[Backend], count: int, requests: int
) -> None:
    """Only a short first page with a customary number of rows is followed by another request."""
    vendor = Vendor(count, 1000, beyond=400)
    await listed(backend(vendor))
    assert vendor.requests == requests


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("overlaps", [True, False])
async def test_certainty_is_paid_for_until_a_page_was_larger(
    backend: type[Backend], *, overlaps: bool
) -> None:
    """A vendor that has sent a page of 60 rows does not cap them at 50, but perhaps at 100."""
    provider = backend(Vendor(50, 1000))
    provider.overlaps = overlaps
    for count, requests in ((50, 2), (50, 2), (60, 1), (50, 1), (20, 1), (60, 1)):
        provider.vendor = Vendor(count, 1000)
        async with PhoneSystem(provider) as phones:
            assert len(await phones.numbers()) == count
        assert provider.vendor.requests == requests
    assert [rows for rows in range(201) if may_be_capped(rows, 201, largest=60)] == [100, 200]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beyond", ["first", "last"])
async def test_a_vendor_that_repeats_a_page_has_no_more(backend: type[Backend], beyond: str) -> None:
    """The request after a short page finds nothing new, whichever page comes again."""
    assert await listed(backend(Vendor(20, 1000, beyond=beyond))) == NUMBERS[:20]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beyond", [*BEYOND, "first", "last"])
@pytest.mark.parametrize("pages", ["overlapping", "of one size", "not verified"])
@pytest.mark.parametrize("cap", [25, 50])
async def test_a_capped_account_is_swept_whole(
    backend: type[Backend], cap: int, pages: str, beyond: str | int
) -> None:
    """Refusals and repeated pages beyond the end cost nothing, also after a last page that is full."""
    for count in (10, 25, 50, 63, 75, 100):
        provider = backend(Vendor(count, cap, beyond=beyond))
        provider.overlaps = pages == "overlapping"
        async with PhoneSystem(provider) as phones:
            async with phones.sweep(verify=pages != "not verified") as sweep:
                found = [number.number async for page in sweep for number in page.numbers]
        assert sweep.report.complete, (count, sweep.report.failures)
        assert sorted(found) == NUMBERS[:count]


@pytest.mark.parametrize(
    ("error", "requested"), [(BadRequest, "unauthorized"), (NotFound, "absent"), (DecodeError, "odd")]
)
async def test_agents_end_where_pages_are_refused(error: type[Exception], requested: str) -> None:
    """The list of agents is read on after a full page; a refusal is its end, an odd page is an error."""

    class Listed(AgentNumbers):
        async def send(self, call: Call[Any]) -> Any:
            page = int(asked(call)["page"])
            if page > 1:
                raise error(requested)
            return call.decode(msgspec.json.encode([{"id": index} for index in range(100)]))

    backend = Listed("key_1")
    if error is DecodeError:
        with pytest.raises(DecodeError, match=requested):
            await backend.agents()
    else:
        assert len(await backend.agents()) == 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "cursor", ["2", "/", "2/", "/5", "2/0", "2/101001", "-1/5", "2/5/5", "²/5", "x/y", -1]
)
async def test_a_cursor_of_another_origin_is_refused(backend: type[Backend], cursor: Cursor) -> None:
    """The error is raised before any request."""
    vendor = Vendor(5, 10)
    with pytest.raises(InvalidArgument, match="number of a page"):
        await backend(vendor).page("loc_1", cursor)
    assert vendor.requests == 0


def test_a_cursor_with_a_size_is_a_position() -> None:
    """It encodes itself as a plain number at the backend's own size."""
    assert position_of("3/50", 100, first=1).cursor(100) == "3/50"
    assert position_of(3, 100, first=1).cursor(100) == 3
    assert position_of(None, 100, first=1) == (1, 100)


@pytest.mark.parametrize(
    ("cursor", "first", "position"),
    [
        (0, 0, (0, 100)),
        (1, 1, (1, 100)),
        ("0/1", 0, (0, 1)),
        ("7/100", 1, (7, 100)),
        ("9" * 18 + "/100", 1, (int("9" * 18), 100)),
        (0, 1, None),
        ("0/50", 1, None),
        ("1/101", 1, None),
        ("9" * 19 + "/100", 1, None),
        (1.5, 1, None),
        (["1/5"], 1, None),
    ],
)
def test_cursors_are_decoded_or_refused(cursor: Any, first: int, position: tuple[int, int] | None) -> None:
    """Numbers begin with the vendor's first, and sizes are at most the backend's."""
    if position is not None:
        assert position_of(cursor, 100, first=first) == position
    else:
        with pytest.raises(InvalidArgument, match=f"number of a page, from {first}, got"):
            position_of(cursor, 100, first=first)


@pytest.mark.parametrize(
    ("requested", "reported", "size"),
    [
        (100, None, 100),
        (100, 50, 50),
        (100, 1, 1),
        (100, 0, 100),
        (100, -1, 100),
        (100, 100, 100),
        (100, 101, 100),
    ],
)
def test_vendors_report_smaller_pages_only(requested: int, reported: int | None, size: int) -> None:
    """A size that is larger than requested, or none at all, is nonsense."""
    assert effective_page_size(requested, reported) == size


@pytest.mark.parametrize(
    ("total", "minimum", "plausible"), [(None, 5, None), (4, 5, None), (5, 5, 5), (6, 5, 6), (0, 0, 0)]
)
def test_a_total_counts_the_rows_that_were_seen(
    total: int | None, minimum: int, plausible: int | None
) -> None:
    """Fewer are no total."""
    assert plausible_total(total, minimum) == plausible


@pytest.mark.parametrize(
    ("rows", "single", "beyond"),
    [
        ([5, 5, 3], [], True),  # a short page is the last
        ([5, 5, 5], [], True),
        ([5, 5, 5], [15], False),
        ([5, 5, 5], [16], False),  # the first row after the page is broken
        ([5, 5, 5], [17], True),
        ([5, 5, None], [10], False),  # that page failed as well
        ([5, 5, None], [15], True),
        ([None, None, None], [0], False),
    ],
)
async def test_the_pages_before_decide_what_is_beyond_the_end(
    rows: list[int | None], single: list[int], beyond: bool
) -> None:
    """And the two rows that would follow them."""

    async def count_rows(number: int) -> int:
        assert number >= 0
        if (count := rows[number]) is None:
            raise ServerError("broken", status=500)
        return count

    async def has_row(offset: int) -> bool:
        if offset not in single:
            raise NotFound("none", status=404)
        return True

    assert await is_beyond_end(3, count_rows=count_rows, size=5, has_row=has_row) is beyond
    assert not await is_beyond_end(0, count_rows=count_rows, size=5, has_row=has_row)


def test_statements_are_found_two_containers_deep() -> None:
    """As in `meta.pagination`; deeper objects are data."""
    said = {"meta": {"pagination": {"page": 2, "per_page": 50, "links": {"total": 7, "next": "x"}}}}
    assert find_paging(said, rows=5) == Paging(page=2, limit=50)
    assert find_paging({"limit": "50", "currentPage": 3.0}, rows=5) == Paging(page=3, limit=50)
    assert find_paging({"pagination": {"links": {"next": "x"}}}, rows=5) == Paging(has_more=True)


@pytest.mark.parametrize(
    ("said", "more"),
    [
        *[(True, True), ("Yes", True), (1, True), ("1", True)],
        *[(False, False), ("no", False), (0, False), ("0", False)],
        *[("perhaps", None), ([1], None), (None, None), (2, None)],
    ],
)
def test_flags_come_as_words_and_numbers(said: Any, more: bool | None) -> None:
    """Others say nothing."""
    assert find_paging({"hasMore": said}, rows=5).has_more is more


def test_statements_of_another_type_are_ignored() -> None:
    """So is a count of the page itself."""
    said = {"total": [], "count": 5, "hasMore": "perhaps", "page": True, "limit": {}, "pages": "many"}
    assert find_paging(said, rows=5) == Paging()
    assert find_paging(rows=5) == Paging()
    assert find_paging({"count": 6}, rows=5) == Paging(total=6)
    assert find_paging({"nextPage": None}, rows=5) == Paging(has_more=False)


def test_customary_sizes() -> None:
    """A full page is not capped, nor is one of an uncommon size."""
    assert [rows for rows in range(101) if may_be_capped(rows, 100)] == [10, 20, 25, 30, 40, 50]
