"""Traces: what they give back is what was put in and still counts, for whatever keys and times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys.http.ratelimit import history as traces
from phonesys.http.ratelimit.history import CompletionHistory

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def keys_of_one_bucket() -> Iterator[str]:
    return (str(i) for i in range(1_000_000) if hash(str(i)) % 2048 == 0)


def time_that_holds(key: str, *, place: int) -> float:
    """Return a time whose bytes hold the mark of an account, from that place on."""
    mark = (hash(key) >> 11 & 0xFFFFFFFF).to_bytes(4, "little")
    (time,) = traces._TIME.unpack(b"\x00" * place + mark + b"\x00" * (2 - place) + b"\x59\x40")
    assert isinstance(time, float)
    return time


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_mark_within_a_time_is_ignored(place: int) -> None:
    """Bytes that look like an account's mark are left where they are, and the account's record is found."""
    keys = keys_of_one_bucket()
    key, other = next(keys), next(keys)
    held, time = CompletionHistory(per=5.0), time_that_holds(key, place=place)
    held.add(other, [time, time], time)
    assert held.pop(key, time) == []
    held.add(key, [time + 1], time + 1)
    held.add(other, [time + 2], time + 2)
    assert held.pop(key, time + 2) == [time + 1]
    assert held.pop(other, time + 2) == [time, time, time + 2]


class Chosen(str):
    """An account whose mark consists of equal bytes, each that of its letter."""

    __slots__ = ()

    def __hash__(self) -> int:
        return int.from_bytes(self.encode() * 4, "little") << 11


def test_a_mark_that_continues_the_time_before_it_is_found() -> None:
    """The last byte of a time and an account's mark may look like the mark, one byte too early."""
    key, other = Chosen("@"), next(keys_of_one_bucket())
    held, time = CompletionHistory(per=5.0), 100.0
    assert traces._TIME.pack(time)[-1] == 0x40
    held.add(other, [time], time)
    held.add(key, [time], time)
    assert held.pop(key, time) == [time]
    assert held.pop(other, time) == [time]


def test_records_that_are_apart_are_returned_in_their_order() -> None:
    """Those of another account are between them."""
    held, time = CompletionHistory(per=5.0), 100.1
    key, other = Chosen("A"), Chosen("B")
    for step in range(3):
        held.add(key, [time + step], time + step)
        held.add(other, [time + step], time + step)
    assert held.pop(key, time + 2) == [time, time + 1, time + 2]
    assert held.pop(other, time + 2) == [time, time + 1, time + 2]


def test_records_count_for_less_than_a_window() -> None:
    """One that is exactly as old as the window has expired, and with the newest of them all have."""
    held = CompletionHistory(per=5.0)
    assert held.is_empty(0.0)
    held.add("a", [1.0, 2.0, 3.0], 3.0)
    assert not held.is_empty(7.9)
    held.expire(7.0)
    assert held.pop("a", 7.0) == [3.0]
    held.add("a", [3.0], 3.0)
    assert held.is_empty(8.0)
    assert held.pop("a", 3.0) == []


def test_only_expired_records_make_room_for_others() -> None:
    """Those of the same account, or of another one in its bucket, stay as long as they count."""
    keys = keys_of_one_bucket()
    key, other = next(keys), next(keys)
    held = CompletionHistory(per=5.0)
    held.add(key, [1.0, 1.5, 4.0], 4.0)
    held.add(other, [1.0, 4.5], 4.5)
    held.add(key, [6.0], 6.0)
    assert held.pop(key, 6.2) == [1.5, 4.0, 6.0]
    assert held.pop(other, 6.2) == [4.5]
