"""Countries of numbers by their prefix, compared with a library that knows whole numbers."""

from __future__ import annotations

import random

import phonenumbers
import pytest

from phonesys._calling_codes import country_of

SHARED = ("1", "7", "39", "44", "47", "61", "212", "262", "290", "358", "590", "599")
KINDS = (
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
)


def written(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_an_example_of_every_country_is_of_that_country_or_unknown() -> None:
    """Fixed and mobile lines of every country in the library. Unknown are only those with a shared prefix."""
    unknown: set[str] = set()
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in KINDS:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            found = country_of(written(example))
            assert found in {None, phonenumbers.region_code_for_number(example)}
            if found is None:
                unknown.add(region)
    assert unknown <= {"GP", "BL", "MF", "EH", "IM", "RE", "YT", "CC", "CX", "KZ", "TA"}


@pytest.mark.parametrize("code", SHARED)
def test_a_shared_calling_code_is_never_guessed(code: str) -> None:
    """Of thousands of numbers under codes of several countries, none is given to another country."""
    draw = random.Random(code)
    for _ in range(2000):
        text = f"+{code}{draw.randrange(10 ** draw.choice((6, 8, 9, 10))):d}"
        try:
            region = phonenumbers.region_code_for_number(phonenumbers.parse(text))
        except phonenumbers.NumberParseException:
            continue
        assert region is None or country_of(text) in {None, region}, text


@pytest.mark.parametrize(
    "number",
    ["+18005550100", "+19005550100", "+15005550100", "+1202555010", "+120255501000", "+80012345678", "+59069",
     "+999123456", "12025550100", "202-555-0100", "", "72727", "ACME", "+1\u0662025550100"],
)  # fmt: skip
def test_what_does_not_say_its_country_has_none(number: str) -> None:
    """Toll-free and personal numbers, other lengths, unassigned codes, and text that is not E.164."""
    assert country_of(number) is None
