from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys.sandbox.number_plan import (
    CAPACITY,
    PLANS,
    Identifiers,
    NumberPlan,
    Shuffle,
    describe,
    uuid_like,
)


@given(st.integers(1, 500), st.integers())
def test_shuffle_is_one_to_one(size: int, seed: int) -> None:
    """Every index goes somewhere else, and comes back."""
    shuffle = Shuffle(size, random.Random(seed))
    there = [shuffle.forward(index) for index in range(size)]
    assert sorted(there) == list(range(size))
    assert [shuffle.backward(value) for value in there] == list(range(size))


def test_numbers_are_unique_e164() -> None:
    """A hundred thousand slots hold a hundred thousand numbers, each in E.164."""
    numbering = NumberPlan(7)
    numbers = [numbering.number(slot) for slot in range(100_000)]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\+[1-9]\d{10,14}", number) for number in numbers)


def test_north_american_numbers_are_dialable() -> None:
    """Neither area nor exchange begins with 0 or 1, and no exchange is a service code."""
    numbers = [number for number in map(NumberPlan(7).number, range(20_000)) if number.startswith("+1")]
    assert len(numbers) > 10_000
    assert all(re.fullmatch(r"\+1[2-9]\d\d[2-9](?!11)\d{6}", number) for number in numbers)


def test_slots_beyond_a_small_plan_are_served_by_the_large_one() -> None:
    """No slot below the capacity is without a number, or shares one with a slot of the same plan."""
    smallest = min(plan.capacity for plan in PLANS)
    numbering = NumberPlan(3)
    slots = [*range(smallest - 500, smallest + 500), *range(CAPACITY - 1000, CAPACITY)]
    assert len({numbering.number(slot) for slot in slots}) == len(slots)


def test_kinds_of_numbers_are_mixed() -> None:
    """Several countries and types occur, the United States most."""
    described = [describe(number) for number in map(NumberPlan(1).number, range(5_000))]
    assert {"US", "CA", "GB", "IN", "MX"} == {country for country, _ in described}
    assert {"local", "toll-free", "mobile", "national"} == {type_ for _, type_ in described}
    assert sum(country == "US" for country, _ in described) > 3_000


def test_an_unplanned_number_is_described_anyway() -> None:
    """What users create need not come from a plan."""
    assert describe("+4930123456") == ("US", "local")


def test_seeds_differ_and_repeat() -> None:
    """The same seed gives the same numbers, another one gives others."""
    assert [NumberPlan(1).number(n) for n in range(9)] == [NumberPlan(1).number(n) for n in range(9)]
    assert [NumberPlan(1).number(n) for n in range(9)] != [NumberPlan(2).number(n) for n in range(9)]


@given(st.integers(), st.integers(0, 99_999))
def test_identifiers_hold_their_index(seed: int, index: int) -> None:
    """An id is twenty letters and digits, and leads back to its index."""
    ids = Identifiers(seed, 100_000)
    assert re.fullmatch(r"[A-Za-z0-9]{20}", ids.write(index))
    assert ids.read(ids.write(index)) == index


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 19, "a" * 21, "a" * 19 + "é", "../oauth/token/aaaaa", "a" * 20]
)
def test_foreign_identifiers_are_not_ours(text: str) -> None:
    """Malformed and well-formed strangers alike are nobody's id."""
    assert Identifiers(1, 1000).read(text) is None


def test_uuid_like_looks_like_one() -> None:
    """Version and variant are where a reader expects them."""
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", uuid_like(5))
