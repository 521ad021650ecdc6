"""Clocks that are set or stand still: tokens, quotas, resumed sweeps, watches, and machines that sleep."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from phonesys import Outcome, PhoneSystem, QuotaExhausted
from phonesys.http.ratelimit import quota
from phonesys.http.ratelimit.quota import DailyQuotas
from phonesys.inventory import Inventory
from phonesys.oauth import FileTokenStore
from phonesys.sandbox import Sandbox
from tests.http.test_http_ratelimit_quota import At
from tests.inventory.test_inventory_watch import watched
from tests.oauth.agencies import Clock, agency, backend, exchanges, refreshes, store_of
from tests.sweep.memory import number, simple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[[Any], Any]

HOUR, DAY = 3600.0, 86_400.0
JUMPS = [-3 * DAY, -HOUR, -2.0, 2.0, HOUR, 3 * DAY]


@pytest.mark.parametrize("jump", JUMPS)
async def test_tokens_survive_a_jump(jump: float, sandbox: Sandbox, tmp_path: Path) -> None:
    """Calls go on, with one renewal of each token at most. Tokens that the vendor ended are renewed."""
    clock = Clock()
    store = await store_of(sandbox, FileTokenStore(tmp_path / "tokens.json", clock=clock))
    here = sandbox.location_ids[0]
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        await lc.page(here)
        clock.now += jump
        for _ in range(5):
            await lc.page(here)
        assert (exchanges(sandbox), refreshes(sandbox)) in {(1, 0), (2, 1)}
        sandbox.oauth.expire()
        await lc.page(here)
    again = FileTokenStore(tmp_path / "tokens.json", clock=clock)
    async with backend(sandbox, agency(sandbox, again, clock=clock)) as lc:
        await lc.page(here)
    assert (exchanges(sandbox), refreshes(sandbox)) in {(2, 1), (3, 2)}
    assert sandbox.oauth.refused == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_quota_survives_a_jump(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back blocks no account for longer than the vendor said."""
    monotonic = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    monkeypatch.setattr(quota, "datetime", At)
    At.moment = datetime(2026, 3, 4, 12, tzinfo=UTC)
    quotas = DailyQuotas()
    quotas.exhaust("a", 2 * HOUR)
    At.moment += timedelta(seconds=jump)
    if jump < 2 * HOUR:
        with pytest.raises(QuotaExhausted):
            quotas.check("a")
    monotonic += 2 * HOUR
    quotas.check("a")
    assert not quotas.prune()


def test_a_quota_ends_while_a_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its monotonic clock stood still meanwhile."""
    monkeypatch.setattr(quota, "datetime", At)
    At.moment = datetime(2026, 3, 4, 12, tzinfo=UTC)
    quotas = DailyQuotas()
    quotas.exhaust("a")
    At.moment += timedelta(hours=13)
    assert not quotas.prune()


@pytest.mark.parametrize(
    ("jump", "resumed"), [(-3 * DAY, 0), (-HOUR, 2), (-2.0, 2), (2.0, 2), (HOUR, 2), (3 * DAY, 0)]
)
async def test_an_interrupted_sweep_and_a_jump(jump: float, resumed: int, tmp_path: Path) -> None:
    """It is resumed unless it may be older than a day. Either way the snapshot is complete."""
    from phonesys.inventory.store.schema import sweeps

    async with PhoneSystem(simple(6)) as phones, Inventory(tmp_path / "s.db") as inventory:
        async with inventory.sweep(phones, concurrency=1) as sweep:
            async for _ in sweep:
                if sweep.report.numbers >= 3:  # two accounts are stored whole by then
                    break
        began = datetime.now(UTC) - timedelta(seconds=jump)
        async with inventory._database.writing() as connection:
            await connection.execute(update(sweeps).values(started_at=began))
        async with inventory.sweep(phones) as again:
            async for _ in again:
                pass
        assert (again.resumed > 0) == (resumed > 0)
        (snapshot,) = await inventory.snapshots()
        assert snapshot.complete
        assert len([one async for one in snapshot.records()]) == 6


@pytest.mark.parametrize("jump", JUMPS)
def test_a_watch_does_not_look_at_the_clock(
    jump: float, jumping: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sweeps after its interval, and finds each change once."""
    told = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(told) * jump)
    found = watched(jumping, [{"a": [(number(1),)]}, {"a": [(number(1), number(2))]}])
    assert [change[0] for change in found] == ["added"]


def test_a_machine_that_sleeps_in_the_middle_of_a_sweep(jumping: Run) -> None:
    """Requests that were in flight end by their deadlines, and the report names them. Nothing hangs."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with (
            Sandbox(locations=40, not_connected=0, leadping=0, agents=0, latency=0.1) as sandbox,
            backend(sandbox, None, token=sandbox.leadconnector_token) as lc,
            PhoneSystem(lc) as phones,
        ):
            async with phones.sweep(leadconnector=sandbox.location_ids, concurrency=4) as sweep:
                async for _ in sweep:
                    if sweep.report.pages == 10:
                        loop.now += 8 * HOUR
            outcomes = [account.outcome for account in sweep.report.accounts.values()]
            assert len(outcomes) == 40
            assert outcomes.count(Outcome.FAILED) <= 4
            async with phones.sweep(leadconnector=sandbox.location_ids) as again:
                async for _ in again:
                    pass
            assert again.report.complete

    jumping(main())
