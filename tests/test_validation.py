from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import InvalidArgument
from phonesys._validation import is_e164, validate_e164

GOOD = ["+14155552671", "+442071838750", "+6831234", "+123456789012345", "+919876543210"]
BAD = [
    "",
    "+",
    "14155552671",
    "0014155552671",
    "+04155552671",
    "+1415555267x",
    "+1 415 555 2671",
    "+1-415-555-2671",
    "(415) 555-2671",
    "+14155552671\n",
    " +14155552671",
    "+14155552671 ",
    "+1234567890123456",
    "+123456",
    "++14155552671",
    "+\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff12\uff16\uff17\uff11",  # fullwidth digits
    "+\u0661\u0664\u0661\u0665\u0665\u0665\u0665\u0662\u0666\u0667\u0661",  # Arabic digits
    "tel:+14155552671",
    "\ud800",
]


@pytest.mark.parametrize("number", GOOD)
def test_e164_is_taken_as_it_is(number: str) -> None:
    """Plus, country code, and at most 15 digits in all."""
    assert is_e164(number)
    assert validate_e164(number) == number


@pytest.mark.parametrize("number", BAD)
def test_anything_else_is_refused_with_the_form_that_was_expected(number: str) -> None:
    """Also what nearly is: padding, other scripts' digits, a line break at the end."""
    assert not is_e164(number)
    with pytest.raises(InvalidArgument, match=r"not E\.164; expected .* as in \+14155552671") as caught:
        validate_e164(number, "forward to")
    assert str(caught.value).startswith("forward to: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", [None, 14155552671, b"+14155552671", ["+14155552671"]])
def test_what_is_no_string_is_refused(number: Any) -> None:
    """With the same words."""
    with pytest.raises(InvalidArgument, match=r"E\.164"):
        validate_e164(number)


@settings(deadline=None)
@given(st.text(st.sampled_from("+0123456789 -\n")))
def test_only_plus_and_digits_pass(text: str) -> None:
    """An accepted value is one plus and 7 to 15 digits, of which the first is not zero."""
    if is_e164(text):
        assert text[0] == "+"
        assert text[1:].isdecimal()
        assert 7 <= len(text) - 1 <= 15
        assert text[1] != "0"
