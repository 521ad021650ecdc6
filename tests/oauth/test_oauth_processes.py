from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from phonesys.oauth import FileTokenStore
from phonesys.sandbox import Sandbox, delay
from tests.oauth.agencies import Clock, company_key, exchanges, refreshes, token
from tests.oauth.crash import IN_FLIGHT, READ, Scene, begin, crashes, letters

if TYPE_CHECKING:
    from pathlib import Path


async def test_two_processes_that_share_a_file_refresh_once(tmp_path: Path) -> None:
    """Two processes with 200 calls each on an expired token refresh it once, and every call succeeds."""
    async with Sandbox(locations=5, numbers=2, enforce_limits=False) as sandbox:
        scene = Scene(sandbox, tmp_path)
        await scene.authorise()
        sandbox.script("leadconnector.token", delay(0.1))  # both are there before it ends
        children = await asyncio.gather(scene.child(calls=200), scene.child(calls=200))
        for child in children:
            begin(child)
        said = await asyncio.gather(*map(letters, children))
        assert [text[-1] for text in said] == ["D", "D"]
        assert sandbox.served["leadconnector.numbers", 200] == 400
        assert (refreshes(sandbox), sandbox.oauth.refused) == (1, 0)


async def cold_start(processes: int, folder: Path) -> None:
    """Start processes that need the token of one location at the same time; expect one exchange."""
    async with Sandbox(locations=5, numbers=2, enforce_limits=False) as sandbox:
        scene = Scene(sandbox, folder)
        await FileTokenStore(scene.store).save(
            company_key(sandbox), token(sandbox.oauth.grant_company(), clock=Clock(time.time()))
        )
        sandbox.script("leadconnector.location_token", delay(0.1))  # all are there before it ends
        children = await asyncio.gather(*(scene.child(locations=1) for _ in range(processes)))
        for child in children:
            begin(child)
        said = await asyncio.gather(*map(letters, children))
        assert [text[-1] for text in said] == ["D"] * processes
        assert sandbox.served["leadconnector.numbers", 200] == processes
        assert exchanges(sandbox) == 1


async def test_cold_processes_exchange_a_locations_token_once(tmp_path: Path) -> None:
    """Four processes without a location's token wait for the exchange of the first of them."""
    await cold_start(4, tmp_path)


@pytest.mark.long
async def test_twenty_cold_processes_exchange_a_locations_token_once(tmp_path: Path) -> None:
    """The same holds for twenty."""
    await cold_start(20, tmp_path)


# A quarter of a millisecond passes between reading a response and staging it.
UNAVOIDABLE = {IN_FLIGHT, READ}


async def test_a_killed_process_loses_only_a_response_in_transit() -> None:
    """A token that a killed process had staged is used by the next process."""
    tally = await crashes(8, warm_ups=1)
    assert tally.killed.total() == 8
    assert set(tally.lost) <= UNAVOIDABLE


@pytest.mark.long
async def test_two_hundred_killed_processes_lose_no_staged_token() -> None:
    """The same holds at 200 moments."""
    tally = await crashes(200)
    print(tally)  # noqa: T201
    assert set(tally.lost) <= UNAVOIDABLE


@pytest.mark.long
async def test_a_vendor_that_repeats_its_response_loses_nothing() -> None:
    """If the vendor repeats its last response, not even a response in transit is lost."""
    tally = await crashes(200, grace=30.0)
    print(tally)  # noqa: T201
    assert not tally.lost
