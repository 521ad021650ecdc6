"""The short version of `python -m tests.chaos.writes`, and proof that it would notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys import Reconciled, WriteOutcome
from phonesys.backends.reconcile import OutcomeEvaluator
from tests.chaos.writes import write_more

if TYPE_CHECKING:
    import pytest

WRITES = 250


def test_no_write_is_carried_out_twice_and_lost_answers_are_cleared_up() -> None:
    """Under every kind of fault at once, with others who write to the same numbers."""
    tally = write_more(3 * WRITES, seed=3)  # enough lost ones of each operation, in any order of events
    assert tally.broken == []
    for operation in ("create", "assign", "update", "delete"):
        assert {how for what, how in tally.ended if what == operation} == {"done", "refused", "lost"}
        assert "done" in {how for what, how in tally.said if what == operation}
    assert {how for _, how in tally.said} >= {"done", "not_done"}
    assert tally.repeated
    assert tally.rivals


def test_a_client_that_repeats_writes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that takes any passing trouble for a reason to try again."""

    def is_retryable(error: Any, **_: Any) -> bool:
        return bool(error.transient)

    monkeypatch.setattr("phonesys.http.client.is_retryable", is_retryable)
    tally = write_more(WRITES, seed=3)
    assert any("more than once" in breach or "2 times" in breach for breach in tally.broken)


def test_a_guess_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that takes whatever is there for the write's own."""

    def guess(_: OutcomeEvaluator, candidates: Any, **__: Any) -> Reconciled[Any]:
        number = candidates[0].number if candidates else None
        return Reconciled(outcome=WriteOutcome.DONE if number else WriteOutcome.NOT_DONE, number=number)

    monkeypatch.setattr(OutcomeEvaluator, "evaluate_created", guess)
    tally = write_more(WRITES, seed=3)
    assert any("is said to be" in breach for breach in tally.broken)
