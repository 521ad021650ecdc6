"""Short versions of the long check: on the clock that jumps, and once in real time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.http.ratelimit import window as limits
from tests.chaos.limits import Broken, Terms, alone, blocked, shared, spent

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Any], Any]

TERMS = Terms(16, 10.0, jitter=0.1)


@pytest.mark.parametrize("terms", [TERMS, pytest.param(Terms(30, 60.0, jitter=0.3), marks=pytest.mark.long)])
def test_sweeps_that_share_a_window_use_it_without_a_429(jumping: Run, terms: Terms) -> None:
    """Three sweeps and single calls through one provider: 97 % of what is allowed or more, and no 429."""
    result = jumping(alone(terms, 12, sweeps=3, seed=7))
    assert result.requests >= 12 * terms.requests


async def test_so_it_is_in_real_time() -> None:
    """The same on the system's own clock, where sockets and timers are late by themselves."""
    # How much of such short windows is used depends on what else the machine does.
    result = await alone(Terms(40, 0.5, jitter=0.002), 4, sweeps=2, least_used=0.5)
    assert result.refused == 0


@pytest.mark.parametrize(
    "told",
    [
        {"headers": True},
        pytest.param({"retry_after": "whole"}, marks=pytest.mark.long),
        pytest.param({"retry_after": "none"}, marks=pytest.mark.long),
    ],
)
def test_programs_that_share_a_window_give_way(jumping: Run, told: dict[str, Any]) -> None:
    """All read everything; the 429s of the first windows become few, whatever the vendor tells."""
    result = jumping(shared(replace(TERMS, **told), 16, processes=3))
    assert sum(result.refused) > 0


def test_the_check_sees_programs_that_do_not_give_way(jumping: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With windows that learn nothing from a 429 the claim is broken."""

    def deaf(_window: limits.SlidingWindow, _now: float, _wait: float | None) -> None:
        pass

    monkeypatch.setattr(limits.SlidingWindow, "on_rejected", deaf)
    with pytest.raises(Broken, match=r"become few|did not read everything"):
        jumping(shared(replace(TERMS, retry_after="exact"), 10, processes=3))


@pytest.mark.parametrize("block", [300.0, pytest.param(120.0, marks=pytest.mark.long)])
def test_a_blocked_account_slows_no_other(jumping: Run, block: float) -> None:
    """One is refused for minutes: the others take as long as without it, and it is read or says why not."""
    jumping(blocked(Terms(5, 10.0, jitter=0.05), others=8, block=block))


def test_a_spent_day_stops_its_account_only(jumping: Run) -> None:
    """The error says until when, the next sweep sends nothing for it either, and the others go on."""
    jumping(spent(Terms(8, 10.0, jitter=0.05), others=8))
