from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import (
    BadRequest,
    Forbidden,
    HttpOptions,
    InvalidArgument,
    LeadConnector,
    LeadConnectorNumber,
    NotFound,
    NumberStatus,
    PerAccount,
    PhoneSystem,
    PhoneSystemMissing,
    Unauthorized,
    UsageError,
)
from phonesys.backends.leadconnector.provider import _next_pages, _page_size
from phonesys.backends.leadconnector.wire import Listing
from phonesys.backends.paging import Position, plausible_total
from phonesys.model import UnreadableRow as RejectedRow
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import Cursor, LeadConnectorPage

NUMBER = LeadConnectorNumber(number="+14155552671")
BAD = RejectedRow(raw=b"{}", reason="no number")


# Where next, without a network.


def offline(**options: Any) -> LeadConnector:
    return LeadConnector("pit-x", **{"page_size": 10, "speculate": 3, **options})


def listing(rows: int, *, bad: int = 0, total: int | None = None, page_size: int | None = None) -> Listing:
    return Listing(numbers=(NUMBER,) * rows, rejected=(BAD,) * bad, total=total, page_size=page_size)


def following_of(provider: LeadConnector, index: int, read: Listing) -> tuple[int, ...]:
    rows, size = len(read.numbers) + len(read.rejected), _page_size(Position(index, provider.page_size), read)
    total = plausible_total(read.total, index * size + rows)
    return tuple(_next_pages(index, size, rows, total, provider.speculate))


@pytest.mark.parametrize(
    ("index", "read", "following"),
    [
        # Without a total: a short page is the last, a full one may not be.
        (0, listing(0), ()),
        (0, listing(9), ()),
        (0, listing(10), (1,)),
        (0, listing(8, bad=2), (1,)),
        (1, listing(10), (2, 3)),
        (2, listing(10), (4,)),
        (4, listing(1, bad=9), (7,)),
        (3, listing(9), ()),
        (9, listing(0), ()),
        # With one, the first page names all others.
        (0, listing(0, total=0), ()),
        (0, listing(10, total=10), ()),
        (0, listing(10, total=11), (1,)),
        (0, listing(10, total=35), (1, 2, 3)),
        (0, listing(10, total=60), (1, 2, 3, 4, 5)),
        (0, listing(4, total=10), (1, 2)),
        (0, listing(10, total=10**6), tuple(range(1, 100_000))),
        (0, listing(10, total=10**6 + 1), (1,)),
        (1, listing(10, total=60), ()),
        (5, listing(10, total=60), ()),
        (7, listing(0, total=60), ()),
        # A total that the page belies, or that no location has, counts for nothing.
        (0, listing(10, total=0), (1,)),
        (0, listing(10, total=-7), (1,)),
        (0, listing(10, total=10**7), (1,)),
        (1, listing(10, total=12), (2, 3)),
        (0, listing(3, total=0), ()),
        # The vendor's own page size, where it is the smaller.
        (0, listing(5, page_size=5), (1,)),
        (0, listing(4, page_size=5), ()),
        (0, listing(5, page_size=5, total=12), (1, 2)),
        (0, listing(9, page_size=0), ()),
        (0, listing(9, page_size=-3), ()),
        (0, listing(10, page_size=500), (1,)),
    ],
)
def test_where_next(index: int, read: Listing, following: tuple[int, ...]) -> None:
    """Pages are named ahead only after a full page, or by a total that can be."""
    assert following_of(offline(), index, read) == following


@settings(deadline=None)
@given(
    numbers=st.integers(0, 120),
    page_size=st.integers(1, 12),
    speculate=st.integers(1, 6),
    cap=st.none() | st.integers(1, 12),
    says_total=st.booleans(),
)
def test_every_number_is_read_once(
    numbers: int, page_size: int, speculate: int, cap: int | None, *, says_total: bool
) -> None:
    """Every number is read once, with and without totals, at any page size of the vendor's."""
    provider = offline(page_size=page_size, speculate=speculate)
    theirs = min(page_size, cap or page_size)
    work, named, read = [0], {0}, 0
    while work:
        index = work.pop()
        rows = max(0, min(theirs, numbers - index * theirs))
        read += rows
        answer = listing(rows, total=numbers if says_total else None, page_size=theirs if cap else None)
        for cursor in following_of(provider, index, answer):
            assert cursor not in named
            named.add(cursor)
            work.append(cursor)
    assert read == numbers
    assert len(named) <= numbers // theirs + 1 + (0 if says_total else speculate)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"version": "v2"}, "version: expected one of 2021-07-28, v3"),
        ({"speculate": 0}, "speculate"),
        ({"speculate": 1.5}, "speculate"),
        ({"page_size": 0}, "from 1 to 1000"),
        ({"page_size": 1001}, "from 1 to 1000"),
        ({"page_size": True}, "from 1 to 1000"),
        ({"name": ""}, "name"),
        ({"base_url": "http://services.leadconnectorhq.com"}, "https"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], expected: str) -> None:
    """The constructor raises, and the message states what was expected."""
    with pytest.raises(InvalidArgument, match=expected):
        offline(**options)


