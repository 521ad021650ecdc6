"""Rows that move while an account is read are noticed."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from phonesys import Outcome
from phonesys.sandbox import faults
from tests.chaos.moving import Direction, Tally, Vendor, Where, survey
from tests.conftest import JumpingLoop


def surveyed(
    vendor: Vendor,
    direction: Direction,
    where: Where = "anywhere",
    *,
    verify: bool = True,
    rate: float = 0.5,
    once: bool = False,
) -> Tally:
    rule = faults.MovingRows(direction=direction, where=where, rate=rate)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(survey(vendor, rule, verify=verify, rounds=1, once=once))


@pytest.mark.parametrize("direction", get_args(Direction))
@pytest.mark.parametrize("vendor", get_args(Vendor))
def test_no_account_is_done_and_short(vendor: Vendor, direction: Direction) -> None:
    """With a total or without one, and whether rows come, go, or do both."""
    tally = surveyed(vendor, direction)
    assert tally.accounts > 5
    assert tally.short == 0


@pytest.mark.parametrize("direction", get_args(Direction))
@pytest.mark.parametrize("vendor", get_args(Vendor))
def test_one_move_fails_no_account(vendor: Vendor, direction: Direction) -> None:
    """An account that changes once while it is read is read again, and found whole."""
    tally = surveyed(vendor, direction, rate=1.0, once=True)
    assert tally.accounts > 5
    assert (tally.short, tally.outcomes[Outcome.DONE]) == (0, tally.accounts)


@pytest.mark.parametrize("vendor", sorted(set(get_args(Vendor)) - {"leadping"}))
def test_without_verification_numbers_are_missed(vendor: Vendor) -> None:
    """`verify=False` accepts pages as they come, and then rows are missed."""
    assert surveyed(vendor, "earlier", verify=False, rate=1.0).short > 0


def test_a_token_skips_nothing() -> None:
    """Leadping's pages continue where the last one ended, so that no move costs a number."""
    for direction in get_args(Direction):
        tally = surveyed("leadping", direction, verify=False, rate=1.0)
        assert (tally.short, tally.outcomes[Outcome.DONE]) == (0, tally.accounts)
