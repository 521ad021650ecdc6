"""Numbers in whatever spelling people and vendors use."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import InvalidArgument
from phonesys._matching import NumberQuery

AMERICAN = [
    "+14155552671",
    "14155552671",
    "4155552671",
    "0014155552671",
    "+1 415-555-2671",
    "(415) 555-2671",
    "415.555.2671",
    "tel:+1-415-555-2671",
    "TEL:+14155552671;ext=12",
    "+1\N{NO-BREAK SPACE}415\N{NON-BREAKING HYPHEN}555\N{EN DASH}2671",
    "\N{LEFT-TO-RIGHT EMBEDDING}+14155552671\N{POP DIRECTIONAL FORMATTING}",
    "\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH DIGIT ONE}4155552671",
]
BRITISH = ["+442071838750", "00442071838750", "020 7183 8750", "+44 (0)20 7183 8750", "2071838750"]


@pytest.mark.parametrize("spellings", [AMERICAN, BRITISH])
def test_all_spellings_of_a_number_match(spellings: list[str]) -> None:
    """Whichever of them is looked for, and whichever the vendor has."""
    for wanted, held in product(spellings, repeat=2):
        assert NumberQuery.parse(wanted).matches(held), (wanted, held)


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ("+14155552671", "+14155552672"),
        ("+14155552671", "+444155552671"),
        ("+14155552671", "+1141555526711"),
        ("+4155552671", "+14155552671"),
        ("4155552671", "+1 415 555 26712"),
        ("5552671", "+14155552671"),
        ("12345", "+112345"),
        ("12345", "012345"),
        ("ACME", "ACME2"),
        ("+14155552671", "ACME"),
        ("+14155552671", ""),
    ],
)
def test_other_numbers_do_not(wanted: str, held: str) -> None:
    """Neither by a common ending, nor by another country's code, nor by the digits of a short code."""
    assert not NumberQuery.parse(wanted).matches(held)
    assert not held or not NumberQuery.parse(held).matches(wanted)


@pytest.mark.parametrize(
    ("wanted", "held"), [("Acme", "ACME"), ("12345", "12345"), (" acme bank ", "Acme Bank")]
)
def test_senders_and_short_codes_are_compared_as_text(wanted: str, held: str) -> None:
    """Without regard to case."""
    assert NumberQuery.parse(wanted).matches(held)


@pytest.mark.parametrize(
    ("spelling", "text"),
    [
        ("+1 415-555-2671", "+14155552671"),
        ("0044 20 7183 8750", "+442071838750"),
        ("14155552671", "14155552671"),
        ("020 7183 8750", "2071838750"),
        ("12345", None),
        ("ACME", None),
    ],
)
def test_vendors_search_for_e164_or_digits(spelling: str, text: str | None) -> None:
    """Short codes and senders are compared with the whole list."""
    assert NumberQuery.parse(spelling).search_text == text


@pytest.mark.parametrize("spelling", ["", "  ", "\n", None, 14155552671, b"+14155552671", "x" * 65])
def test_nothing_to_look_for_is_an_error(spelling: Any) -> None:
    """It is named, and nothing is sent."""
    with pytest.raises(InvalidArgument, match="expected a phone number, a short code or a sender"):
        NumberQuery.parse(spelling)


@given(st.text(max_size=64), st.text(max_size=64))
def test_matching_is_symmetric(one: str, other: str) -> None:
    """Any text matches itself, and no text fails."""
    if one.strip():
        assert NumberQuery.parse(one).matches(one)
        if other.strip():
            assert NumberQuery.parse(one).matches(other) == NumberQuery.parse(other).matches(one)
