from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import LeadConnector, Outcome, PhoneSystem, RateLimit, UsageError
from phonesys.sandbox import FaultPlan, Sandbox, faults, status
from tests.oauth.agencies import agency, backend, exchanges, refreshes, store_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.sandbox.log import Counts

REQUESTS, SECONDS = 100, 10.0


def too_many_requests(served: Counts) -> int:
    return sum(count for (_, code), count in served.items() if code == 429)


async def swept(phones: PhoneSystem) -> tuple[float, Any]:
    async with phones.sweep() as sweep:
        numbers = {(page.account, number.number) async for page in sweep for number in page.numbers}
    return sweep.report.elapsed, (sweep.report, numbers)


@pytest.mark.parametrize("locations", [600, pytest.param(2000, marks=pytest.mark.long)])
def test_a_cold_sweep_takes_as_long_as_the_window_allows(
    jumping: Callable[[Any], Any], locations: int
) -> None:
    """A cold sweep at 100 exchanges per 10 s takes at most 1.1 times the window's minimum.

    No request gets a 429. A warm sweep fetches no token, and takes less than one window.
    """

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        async with Sandbox(locations=locations, numbers=(0, 3), clock=clock, latency=0.05) as sandbox:
            auth = agency(sandbox, await store_of(sandbox, expired=True))
            lc = backend(sandbox, auth, limit=RateLimit(REQUESTS, per=SECONDS))
            async with PhoneSystem(lc) as phones:
                elapsed, (report, numbers) = await swept(phones)
                assert report.outcomes[Outcome.DONE] + report.outcomes[Outcome.EMPTY] == locations
                assert numbers == {
                    (location, number)
                    for location in sandbox.location_ids
                    for number in sandbox.truth["leadconnector", location]
                }
                # All calls in the company's window. The first window costs no time.
                paid = exchanges(sandbox) + sandbox.served["leadconnector.installed", 200]
                allowed = ((paid - 1) // REQUESTS) * SECONDS
                assert allowed <= elapsed <= 1.1 * allowed
                assert (refreshes(sandbox), exchanges(sandbox)) == (1, locations)
                warm, _ = await swept(phones)
                assert warm < SECONDS
            assert (refreshes(sandbox), exchanges(sandbox)) == (1, locations)
            assert too_many_requests(sandbox.served) == 0

    jumping(main())


@pytest.mark.parametrize("locations", [300, pytest.param(5000, marks=pytest.mark.long)])
def test_the_sweep_of_another_day_costs_no_exchange(jumping: Callable[[Any], Any], locations: int) -> None:
    """Location tokens that came with a refresh token are refreshed, outside the company's window."""

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        async with Sandbox(locations=locations, numbers=(0, 3), clock=clock, latency=0.05) as sandbox:
            sandbox.oauth.location_refresh = True
            auth = agency(sandbox, await store_of(sandbox), clock=clock)
            async with PhoneSystem(backend(sandbox, auth, limit=RateLimit(REQUESTS, per=SECONDS))) as phones:
                await swept(phones)
                for day in (1, 2):
                    await asyncio.sleep(86_400)  # on a simulated clock
                    elapsed, (report, _) = await swept(phones)
                    assert report.complete
                    assert elapsed < 0.5 * (locations // REQUESTS) * SECONDS
                    assert {sandbox.oauth.refreshes[here] for here in sandbox.location_ids} == {day}
            assert exchanges(sandbox) == locations
            assert too_many_requests(sandbox.served) == 0

    jumping(main())


@pytest.mark.long
async def test_a_cold_sweep_by_the_real_clock() -> None:
    """The same holds in real time with a window of 1 s: 2 000 locations take 20 s."""
    async with Sandbox(locations=2000, numbers=(0, 3), leadconnector_limit=(100, 1.0)) as sandbox:
        auth = agency(sandbox, await store_of(sandbox, expired=True))
        lc = backend(sandbox, auth, limit=RateLimit(100, per=1.0))
        async with PhoneSystem(lc) as phones:
            elapsed, _ = await swept(phones)
            warm, _ = await swept(phones)
        paid = exchanges(sandbox) + sandbox.served["leadconnector.installed", 200]
        allowed = ((paid - 1) // 100) * 1.0
        print(  # noqa: T201
            f"cold {elapsed:.2f} s, allowed {allowed:.2f} s, ratio {elapsed / allowed:.3f}, warm {warm:.2f} s"
        )
        assert elapsed <= 1.1 * allowed
        assert (exchanges(sandbox), too_many_requests(sandbox.served)) == (2000, 0)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1834])
async def test_the_agency_lists_where_the_app_is_installed(count: int) -> None:
    """Every installed location is listed once, and no other, for any remainder of the page size."""
    async with Sandbox(locations=count, numbers=0, enforce_limits=False) as sandbox:
        sandbox.oauth.uninstalled |= set(sandbox.location_ids[::7])
        async with backend(sandbox, agency(sandbox, await store_of(sandbox))) as lc:
            found = [account async for account in lc.accounts()]
        assert found == [id_ for id_ in sandbox.location_ids if id_ not in sandbox.oauth.uninstalled]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 834])
