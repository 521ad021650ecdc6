"""A short version of `python -m tests.chaos.deadline`, and that it tells what is late."""

from __future__ import annotations

import pytest

from tests.chaos.deadline import Punctuality, Timing, cases, punctual

# One of each kind of end, and of each kind of stall: the long version pairs them all.
_CHOSEN = {
    ("a dripping body", "of the call"),
    ("100 Continue", "of the call"),
    ("429, in a moment", "of the call"),
    ("429, in an hour", "of the call"),
    ("half a chunk", "of an attempt"),
    ("half a head", "of the silence"),
    ("no accept", "of the connection"),
    ("dripping TLS", "of an attempt"),
    ("503 for ever", "of both"),
    ("silence", "of a wait for a place"),
    ("a dripping head", "of a sweep"),
    ("silence", "of a refresh"),
}


async def test_ends_come_when_they_are_promised() -> None:
    """To within 100 ms, whatever the vendor does with the time."""
    chosen = [case for case in cases() if case[:2] in _CHOSEN]
    assert len(chosen) == len(_CHOSEN)
    tally = await punctual(1, 1, chosen)
    assert tally.tried.total() == len(chosen)
    assert not tally.broken, str(tally)


@pytest.mark.parametrize(
    ("timing", "lag", "said"),
    [
        (Timing(took=0.61, most=0.5), 0.0, "late"),
        (Timing(took=0.61, most=0.5), 0.02, ""),
        (Timing(took=0.4, most=0.5, least=0.5), 0.0, "instead of 0.500 s"),
        (Timing(took=0.4, most=0.5), 0.0, ""),
        (Timing(took=0.5, most=0.5, failed="it does not end"), 0.0, "it does not end"),
    ],
)
def test_what_is_late_or_early_is_told(timing: Timing, lag: float, said: str) -> None:
    """By more than 100 ms and what the loop itself was late; an attempt may not give up early either."""
    tally = Punctuality()
    tally.note("a vendor", "a deadline", timing, lag)
    assert bool(tally.broken) == bool(said)
    assert said in str(tally)
