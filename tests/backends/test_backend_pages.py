"""What a page says of itself, in each backend: its place, the rows in it, and the pages that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from phonesys import AgentNumbers, BadRequest, LeadConnector, Leadping
from phonesys.testing import MockTransport, json_response

if TYPE_CHECKING:
    from phonesys import Cursor, NumberProvider, Page
    from phonesys.http import Call, RawResponse

UNREADABLE, ODD = 2, 4


def row(index: int) -> dict[str, Any]:
    if index == UNREADABLE:
        return {"name": "no number"}
    fields = {"phoneNumber": f"+1415555{index:04}", "number": f"+1415555{index:04}", "id": f"id_{index}"}
    return {**fields, "sid": f"id_{index}", "friendlyName": [5]} if index == ODD else fields


class Vendor:
    """A list of rows, of which one cannot be read and one has an odd field, and the requests for it."""

    def __init__(self, rows: int, key: str = "numbers", **says: Any) -> None:
        self.rows = [row(index) for index in range(rows)]
        self.key = key
        self.says = says
        self.requests: list[dict[str, str]] = []

    def __call__(self, call: Call[Any]) -> RawResponse:
        assert call.account == "acc"
        fields = parse_qs(urlsplit(call.target).query)
        query = {name: values[0] for name, values in fields.items()}
        self.requests.append(query)
        size = int(query["pageSize"] if "pageSize" in query else query["limit"])
        index = int(query["page"]) - ("limit" in query)
        return json_response({self.key: self.rows[index * size : (index + 1) * size], **self.says})


def facts(page: Page[Any]) -> tuple[Any, ...]:
    """Return the place of a page, its rows, and the cursors that it names."""
    assert page.account == "acc"
    assert page.provider == "mine"
    assert {(number.account, number.backend) for number in page.numbers} <= {("acc", "mine")}
    ids = "".join(number.number[-1] for number in page.numbers)
    return page.cursor, page.offset, page.overlap, page.total, ids, page.next


def backends(vendor: Vendor, **options: Any) -> list[tuple[Any, int]]:
    """Return the backends that page by index, with the number of their first page."""
    options = {"name": "mine", "transport": MockTransport(vendor), "page_size": 4, **options}
    return [(LeadConnector("pit-0", **options), 0), (AgentNumbers("key", **options), 1)]


@pytest.mark.parametrize("kind", [0, 1])
async def test_a_page_states_its_place(kind: int) -> None:
    """Unreadable rows count in its offset, and the total is the vendor's."""
    vendor = Vendor(7, total=7)
    provider, first = backends(vendor)[kind]
    async with provider:
        page = await provider.page("acc")
        assert facts(page) == (None, 0, 0, 7, "013", (first + 1,))
        assert [unreadable.raw for unreadable in page.rejected] == [msgspec.json.encode(row(UNREADABLE))]
        assert page.mended == ()
        page = await provider.page("acc", first + 1)
        assert facts(page) == (first + 1, 4, 0, 7, "456", ())
        assert [(mended.field, mended.count) for mended in page.mended] == [("friendlyName", 1)]
        assert page.rejected == ()
    assert len(vendor.requests) == 2


@pytest.mark.parametrize("kind", [0, 1])
async def test_an_overlapping_page_states_its_place(kind: int) -> None:
    """And how many rows it shares with the page before it."""
    provider, _ = backends(Vendor(7, total=7))[kind]
    async with provider:
        page = await provider.overlapping_page("acc")
        assert facts(page) == (None, 0, 0, 7, "013", ("1/4/3", "2/4/3"))
        assert [unreadable.raw for unreadable in page.rejected] == [msgspec.json.encode(row(UNREADABLE))]
        page = await provider.overlapping_page("acc", "1/4/3")
        assert facts(page) == ("1/4/3", 3, 1, 7, "345", ())
        assert [(mended.field, mended.count) for mended in page.mended] == [("friendlyName", 1)]
        page = await provider.overlapping_page("acc", "2/4/3")
        assert facts(page) == ("2/4/3", 4, 2, 7, "456", ())


