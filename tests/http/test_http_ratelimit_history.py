"""Traces: what they give back is what was put in and still counts, for whatever keys and times."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys.http.ratelimit import history as traces
from phonesys.http.ratelimit.history import CompletionHistory


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 20), st.lists(st.floats(0, 1), max_size=4), st.floats(0, 3)),
        max_size=60,
    ),
    st.sampled_from([1, 2, 2048]),
)
def test_completions_are_returned_until_they_expire(
    steps: list[tuple[bool, int, list[float], float]], buckets: int
) -> None:
    """Each account gets the answers of its own that are younger than the window, once, in their order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "_BUCKETS", buckets)
        held, model, now = CompletionHistory(per=5.0), dict[str, list[float]](), 100.0
        for put, account, ages, pause in steps:
            key = f"acc_{account}"
            if put:
                times = sorted(now - age for age in ages)
                held.add(key, times, now)
                model[key] = model.get(key, []) + times
            else:
                held.expire(now)
                expected = [time for time in model.pop(key, []) if time + 5.0 > now]
                assert held.pop(key, now) == expected
                assert held.pop(key, now) == []
            now += pause


def test_a_mark_across_two_records_is_ignored() -> None:
    """Bytes that look like an account's mark, across two records, are left where they are."""
    held = CompletionHistory(per=5.0)
    key = next(str(i) for i in range(10_000) if hash(str(i)) % 2048 == 0)
    mark = (hash(key) >> 11 & 0xFFFFFFFF).to_bytes(4, "little")
    other = next(str(i) for i in range(1_000_000) if hash(str(i)) % 2048 == 0 and str(i) != key)
    (time,) = traces._TIME.unpack(b"\x00" + mark + b"\x00\x59\x40")
    held.add(other, [time], time)
    assert held.pop(key, time) == []
    assert held.pop(other, time) == [time]