# On the sandbox.


@pytest.fixture
async def vendor() -> AsyncIterator[Sandbox]:
    async with Sandbox(
        locations=6, numbers=(24, 40), pools=2, not_connected=1, leadping=5, agents=5, enforce_limits=False
    ) as sandbox:
        yield sandbox


@asynccontextmanager
async def opened(vendor: Sandbox, **options: Any) -> AsyncIterator[LeadConnector]:
    if not options.keys() & {"auth", "token"}:
        options["token"] = vendor.leadconnector_token
    async with LeadConnector(base_url=vendor.leadconnector_url, **options) as provider:
        yield provider


def connected(vendor: Sandbox) -> str:
    return next(loc for loc in vendor.location_ids if loc not in vendor.not_connected)


async def whole(provider: LeadConnector, account: str) -> list[LeadConnectorPage]:
    work: list[Cursor | None] = [None]
    pages = []
    while work:
        page = await provider.page(account, work.pop())
        pages.append(page)
        work.extend(page.next)
    return pages


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
@pytest.mark.parametrize("page_size", [1000, 7, 1])
async def test_all_numbers_of_a_location(vendor: Sandbox, version: str, page_size: int) -> None:
    """Both versions and any page size work; pages bear account, backend and cursor."""
    account = connected(vendor)
    async with opened(vendor, version=version, page_size=page_size, name="agency") as lc:
        pages = await whole(lc, account)
    numbers = [number for page in pages for number in page.numbers]
    assert sorted(number.number for number in numbers) == sorted(vendor.truth["leadconnector", account])
    assert {number.account for number in numbers} == {account}
    assert {number.provider for number in numbers} == {"leadconnector"}
    assert {(page.provider, page.account) for page in pages} == {("agency", account)}
    assert len({page.cursor for page in pages}) == len(pages)
    assert pages[0].cursor is None
    assert pages[0].total == (None if version == "2021-07-28" else len(numbers))
    assert pages[0].is_under_ghl is True


async def test_pages_beyond_the_end_are_no_error(vendor: Sandbox) -> None:
    """Pages beyond the end are empty: the cost of speculation."""
    account = connected(vendor)
    async with opened(vendor, page_size=7) as lc:
        page = await lc.page(account, 99)
    assert (page.numbers, page.next, page.cursor) == ((), (), 99)


async def test_numbers_in_pools_are_there_unless_refused(vendor: Sandbox) -> None:
    """The vendor leaves them out by default; the backend asks for them by default."""
    account = connected(vendor)
    location = vendor.state.location(account)
    assert location is not None
    free = {n for n, pool in zip(location.numbers, location.pool_of, strict=True) if pool < 0}
    assert free < set(location.numbers)
    async with opened(vendor) as lc:
        assert {n.number for n in (await lc.page(account)).numbers} == set(location.numbers)
    async with opened(vendor, include_pooled=False) as lc:
        assert {n.number for n in (await lc.page(account)).numbers} == free


async def test_pools(vendor: Sandbox) -> None:
    """They are read whole, with the account that they belong to."""
    account = connected(vendor)
    async with opened(vendor) as lc:
        pools = await lc.pools(account)
    assert [pool.name for pool in pools] == ["Pool 1", "Pool 2"]
    assert {pool.account for pool in pools} == {account}
    assert any(pool.numbers for pool in pools)


async def test_pools_are_visible_on_numbers_when_asked_for(vendor: Sandbox) -> None:
    """Each number says which pool it sits in, on every page and in a search, for one more request."""
    account = connected(vendor)
    async with opened(vendor, with_pools=True, page_size=10) as lc:
        pages = await whole(lc, account)
        assert vendor.served["leadconnector.pools", 200] == 1
        pools = await lc.pools(account)
        holds = {number: pool for pool in pools for number in pool.numbers}
        pooled = next(iter(holds))
        (found,) = (await lc.search(account, pooled)).numbers
    numbers = [number for page in pages for number in page.numbers]
    assert {number.number: number.pool for number in numbers if number.pool} == holds
    assert any(number.pool is None for number in numbers)
    assert found.pool == holds[pooled]
    async with opened(vendor) as lc:
        assert all(number.pool is None for number in (await lc.page(account)).numbers)