@pytest.mark.parametrize("kind", [0, 1])
async def test_an_overlap_is_no_larger_than_the_page(kind: int) -> None:
    """A list that has become shorter leaves less of it."""
    provider, _ = backends(Vendor(4))[kind]
    async with provider:
        assert facts(await provider.overlapping_page("acc", "2/4")) == ("2/4", 4, 0, None, "", ())
        assert facts(await provider.overlapping_page("acc", "1/4")) == ("1/4", 3, 1, None, "3", ())


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("total", [0, 3, -1])
async def test_a_total_that_the_page_belies_is_none(kind: int, total: int) -> None:
    """Fewer rows than were seen are no total, on the first page and on others."""
    provider, first = backends(Vendor(4, total=total))[kind]
    async with provider:
        assert facts(await provider.page("acc")) == (None, 0, 0, None, "013", (first + 1,))
        assert facts(await provider.overlapping_page("acc")) == (None, 0, 0, None, "013", ("1/4",))
    provider, first = backends(Vendor(8, total=7))[kind]
    async with provider:
        page = await provider.page("acc", first + 1)
        assert (page.offset, page.total) == (4, None)
        assert (await provider.overlapping_page("acc", "2/4")).total is None


@pytest.mark.parametrize("kind", [0, 1])
async def test_the_vendors_page_size_places_the_rows(kind: int) -> None:
    """A vendor that caps its pages at two rows and says so is read in pages of two."""

    class Capped(Vendor):
        def __call__(self, call: Call[Any]) -> RawResponse:
            target = call.target.replace("pageSize=4", "pageSize=2").replace("limit=4", "limit=2")
            return super().__call__(msgspec.structs.replace(call, target=target))

    vendor = Capped(5, total=5, pageSize=2, limit=2)
    provider, first = backends(vendor)[kind]
    async with provider:
        page = await provider.page("acc")
        assert facts(page) == (None, 0, 0, 5, "01", (f"{first + 1}/2", f"{first + 2}/2"))
        assert facts(await provider.page("acc", first + 2)) == (first + 2, 4, 0, 5, "4", ())
        assert facts(await provider.page("acc", f"{first + 1}/2")) == (f"{first + 1}/2", 2, 0, 5, "3", ())
        page = await provider.overlapping_page("acc")
        assert facts(page) == (None, 0, 0, 5, "01", ("1/2/3", "2/2/3"))
        assert facts(await provider.overlapping_page("acc", "2/2/3")) == ("2/2/3", 4, 0, 5, "4", ())
        assert (await provider.overlapping_page("acc", "1/4/3")).offset == 2


async def test_pages_by_token_have_no_place() -> None:
    """Leadping names the next page by a token. Rows, total and what could not be read are there."""
    sent: list[Any] = []

    def respond(call: Call[Any]) -> RawResponse:
        sent.append(msgspec.json.decode(call.body or b"{}"))
        token = None if len(sent) > 1 else "tok"
        rows = [{**row(index), **({"name": [5]} if index == ODD else {})} for index in range(6)]
        return json_response({"items": rows, "continuationToken": token, "totalCount": 9})

    async with Leadping("key", name="mine", page_size=7, transport=MockTransport(respond)) as provider:
        page = await provider.page("acc")
        assert facts(page) == (None, None, 0, 9, "01345", ("tok",))
        assert [unreadable.raw for unreadable in page.rejected] == [msgspec.json.encode(row(UNREADABLE))]
        assert [(mended.field, mended.count) for mended in page.mended] == [("name", 1)]
        page = await provider.page("acc", "tok")
        assert facts(page) == ("tok", None, 0, 9, "01345", ())
    assert [request.get("continuationToken") for request in sent] == [None, "tok"]
    assert {request["pageSize"] for request in sent} == {7}


