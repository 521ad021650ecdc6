"""The long check of alerts sees what is wrong. Its short version is a test of `phonesys watch`."""

from __future__ import annotations

import pytest

from tests.chaos.alerts import Tally

DOUBT = "An earlier message with 2 items may not have arrived, because the program was killed."


@pytest.mark.parametrize(
    ("bodies", "broken"),
    [
        (["added +1 in x\nadded +2 in x", "added +3 in x"], ""),
        (["added +1 in x", "added +2 in x\nadded +3 in x\nadded +1 in x"], "1 numbers were sent twice"),
        (["added +1 in x"], "2 numbers were not sent, and only 0 are in doubt"),
        ([f"added +1 in x\n{DOUBT}"], ""),
        (["added +1 in x\nadded +2 in x\nadded +3 in x\nadded +4 in x"], "never created"),
    ],
)
def test_the_check_sees_what_is_wrong(bodies: list[str], broken: str) -> None:
    """An alert that came twice, one that is missing without a word, and one out of nothing."""
    tally = Tally(created={"+1", "+2", "+3"})
    for body in bodies:
        tally.receive(body)
    assert bool(tally.broken) == bool(broken)
    assert broken in str(tally)