async def test_pools_are_fetched_anew_with_each_first_page(vendor: Sandbox) -> None:
    """A second sweep sees what changed since the first."""
    account = connected(vendor)
    async with opened(vendor, with_pools=True) as lc:
        await lc.page(account)
        added = vendor.state.add(account, pool=1)
        page = await lc.page(account)
    (number,) = [number for number in page.numbers if number.number == added]
    assert number.pool is not None
    assert number.pool.name == "Pool 2"


async def test_pools_of_few_locations_are_remembered() -> None:
    """Pools are cached between two pages of one location, and not for the whole run."""
    async with Sandbox(locations=270, numbers=1, pools=1, enforce_limits=False) as vendor:
        async with opened(vendor, with_pools=True) as lc:
            for account in vendor.location_ids:
                await lc.page(account)
            assert len(lc._pools) == 256
            assert list(lc._pools) == list(vendor.location_ids[-256:])


async def test_a_location_without_phone_system(vendor: Sandbox) -> None:
    """It is PhoneSystemMissing, which is a NotFound, and keeps all facts of the answer."""
    (account,) = vendor.not_connected
    async with opened(vendor) as lc:
        for ask in (lc.page(account), lc.search(account, "+14155552671")):
            with pytest.raises(PhoneSystemMissing, match="not connected") as caught:
                await ask
            error = caught.value
            assert (error.status, error.account, error.operation) == (404, account, "active_numbers")
            assert (error.attempts, error.details["statusCode"]) == (1, 404)


async def test_other_404s_are_faults(vendor: Sandbox) -> None:
    """A wrong base URL must not look like a location without a phone system."""
    async with LeadConnector("pit-x", base_url=vendor.leadconnector_url + "/elsewhere") as lc:
        with pytest.raises(NotFound) as caught:
            await lc.page("loc_1")
    assert not isinstance(caught.value, PhoneSystemMissing)


async def test_credentials_for_each_location(vendor: Sandbox) -> None:
    """`PerAccount` signs each location with its own token, and names the locations."""
    first, second = [loc for loc in vendor.location_ids if loc not in vendor.not_connected][:2]
    auth = PerAccount({loc: vendor.location_token(loc) for loc in (first, second)})
    async with opened(vendor, auth=auth) as lc:
        assert [account async for account in lc.accounts()] == [first, second]
        for account in (first, second):
            page = await lc.page(account)
            assert {n.number for n in page.numbers} == vendor.truth["leadconnector", account]
        with pytest.raises(InvalidArgument, match="no credential for account 'loc_x'"):
            await lc.page("loc_x")
    async with opened(vendor, token=vendor.location_token(first)) as lc:
        with pytest.raises(Forbidden):
            await lc.page(second)
    async with LeadConnector("pit-wrong", base_url=vendor.leadconnector_url) as lc:
        with pytest.raises(Unauthorized):
            await lc.page(first)


async def test_accounts_must_come_from_somewhere(vendor: Sandbox) -> None:
    """A static token does not know its locations: that is said, with what to write instead."""
    async with opened(vendor) as lc:
        with pytest.raises(UsageError, match=r"LeadConnector\(locations=\[…\]\)"):
            await anext(lc.accounts())
    async with opened(vendor, locations=iter(["a", "b"])) as lc:
        assert [account async for account in lc.accounts()] == ["a", "b"]
        assert [account async for account in lc.accounts()] == ["a", "b"]
    async with opened(vendor, locations=[]) as lc:
        assert [account async for account in lc.accounts()] == []


async def test_search_asks_the_vendor(vendor: Sandbox) -> None:
    """The search uses `searchFilter`, whose plus is encoded; also through the facade."""
    account = connected(vendor)
    wanted = min(vendor.truth["leadconnector", account])
    async with opened(vendor) as lc:
        page = await lc.search(account, wanted)
    assert [number.number for number in page.numbers] == [wanted]
    assert f"searchFilter=%2B{wanted[1:]}&skipNumberPool=false" in vendor.requests[-1].path
    async with PhoneSystem(
        LeadConnector(vendor.leadconnector_token, base_url=vendor.leadconnector_url)
    ) as phones:
        found = await phones.find(wanted, leadconnector=vendor.location_ids)
    assert [(number.account, number.number) for number in found] == [(account, wanted)]


@pytest.mark.parametrize("number", ["415-555-2671", "", "+1 415 555 2671", "+1415555267\n"])
async def test_search_requires_e164_or_digits(vendor: Sandbox, number: str) -> None:
    """The error is raised before any request."""
    async with opened(vendor) as lc:
        with pytest.raises(InvalidArgument, match=r"E\.164 or digits"):
            await lc.search("loc_1", number)
    assert not vendor.requests


