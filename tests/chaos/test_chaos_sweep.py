"""Short versions of the long check: a few seeds, and that the check itself sees what is wrong."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pytest

from phonesys import Outcome
from phonesys.sandbox.faults import KINDS
from tests.chaos.claims import Evidence, Found, breaches
from tests.chaos.promises import HARMLESS, MOVING, plan_of, promised
from tests.chaos.sweep import STILL, Options, Scene, run, witness
from tests.conftest import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.sandbox.state import Account


def test_an_account_that_is_done_was_read_whole() -> None:
    """A fifth of all requests meets one of all kinds of faults, and every claim holds."""
    tally = run(range(1, 6), Options(locations=24))
    assert tally.broken == []
    assert 0.15 < tally.share_met() < 0.25
    assert tally.share_read("leadconnector") > 0.6


def test_rows_that_move_are_noticed() -> None:
    """With numbers that come and go beside everything else, what a total can tell is told."""
    tally = run(range(3, 9), Options(locations=20, kinds=("moving-rows", "reset", "html"), rate=0.3))
    assert tally.broken == []
    assert tally.moved > 10


def test_what_passes_costs_no_account() -> None:
    """With retries enough, no account fails for what passes, or for what is merely strange."""
    tally = run([5, 6, 7], Options(locations=15, kinds=tuple(HARMLESS)))
    assert tally.broken == []
    assert tally.share_read() == 1.0
    assert tally.share_met() > 0.15


def test_every_kind_has_a_promise() -> None:
    """None is left out of the table, nor of the plans: the ones that move rows have a plan of their own."""
    assert promised() == KINDS.keys()
    assert {*STILL, *MOVING} == KINDS.keys()


def test_a_seed_is_the_same_plan_every_time() -> None:
    """A seed that found something can be run again."""
    options = Options()
    scenes = [Scene.of(seed, options) for seed in range(20)]
    assert scenes == [Scene.of(seed, options) for seed in range(20)]
    assert len({scene.plan for scene in scenes}) == 20


def test_a_plan_meets_the_share_that_it_was_made_for() -> None:
    """Each kind has the same part in it, however many rules it has."""
    plan = plan_of(random.Random(1), KINDS, 0.2)
    missed = 1.0
    for rule in plan.faults:
        missed *= 1 - rule.rate
    assert missed == pytest.approx(0.8)


# That the check sees what is wrong


@cache
def quiet() -> Evidence:
    """A sweep in which nothing went wrong."""
    options = Options(locations=8, kinds=(), rate=0.0)
    scene = replace(Scene.of(2, options), not_connected=1, oauth="")
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(witness(scene, options))


def somebody(evidence: Evidence) -> Account:
    return max(account for account in evidence.found if evidence.found[account].numbers)


def a_number_more(evidence: Evidence, account: Account) -> Evidence:
    more = {account: evidence.before[account] | {"+15005550006"}}
    return replace(evidence, before={**evidence.before, **more}, after={**evidence.after, **more})


def a_number_less(evidence: Evidence, account: Account) -> Evidence:
    less = {account: evidence.before[account] - {evidence.found[account].numbers[0]}}
    return replace(evidence, before={**evidence.before, **less}, after={**evidence.after, **less})


def a_page_twice(evidence: Evidence, account: Account) -> Evidence:
    found = evidence.found[account]
    twice = Found(found.numbers * 2, found.ids * 2, found.rejected, found.pages)
    return replace(evidence, found={**evidence.found, account: twice})


def another_account(evidence: Evidence, account: Account) -> Evidence:
    return replace(evidence, asked=evidence.asked | {("leadconnector", "elsewhere")})


def no_such_account(evidence: Evidence, account: Account) -> Evidence:
    return replace(evidence, asked=evidence.asked - {account})


def failed_for_nothing(evidence: Evidence, account: Account) -> Evidence:
    result = evidence.report.accounts[account]
    accounts = {**evidence.report.accounts, account: msgspec.structs.replace(result, outcome=Outcome.FAILED)}
    return replace(evidence, report=replace(evidence.report, accounts=accounts))


def taken_for_empty(evidence: Evidence, account: Account) -> Evidence:
    result = evidence.report.accounts[account]
    accounts = {**evidence.report.accounts, account: msgspec.structs.replace(result, outcome=Outcome.EMPTY)}
    return replace(evidence, report=replace(evidence.report, accounts=accounts))


def not_connected_after_all(evidence: Evidence, account: Account) -> Evidence:
    return replace(evidence, not_connected=frozenset({account[1]}))


def null_for_an_answer(evidence: Evidence, account: Account) -> Evidence:
    served = [replace(one, fault="null") for one in evidence.history[account]]
    return replace(evidence, history={**evidence.history, account: served})


WRONG: list[tuple[Callable[[Evidence, Account], Evidence], str]] = [
    (a_number_more, "1 of "),
    (a_number_less, "1 numbers are not its own"),
    (a_page_twice, "ids came twice"),
    (a_page_twice, "numbers came twice"),
    (another_account, "missing from the report"),
    (no_such_account, "there is no such account"),
    (failed_for_nothing, "its error is None"),
    (failed_for_nothing, "the counts by outcome"),
    (taken_for_empty, "(numbers, rejected) are"),
    (not_connected_after_all, "it has no phone system"),
    (null_for_an_answer, "null was taken for an answer"),
]


def test_a_quiet_sweep_breaks_no_claim() -> None:
    """A breach is found because it is one, and a good sweep has none."""
    assert list(breaches(quiet())) == []
    assert Counter(result.outcome for result in quiet().report.accounts.values())[Outcome.NOT_CONNECTED] == 1


@pytest.mark.parametrize(("spoil", "breach"), WRONG)
def test_the_check_sees_what_is_wrong(spoil: Callable[[Evidence, Account], Evidence], breach: str) -> None:
    """Each claim can be broken, and the message names whose it is."""
    spoilt = spoil(quiet(), somebody(quiet()))
    assert any(breach in found for found in breaches(spoilt))
