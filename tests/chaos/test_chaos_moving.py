"""What is noticed of rows that move while an account is read, and what cannot be."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from phonesys import Outcome
from phonesys.sandbox import faults
from tests.chaos.moving import COUNTED, Direction, Tally, Vendor, Where, survey
from tests.conftest import JumpingLoop


def surveyed(
    vendor: Vendor, direction: Direction, where: Where = "anywhere", *, verify: bool = True, rate: float = 0.5
) -> Tally:
    rule = faults.MovingRows(direction=direction, where=where, rate=rate)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(survey(vendor, rule, verify=verify, rounds=1))


@pytest.mark.parametrize("direction", ["later", "earlier"])
@pytest.mark.parametrize("vendor", sorted(COUNTED))
def test_a_total_tells_of_rows_that_come_or_go(vendor: Vendor, direction: Direction) -> None:
    """Where the vendor counts and all rows move one way, no account is done without a number that stayed."""
    tally = surveyed(vendor, direction)
    assert tally.accounts > 5
    assert tally.short == 0


@pytest.mark.parametrize("vendor", sorted(set(get_args(Vendor)) - {"leadping"}))
def test_without_a_second_look_numbers_are_missed(vendor: Vendor) -> None:
    """`verify=False` takes pages as they come: what the others are protected from does happen."""
    assert surveyed(vendor, "earlier", verify=False, rate=1.0).short > 0


def test_a_token_skips_nothing() -> None:
    """Leadping's pages continue where the last one ended, so that neither way of moving costs a number."""
    for direction in get_args(Direction):
        tally = surveyed("leadping", direction, verify=False, rate=1.0)
        assert (tally.short, tally.outcomes[Outcome.DONE]) == (0, tally.accounts)