async def has_row(provider: NumberProvider, offset: int, row: str) -> Any:
    return await provider.has_row_at("acc", offset, row)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [0, 1])
async def test_a_row_is_looked_up_at_its_offset(kind: int) -> None:
    """With a page of one row. A vendor that sends more ignores the size, and proves nothing."""
    vendor = Vendor(7)
    provider, first = backends(vendor)[kind]
    async with provider:
        key = "+14155550003" if kind == 0 else "id_3"
        assert await has_row(provider, 3, key) is True
        assert await has_row(provider, 4, key) is False
        assert await has_row(provider, ODD, "+14155550004" if kind == 0 else "id_4") is True
        assert await has_row(provider, 9, key) is False
        assert await has_row(provider, UNREADABLE, key) is False
    size = "pageSize" if kind == 0 else "limit"
    assert [(int(each["page"]) - first, each[size]) for each in vendor.requests] == [
        (3, "1"), (4, "1"), (ODD, "1"), (9, "1"), (UNREADABLE, "1"),
    ]  # fmt: skip
    two = MockTransport(lambda _call: json_response({"numbers": [row(0), row(1)]}))
    provider, _ = backends(vendor, transport=two)[kind]
    async with provider:
        assert await has_row(provider, 3, "other") is True


@pytest.mark.parametrize("kind", [0, 1])
async def test_pages_ahead_are_named_as_pages_prove_full(kind: int) -> None:
    """Without a total, the first page names one more, in either way of paging."""
    vendor = Vendor(400)
    provider, first = backends(vendor, page_size=20)[kind]
    named: dict[Cursor, tuple[Cursor, ...]] = {}
    async with provider:
        for cursor in (None, "1/20", "3/20"):
            named[str(cursor)] = (await provider.overlapping_page("acc", cursor)).next
        for number in (first, first + 1, first + 3):
            named[number - first] = (await provider.page("acc", number)).next
    if kind == 0:
        assert named == {
            "None": ("1/20",), "1/20": ("2/20", "3/20"), "3/20": ("5/20", "6/20"),
            0: (1,), 1: (2, 3), 3: (5, 6),
        }  # fmt: skip
    else:
        assert named == {
            "None": ("1/20",), "1/20": ("2/20",), "3/20": ("4/20",), 0: (2,), 1: (3,), 3: (5,),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "cursor", "says", "named"),
    [
        # The first page: four rows are full, fewer are the last, unless the vendor says otherwise.
        (4, None, {}, ("1/4",)),
        (4, None, {"hasMore": False}, ()),
        (3, None, {}, ()),
        (3, None, {"hasMore": True}, ("1/3",)),
        (4, None, {"pages": 1}, ()),
        (3, None, {"pages": 2}, ("1/3",)),
        (3, None, {"pages": 100_000}, ("1/3",)),
        (3, None, {"pages": 100_001}, ()),
        (2, None, {"limit": 2}, ("1/2",)),
        (2, None, {"limit": 2, "hasMore": False}, ()),
        # A total names the whole plan, but not against the statement that there is more.
        (4, None, {"total": 4}, ()),
        (4, None, {"total": 4, "hasMore": True}, ("1/4",)),
        (4, None, {"total": 6, "hasMore": True}, ("1/4/2",)),
        (4, None, {"total": 6, "hasMore": False}, ("1/4/2",)),
        # The second window is a page of three, which begins on the last row of the first.
        (6, "1/4", {}, ("2/4",)),
        (6, "1/4", {"hasMore": False}, ()),
        (6, "1/4", {"total": 6, "hasMore": True}, ("2/4",)),
        (5, "1/4", {"hasMore": True}, ("2/4",)),
        (6, "1/4", {"pages": 2}, ()),
        (6, "1/4", {"pages": 3}, ("2/4",)),
        (5, "1/4", {"pages": 3}, ("2/4",)),
    ],
)
async def test_agents_are_read_as_far_as_the_vendor_says(
    rows: int, cursor: Cursor | None, says: dict[str, Any], named: tuple[str, ...]
) -> None:
    """In overlapping pages of up to four rows."""
    vendor = Vendor(rows, key="data", meta=says)
    provider, _ = backends(vendor)[1]
    async with provider:
        assert (await provider.overlapping_page("acc", cursor)).next == named
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("rows", "cursor", "says", "named"),
    [
        (4, None, {}, ("1/4",)),
        (3, None, {}, ()),
        (2, None, {"pageSize": 2}, ("1/2",)),
        (1, None, {"pageSize": 2}, ()),
        (4, None, {"total": 4}, ()),
        (4, None, {"total": 6}, ("1/4/2",)),
        (3, None, {"total": 3}, ()),
        (3, None, {"total": 5}, ("1/3/3", "2/3/3")),  # a cap that is not stated
        (6, "1/4", {}, ("2/4", "3/4")),
        (5, "1/4", {}, ()),
    ],
)
async def test_locations_are_read_as_far_as_the_vendor_says(
    rows: int, cursor: Cursor | None, says: dict[str, Any], named: tuple[str, ...]
) -> None:
    """In overlapping pages of up to four rows."""
    vendor = Vendor(rows, **says)
    provider, _ = backends(vendor)[0]
    async with provider:
        assert (await provider.overlapping_page("acc", cursor)).next == named
    assert len(vendor.requests) == 1


