"""Lists of locations that change, miscount and misbehave while they are read."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import BadRequest, DecodeError, InconsistentListing, LeadConnector, NotFound, PhoneSystem
from phonesys.backends.leadconnector.oauth.discovery import list_by_offset, list_by_token
from phonesys.backends.leadconnector.oauth.wire import LocationPage, LocationRow
from phonesys.errors import Forbidden, ServerError
from phonesys.sandbox import status
from tests.oauth.agencies import agency, backend, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from phonesys.sandbox import Sandbox


def ids(count: int) -> list[str]:
    return [f"loc_{n}" for n in range(count)]


class Vendor:
    """A list of locations, paged by offset or by token, and the requests for it."""

    def __init__(self, rows: Sequence[str], *, cap: int = 1000, count: Any = "total") -> None:
        self.rows = list(rows)
        self.cap = cap
        self.count = count
        self.requests: list[Any] = []
        self.after: Callable[[int], None] = lambda _requests: None

    def _total(self, page: Sequence[str]) -> int | None:
        totals = {"total": len(self.rows), "page": len(page), None: None}
        return totals[self.count] if self.count in totals else int(self.count)

    async def at(self, skip: int, limit: int) -> LocationPage:
        self.requests.append(skip)
        page = self.rows[skip : skip + min(limit, self.cap)]
        found = LocationPage(tuple(LocationRow(id_) for id_ in page), count=self._total(page))
        self.after(len(self.requests))
        return found

    async def following(self, token: str | None) -> LocationPage:
        self.requests.append(token)
        start = int(token or 0)
        page, end = self.rows[start : start + self.cap], start + self.cap
        more = end < len(self.rows)
        return LocationPage(
            tuple(LocationRow(id_) for id_ in page),
            count=self._total(page),
            next_token=str(end) if more else None,
            has_next=more,
        )


async def listed(rows: AsyncIterator[LocationRow]) -> tuple[list[str | None], Exception | None]:
    """Return the ids, and the error that came after them."""
    found: list[str | None] = []
    try:
        async for row in rows:
            found.append(row.id)  # noqa: PERF401 -- what came before an error counts
    except (InconsistentListing, DecodeError) as error:
        return found, error
    return found, None


@pytest.mark.parametrize("count", ["total", "page", None])
@pytest.mark.parametrize("cap", [2, 3, 20, 50, 1000])
@pytest.mark.parametrize("size", [0, 1, 2, 99, 100, 101, 199, 200, 250])
async def test_every_location_is_listed_once(size: int, cap: int, count: str | None) -> None:
    """The list is complete and in order for any page size and any meaning of the count."""
    vendor = Vendor(ids(size), cap=cap, count=count)
    assert await listed(list_by_offset(vendor.at)) == (ids(size), None)


async def test_a_quiet_list_costs_one_page_more_than_it_has() -> None:
    """Certainty costs one request: the page that brings nothing new."""
    for size, requests in ((3, 2), (100, 2), (250, 4), (5000, 52)):
        vendor = Vendor(ids(size))
        await listed(list_by_offset(vendor.at))
        assert len(vendor.requests) == requests


@pytest.mark.parametrize("seed", range(40))
async def test_a_location_deleted_meanwhile_hides_no_other(seed: int) -> None:
    """Every location that exists from beginning to end is listed once."""
    draw = random.Random(seed)
    vendor = Vendor(ids(450), cap=draw.choice([20, 50, 100]), count=draw.choice(["total", "page", None]))
    gone, victims = set[str](), draw.choice([1, 2, 5])

    def change(requests: int) -> None:
        if len(gone) < victims and requests > 1:
            gone.add(vendor.rows.pop(draw.randrange(len(vendor.rows) // 2)))

    vendor.after = change
    found, error = await listed(list_by_offset(vendor.at))
    assert gone
    assert error is None
    assert {id_ for id_ in ids(450) if id_ not in gone} <= set(found)
    assert len(found) == len(set(found))


async def test_a_list_that_never_holds_still_is_reported() -> None:
    """If rows move in every pass, an error follows the last location."""
    vendor = Vendor(ids(450), count=None)

    def rotate(_requests: int) -> None:
        vendor.rows.append(vendor.rows.pop(0))

    vendor.after = rotate
    found, error = await listed(list_by_offset(vendor.at))
    assert isinstance(error, InconsistentListing)
    assert len(found) == len(set(found))


async def test_a_count_beyond_the_list_is_reported() -> None:
    """The vendor counts more locations than it lists: all listed ones are yielded, then an error."""
    found, error = await listed(list_by_offset(Vendor(ids(250), count=300).at))
    assert found == ids(250)
    assert "counts 300 locations and lists 250" in str(error)


async def test_a_count_that_ignores_the_filter_is_no_loss() -> None:
    """The vendor was seen to count all locations, installed or not; the unfiltered list explains it."""
    installed, everything = Vendor(ids(50), count=120), Vendor(ids(120))
    rows = list_by_offset(installed.at, fetch_unfiltered=everything.at)
    assert await listed(rows) == (ids(50), None)
    fewer = list_by_offset(Vendor(ids(50), count=120).at, fetch_unfiltered=Vendor(ids(100)).at)
    found, error = await listed(fewer)
    assert (found, isinstance(error, InconsistentListing)) == (ids(50), True)


@pytest.mark.parametrize("count", ["total", "page", None])
@pytest.mark.parametrize("size", [3, 99, 100])
async def test_a_page_that_repeats_ends_the_list(size: int, count: str | None) -> None:
    """A vendor that ignores `skip` is not asked forever; a full page that repeats is reported."""
    vendor = Vendor(ids(size), count=count)

    async def first_page_always(_skip: int, limit: int) -> LocationPage:
        return await vendor.at(0, limit)

    found, error = await listed(list_by_offset(first_page_always))
    assert found == ids(size)
    assert (error is not None) == (size == 100)
    assert len(vendor.requests) <= 15


@pytest.mark.parametrize("beyond", ["first", "last", BadRequest, NotFound, ServerError])
@pytest.mark.parametrize("count", ["total", None])
@pytest.mark.parametrize("size", [50, 250])
async def test_a_vendor_may_do_anything_beyond_the_end(size: int, count: str | None, beyond: Any) -> None:
    """A repeated page and a rejection beyond the last location end the list without an error."""
    vendor = Vendor(ids(size), count=count)

    async def fetch(skip: int, limit: int) -> LocationPage:
        if skip < size:
            return await vendor.at(skip, limit)
        if beyond == "first":
            return await vendor.at(0, limit)
        if beyond == "last":
            return await vendor.at((size - 1) // 99 * 99, limit)
        raise beyond("beyond", status=400)

    found, error = await listed(list_by_offset(fetch))
    assert found == ids(size)
    full_page_repeats = beyond == "first" and size > 100 and count is None
    assert (error is not None) == full_page_repeats


async def test_a_page_within_the_count_must_arrive() -> None:
    """A rejection of a page that the vendor counts is an error, and so is a missing scope anywhere."""
    vendor = Vendor(ids(450))

    async def fetch(skip: int, limit: int) -> LocationPage:
        if skip == 198:
            raise BadRequest("no", status=400)
        return await vendor.at(skip, limit)

    async def forbidden(skip: int, limit: int) -> LocationPage:
        if skip:
            raise Forbidden("no", status=403)
        return await vendor.at(skip, limit)

    with pytest.raises(BadRequest):
        await listed(list_by_offset(fetch))
    vendor.count = None
    with pytest.raises(Forbidden):
        await listed(list_by_offset(forbidden))


@pytest.mark.parametrize("cap", [1, 7, 100])
async def test_a_list_by_token_is_read_to_its_end(cap: int) -> None:
    """Each page names the next one."""
    vendor = Vendor(ids(250), cap=cap)
    assert await listed(list_by_token(vendor.following)) == (ids(250), None)
    assert len(vendor.requests) == -(-250 // cap)


@pytest.mark.parametrize("count", ["total", None])
async def test_a_token_that_repeats_ends_the_list(count: str | None) -> None:
    """A vendor that sends the same page under ever new tokens is left, and what is missing is reported."""
    vendor = Vendor(ids(250), cap=100, count=count)
    serial = 0

    async def stuck(_token: str | None) -> LocationPage:
        nonlocal serial
        serial += 1
        page = await vendor.following(None)
        return LocationPage(page.locations, page.count, next_token=f"t{serial}", has_next=True)

    found, error = await listed(list_by_token(stuck))
    assert found == ids(100)
    assert isinstance(error, InconsistentListing)
    assert serial == 6


async def test_an_unfiltered_list_is_read_only_to_explain_a_count() -> None:
    """Not if the count is right, and not while rows move: the next pass may settle it."""
    explained, everything = Vendor(ids(50)), Vendor(ids(120))
    await listed(list_by_offset(explained.at, fetch_unfiltered=everything.at))
    assert (len(explained.requests), len(everything.requests)) == (2, 0)

    moving = Vendor(ids(250), count=300)
    moving.after = lambda _requests: moving.rows.append(moving.rows.pop(0))
    _, error = await listed(list_by_offset(moving.at, fetch_unfiltered=everything.at))
    assert isinstance(error, InconsistentListing)
    assert everything.requests == []


async def test_an_unfiltered_list_explains_a_count_by_its_rows() -> None:
    """And not by a count of its own, which may be that of a page. Those who installed the app are listed."""
    short = Vendor(ids(100), count="page")
    found, error = await listed(
        list_by_offset(Vendor(ids(50), count=120).at, fetch_unfiltered=short.at),
    )
    assert (found, str(error)) == (ids(50), "the vendor counts 120 locations and lists 100")

    async def everything(skip: int, limit: int) -> LocationPage:
        rows = [LocationRow(f"loc_{n}", is_installed={0: True, 1: False}.get(n % 3)) for n in range(120)]
        return LocationPage(tuple(rows[skip : skip + limit]), count=120)

    some = Vendor([f"loc_{n}" for n in range(0, 60, 3)], count=120)
    found, error = await listed(list_by_offset(some.at, fetch_unfiltered=everything))
    assert (found, error) == ([f"loc_{n}" for n in range(0, 120, 3)], None)


async def test_a_row_that_denies_the_installation_is_not_listed() -> None:
    """Whatever filter was asked for; a row that says nothing is what the filter says."""

    async def fetch(skip: int, limit: int) -> LocationPage:
        rows = (LocationRow("a", is_installed=False), LocationRow("b"), LocationRow("c", is_installed=True))
        return LocationPage(rows[skip : skip + limit], count=3)

    assert await listed(list_by_offset(fetch)) == (["b", "c"], None)


@pytest.mark.parametrize("place", [0, 5, 98, 99, 100, 149])
async def test_a_location_without_an_id_counts_once(place: int) -> None:
    """Also where two pages share it. The list is read once, and the error says how many there are."""
    requests: list[int] = []

    async def fetch(skip: int, limit: int) -> LocationPage:
        requests.append(skip)
        rows = [LocationRow(None if n == place else f"loc_{n}") for n in range(150)]
        return LocationPage(tuple(rows[skip : skip + limit]), count=150)

    found, error = await listed(list_by_offset(fetch))
    assert found == [id_ for n, id_ in enumerate(ids(150)) if n != place]
    assert isinstance(error, DecodeError)
    assert str(error).startswith("1 of the locations have no id")
    assert requests == [0, 99, 198]


@pytest.mark.parametrize("count", ["total", "page", None])
async def test_an_empty_list_costs_one_request(count: str | None) -> None:
    """There is nothing that a second page could continue."""
    vendor = Vendor([], count=count)
    assert await listed(list_by_offset(vendor.at)) == ([], None)
    assert vendor.requests == [0]


async def test_a_counted_list_is_read_with_hardly_a_request_too_many() -> None:
    """Pages overlap by a row, and the last one brings nothing new."""
    for size in (1, 2, 3, 50, 99, 100, 101, 198, 199, 200, 298, 1684, 1685, 1783, 1784):
        vendor = Vendor(ids(size))
        assert await listed(list_by_offset(vendor.at)) == (ids(size), None)
        step = max(1, min(size, 100) - 1)
        pages = 1 + -(-(size - min(size, 100)) // step)
        assert vendor.requests == [page * step for page in range(pages + 1)], size


@pytest.mark.parametrize(
    ("count", "size", "most"), [("total", 5000, 16), ("total", 500, 6), (None, 5000, 4), ("page", 5000, 4)]
)
async def test_pages_are_read_a_few_at_a_time(count: str | None, size: int, most: int) -> None:
    """As many as the count promises, up to 16; without a count that can be right, four ahead."""
    vendor, running, peak = Vendor(ids(size), count=count), 0, 0

    async def fetch(skip: int, limit: int) -> LocationPage:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return await vendor.at(skip, limit)

    assert await listed(list_by_offset(fetch)) == (ids(size), None)
    assert peak == most


async def test_a_failed_page_cancels_those_beside_it() -> None:
    """No request is running once the error is raised."""
    vendor, running = Vendor(ids(1000)), 0

    async def fetch(skip: int, limit: int) -> LocationPage:
        nonlocal running
        running += 1
        try:
            if skip == 198:
                raise Forbidden("no", status=403)
            if skip > 198:
                await asyncio.Event().wait()
            return await vendor.at(skip, limit)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)  # as a connection that has to be closed
            running -= 1

    with pytest.raises(Forbidden):
        await listed(list_by_offset(fetch))
    assert running == 0


async def test_a_page_that_a_deletion_has_moved_beyond_the_end_is_no_failure() -> None:
    """The vendor refuses the page that would begin on the last row, which it counted a moment ago."""
    vendor = Vendor(ids(100))

    async def fetch(skip: int, limit: int) -> LocationPage:
        if skip >= len(vendor.rows):
            raise NotFound("beyond", status=404)
        page = await vendor.at(skip, limit)
        vendor.rows = ids(99)
        return page

    assert await listed(list_by_offset(fetch)) == (ids(100), None)


async def test_a_page_that_holds_one_counted_row_must_arrive() -> None:
    """Beside the row that it shares with the page before."""
    vendor = Vendor(ids(101))

    async def fetch(skip: int, limit: int) -> LocationPage:
        if skip:
            raise NotFound("no", status=404)
        return await vendor.at(skip, limit)

    with pytest.raises(NotFound):
        await listed(list_by_offset(fetch))


async def test_a_page_that_repeats_in_the_middle_is_a_move() -> None:
    """Only the first page and the last one may repeat at the end, so rows may be missing behind another."""
    vendor = Vendor(ids(350), count=None)

    async def fetch(skip: int, limit: int) -> LocationPage:
        return await vendor.at(99 if skip >= 297 else skip, limit)

    found, error = await listed(list_by_offset(fetch))
    assert found == ids(298)
    assert str(error) == "the list of locations changed each time while it was read"


@pytest.mark.parametrize(
    ("count", "has_next", "promised"),
    [(None, True, True), (None, None, False), (None, False, False), ("total", True, False), (9, True, True)],
)
async def test_a_promise_of_another_page_is_kept_or_reported(
    count: Any, has_next: bool | None, promised: bool
) -> None:
    """A vendor that says that there is more, and names no page, has hidden it unless the count is reached."""
    vendor, requests = Vendor(ids(3), cap=3, count=count), 0

    async def fetch(_token: str | None) -> LocationPage:
        nonlocal requests
        requests += 1
        page = await vendor.following(None)
        return LocationPage(page.locations, page.count, next_token=None, has_next=has_next)

    found, error = await listed(list_by_token(fetch))
    assert found == ids(3)
    assert isinstance(error, InconsistentListing) == promised
    assert requests == (3 if promised else 1)


async def test_a_last_page_may_name_a_token() -> None:
    """A vendor that says that there is no more is believed, whatever token it sends."""
    vendor, tokens = Vendor(ids(5), cap=3), list[str | None]()

    async def fetch(token: str | None) -> LocationPage:
        tokens.append(token)
        page = await vendor.following(token)
        return LocationPage(page.locations, page.count, page.next_token or "t", page.has_next)

    assert await listed(list_by_token(fetch)) == (ids(5), None)
    assert tokens == [None, "3"]


async def test_a_count_beyond_a_list_by_token_is_reported() -> None:
    """The count of the first page is that of the list."""
    found, error = await listed(list_by_token(Vendor(ids(5), cap=3, count=6).following))
    assert (found, str(error)) == (ids(5), "the vendor counts 6 locations and lists 5")
    assert await listed(list_by_token(Vendor(ids(5), cap=3, count="page").following)) == (ids(5), None)


async def test_a_location_that_is_installed_meanwhile_may_be_missed() -> None:
    """It was not there when the list was begun."""
    vendor = Vendor(ids(5), cap=3)

    async def fetch(token: str | None) -> LocationPage:
        page = await vendor.following(token)
        vendor.count = 6
        return page

    assert await listed(list_by_token(fetch)) == (ids(5), None)


async def test_a_discovery_that_does_not_add_up_is_in_the_report(sandbox: Sandbox) -> None:
    """The sweep reads every location that was listed, and is not complete."""
    rows = [{"_id": id_, "isInstalled": True} for id_ in sandbox.location_ids]

    async def miscount(exchange: Any, /) -> Any:
        skip = int(exchange.request.query["skip"])
        return await status(200, {"locations": rows[skip : skip + 100], "count": len(rows) + 1})(exchange)

    sandbox.script("leadconnector.installed", miscount, repeat=True)
    async with PhoneSystem(backend(sandbox, agency(sandbox, await store_of(sandbox)))) as phones:
        async with phones.sweep() as sweep:
            _ = [page async for page in sweep]
    (failure,) = sweep.report.failures
    assert isinstance(failure.error, InconsistentListing)
    assert failure.account is None
    assert len(sweep.report.accounts) == len(rows)
    assert not sweep.report.complete


async def test_a_search_for_locations_yields_names(sandbox: Sandbox) -> None:
    """Names come with the list, and are None for locations that were given."""
    searching = LeadConnector(
        sandbox.leadconnector_token,
        company_id=sandbox.oauth.company_id,
        base_url=sandbox.leadconnector_url,
    )
    async with searching as lc:
        found = [tuple(account) async for account in lc.accounts_with_names()]
    assert found == [(id_, f"Location {id_}") for id_ in sandbox.location_ids]
    async with LeadConnector(sandbox.leadconnector_token, locations=["a"]) as lc:
        assert [tuple(account) async for account in lc.accounts_with_names()] == [("a", None)]
