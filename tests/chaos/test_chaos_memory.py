"""A short version of `python -m tests.chaos.memory`, and that it tells what grows."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.memory import Compared, Job, Sample, Soak, Used, compared, soak


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is not known there")
async def test_ten_times_the_accounts_take_no_more_memory() -> None:
    """To within a tenth, the report of all accounts included."""
    found = await compared((300, 3_000), [(False, True, True)])
    assert len(found.rows) == 1
    assert not found.broken, str(found)


async def test_a_soak_is_sampled() -> None:
    """Three backends, OAuth and faults: sweeps go on, and little of them fails."""
    found = await soak(0.5, every=0.0)
    assert found.samples[0].resident > 10_000
    assert found.samples[-1].sweeps == len(found.samples)
    assert found.accounts == 62 * len(found.samples)
    assert found.failures < found.accounts / 10


def test_growth_is_told() -> None:
    """Of a sweep with its accounts, and of memory or open files with the time."""
    both = Compared()
    job = Job(url="", locations=0)
    both.note(job, (10, 100), Used(40_000, 50_000, 1.0, 80), Used(40_000, 56_000, 1.0, 800))
    assert "1.120 times" in both.broken[0]
    both.note(job, (10, 100), Used(40_000, 50_000, 1.0, 80), Used(40_000, 50_000, 1.0, 799))
    assert "799 numbers" in both.broken[1]
    flat = [Sample(float(n), 50_000 + n % 7, 40, n) for n in range(60)]
    assert Soak(flat).broken == []
    assert Soak([Sample(s.seconds, s.resident + s.sweeps * 100, 40, 0) for s in flat]).broken == [
        "memory grows"
    ]
    assert Soak([Sample(s.seconds, 50_000, 40 + s.sweeps // 5, 0) for s in flat]).broken == [
        "open files grow"
    ]