async def test_a_search_is_a_search_in_every_request() -> None:
    """Also where a page fails, and where a second one shows whether the first was the last."""
    vendor = Failing(10)
    provider, _ = backends(vendor, page_size=100)[0]
    async with provider:
        assert facts(await provider.search("acc", "1415555"))[4] == "013456789"
        assert facts(await provider.search("acc", "1415555", 2)) == (2, 200, 0, None, "", ())
    queries = [(query["page"], query["pageSize"], query.get("searchFilter")) for query in vendor.requests]
    assert queries == [
        ("0", "100", "1415555"), ("1", "10", "1415555"),
        ("2", "100", "1415555"), ("1", "100", "1415555"), ("0", "100", "1415555"),
    ]  # fmt: skip
    vendor = Failing(4)
    provider, _ = backends(vendor)[0]
    async with provider:
        await provider.search("acc", "1415555", 1)
    assert {query.get("searchFilter") for query in vendor.requests} == {"1415555"}
    assert len(vendor.requests) == 4


class Failing(Vendor):
    """Fails pages of several rows from an index on, as if a row could not be rendered."""

    index = 1

    def __call__(self, call: Call[Any]) -> RawResponse:
        response = super().__call__(call)
        query = self.requests[-1]
        index = int(query["page"]) - ("limit" in query)
        is_failing = index >= self.index and query.get("pageSize", query.get("limit")) != "1"
        return json_response({"message": "oops"}, status=400) if is_failing else response


@pytest.mark.parametrize("kind", [0, 1])
async def test_a_page_that_fails_is_beyond_the_end_if_its_rows_are_not_there(kind: int) -> None:
    """The two that would follow the last full page are looked up alone."""
    provider, first = backends(Failing(4))[kind]
    async with provider:
        assert facts(await provider.page("acc", first + 1)) == (first + 1, 4, 0, None, "", ())


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("rows", [5, 6])
async def test_a_page_that_fails_although_its_rows_are_there_is_a_failure(kind: int, rows: int) -> None:
    """One row is enough, and the first page is never beyond the end."""
    provider, first = backends(Failing(rows))[kind]
    async with provider:
        with pytest.raises(BadRequest, match="oops"):
            await provider.page("acc", first + 1)
    vendor = Failing(0)
    vendor.index = 0
    provider, first = backends(vendor)[kind]
    async with provider:
        with pytest.raises(BadRequest, match="oops"):
            await provider.page("acc")
    assert len(vendor.requests) == 1