async def test_a_token_of_the_agency_searches_for_its_locations(count: int) -> None:
    """Without an app, `/locations/search` is read until a page is short, since it has no total."""
    async with Sandbox(locations=count, numbers=0, enforce_limits=False) as sandbox:
        lc = LeadConnector(
            sandbox.leadconnector_token,
            company_id=sandbox.oauth.company_id,
            base_url=sandbox.leadconnector_url,
            limit=None,
        )
        async with lc:
            assert [account async for account in lc.accounts()] == list(sandbox.location_ids)


async def test_a_vendor_that_pages_smaller_than_asked_is_followed(sandbox: Sandbox) -> None:
    """The page size is the number of rows the vendor returns, not the number requested."""
    rows = [{"_id": f"loc_{n}"} for n in range(10)]

    async def three_at_most(exchange: Any, /) -> Any:
        skip = int(exchange.request.query["skip"])
        response = {"locations": rows[skip : skip + 3], "count": len(rows)}
        return await status(200, response)(exchange)

    sandbox.script("leadconnector.installed", three_at_most, repeat=True)
    async with backend(sandbox, agency(sandbox, await store_of(sandbox))) as lc:
        assert [account async for account in lc.accounts()] == [row["_id"] for row in rows]


@pytest.mark.jumping
@pytest.mark.parametrize("count", [100, 101, 350])
async def test_a_location_without_an_id_is_reported(count: int) -> None:
    """Locations with an id are swept, and the report counts those without one."""
    async with Sandbox(
        locations=count, numbers=1, enforce_limits=False, faults=FaultPlan((faults.MissingFields(share=0.1),))
    ) as sandbox:
        async with PhoneSystem(backend(sandbox, agency(sandbox, await store_of(sandbox)))) as phones:
            _, (report, numbers) = await swept(phones)
    (failure,) = report.failures
    assert failure.account is None
    assert str(failure.error).endswith("of the locations have no id")
    assert 0 < len(numbers) == report.outcomes[Outcome.DONE] <= count
    assert not report.complete


async def test_given_locations_are_not_discovered(sandbox: Sandbox) -> None:
    """`locations=` replaces the discovery."""
    auth = agency(sandbox, await store_of(sandbox))
    async with backend(sandbox, auth, locations=["a", "b"]) as lc:
        assert [account async for account in lc.accounts()] == ["a", "b"]
    assert not sandbox.requests


async def test_a_static_token_alone_lists_nothing(sandbox: Sandbox) -> None:
    """Without locations or a company, the error names the missing options."""
    async with LeadConnector("pit-1", base_url=sandbox.leadconnector_url) as lc:
        with pytest.raises(UsageError, match="does not know its locations"):
            _ = [account async for account in lc.accounts()]


async def test_an_unreadable_list_is_the_sweeps_failure(sandbox: Sandbox) -> None:
    """The listing's error is in the report, without an account."""
    sandbox.script("leadconnector.installed", status(403, {"message": "no scope"}))
    async with PhoneSystem(backend(sandbox, agency(sandbox, await store_of(sandbox)))) as phones:
        _, (report, _) = await swept(phones)
    assert [(failure.account, "no scope" in str(failure.error)) for failure in report.failures] == [
        (None, True)
    ]


def test_a_sweep_that_is_left_early_stops_fetching_tokens(jumping: Callable[[Any], Any]) -> None:
    """No exchange is made after the sweep is over."""

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        async with Sandbox(locations=500, clock=clock) as sandbox:
            auth = agency(sandbox, await store_of(sandbox))
            lc = backend(sandbox, auth, limit=RateLimit(REQUESTS, per=SECONDS))
            async with PhoneSystem(lc) as phones:
                async with phones.sweep() as sweep:
                    async for _ in sweep:
                        break
                made = exchanges(sandbox)
                await asyncio.sleep(60)  # on a simulated clock
                assert exchanges(sandbox) == made < 200
                assert not [task for task in asyncio.all_tasks() if "phonesys" in task.get_name()]

    jumping(main())