@pytest.mark.parametrize("cursor", [-1, "1", "", 1.0])
async def test_cursors_are_its_own(vendor: Sandbox, cursor: Any) -> None:
    """Anything else is refused before any request."""
    async with opened(vendor) as lc:
        with pytest.raises(InvalidArgument, match="number of a page, from 0"):
            await lc.page("loc_1", cursor)
    assert not vendor.requests


async def test_the_vendors_list_of_complaints_is_one_message(vendor: Sandbox) -> None:
    """An unknown location is a 400, in the vendor's words."""
    async with opened(vendor) as lc:
        with pytest.raises(BadRequest, match="Invalid locationId format") as caught:
            await lc.page("unknown")
    assert caught.value.status == 400


async def test_rcs_senders_are_asked_for_in_v3(vendor: Sandbox) -> None:
    """Senders are listed beside the numbers and are not counted as such."""
    account = connected(vendor)
    async with opened(vendor, version="v3", include_rcs_senders=True) as lc:
        page = await lc.page(account)
    assert "includeRcsSenderIds=true" in vendor.requests[-1].path
    assert {n.number for n in page.numbers} == vendor.truth["leadconnector", account]
    assert all(sender.number.startswith("rcs_") for sender in page.rcs_senders)


# On servers that answer what the sandbox does not.


@asynccontextmanager
async def server(*answers: dict[str, Any]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Answer the n-th request with the n-th of these."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request)
        return web.json_response(answers[len(requests) - 1])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as running:
        yield str(running.make_url("/")), requests


async def test_every_request_bears_the_headers() -> None:
    """The token, the version that was chosen, and what is accepted."""
    async with server({"numbers": [], "total": 0}) as (url, requests):
        async with LeadConnector("pit-1", base_url=url, version="v3") as lc:
            await lc.page("loc_1")
    (request,) = requests
    assert request.headers["Authorization"] == "Bearer pit-1"
    assert request.headers["Version"] == "v3"
    assert request.headers["Accept"] == "application/json, application/problem+json"
    assert request.method == "GET"


async def test_a_suspended_account() -> None:
    """The state of the account is set on each of its numbers."""
    body = {"numbers": [{"phoneNumber": "+14155552671"}], "accountStatus": "suspended", "isUnderGhl": False}
    async with server(body, {**body, "accountStatus": "active"}) as (url, _):
        async with LeadConnector("pit-1", base_url=url) as lc:
            suspended, active = await lc.page("loc_1"), await lc.page("loc_1")
    assert (suspended.account_status, suspended.is_under_ghl) == ("suspended", False)
    assert [(n.status, n.account_status) for n in suspended.numbers] == [
        (NumberStatus.SUSPENDED, "suspended")
    ]
    assert [(n.status, n.account_status) for n in active.numbers] == [(NumberStatus.ACTIVE, None)]


async def test_bad_rows_reach_the_page() -> None:
    """Unreadable rows are kept beside the good ones, and count towards a full page."""
    rows = [{"phoneNumber": "+14155552671"}, {"type": "local"}]
    async with server({"numbers": rows}) as (url, _):
        async with LeadConnector("pit-1", base_url=url, page_size=2, speculate=1) as lc:
            page = await lc.page("loc_1")
    assert [number.number for number in page.numbers] == ["+14155552671"]
    assert [rejected.raw for rejected in page.rejected] == [b'{"type": "local"}']
    assert page.next == (1,)


async def test_empty_pages_ask_for_no_pools() -> None:
    """An empty page needs no pools."""
    async with server({"numbers": [], "total": 0}) as (url, requests):
        async with LeadConnector("pit-1", base_url=url, with_pools=True, http=HttpOptions(retries=0)) as lc:
            assert not (await lc.page("loc_1")).numbers
    assert len(requests) == 1


async def test_a_misspelt_keyword_of_a_purchase_is_told_and_nothing_is_bought(sandbox: Sandbox) -> None:
    """It would be sent as a field that the vendor ignores. The vendor's own names have no underscore."""
    async with LeadConnector.from_sandbox(sandbox) as lc:
        account = sandbox.location_ids[0]
        with pytest.raises(InvalidArgument, match="did you mean 'country_code'"):
            await lc.purchase(account, phone_number="+14155552671", contry_code="US")
    assert not [one for one in sandbox.requests if one.method == "POST"]


async def test_numbers_for_sale_have_a_common_form(sandbox: Sandbox) -> None:
    """Of a location, of a country, with their price; a location must be named."""
    async with LeadConnector.from_sandbox(sandbox) as lc:
        found = await lc.for_sale(account=sandbox.location_ids[0], country="US")
        assert found
        assert {(one.account, one.country) for one in found} == {(sandbox.location_ids[0], "US")}
        assert all(one.number.startswith("+1") for one in found)
        with pytest.raises(UsageError, match="expected account="):
            await lc.for_sale()
