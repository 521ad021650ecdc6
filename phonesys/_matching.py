"""Comparison of phone numbers in whatever spelling people and vendors use."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from phonesys._validation import is_e164
from phonesys.errors import InvalidArgument

_SEPARATORS = re.compile(r"[\s\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2064.\-()/]+")
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
_LONGEST = 64
_SHORTEST = 7
"""Shorter ones are short codes. They have no country code, and no other spelling."""

# Country codes are prefix-free: 1 and 7, the following of two digits, all others of three (ITU-T E.164).
_TWO_DIGIT_CODES = frozenset(
    {
        20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57,
        58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
    }
)  # fmt: skip


class NumberQuery(NamedTuple):
    """A number as it was spelled, reduced to what is compared."""

    text: str
    """The spelling, for numbers without digits and for short codes: an alphanumeric sender, for example."""
    digits: str | None
    is_international: bool
    """True if the country code is known to be part of the digits."""

    @classmethod
    def parse(cls, spelling: str) -> NumberQuery:
        """Parse any spelling of a number. Raise InvalidArgument if there is none."""
        if not isinstance(spelling, str) or not spelling.strip() or len(spelling) > _LONGEST:
            raise InvalidArgument(f"expected a phone number, a short code or a sender, got {spelling!r:.80}")
        return _parsed(spelling)

    @property
    def search_text(self) -> str | None:
        """The text to search a vendor for: E.164 or digits. None if only a whole list can be compared."""
        if self.digits is None or len(self.digits) < _SHORTEST:
            return None
        return f"+{self.digits}" if self.is_international else self.digits.removeprefix("0")

    def matches(self, spelling: str) -> bool:
        """Return True if another spelling is of the same number."""
        if self.is_international and is_e164(spelling):  # most rows, and a tenth of the time
            return spelling[1:] == self.digits
        return self.is_same(_parsed(spelling))

    def is_same(self, other: NumberQuery) -> bool:
        """Return True if both are the same number."""
        mine, theirs = self.digits, other.digits
        if mine is None or theirs is None or min(len(mine), len(theirs)) < _SHORTEST:
            return self.text == other.text
        if mine == theirs:
            return True
        if self.is_international and other.is_international:
            return False
        if mine.removeprefix("0") == theirs.removeprefix("0"):
            return True
        return _is_national_form(mine, theirs, self) or _is_national_form(theirs, mine, other)


def _parsed(spelling: str) -> NumberQuery:
    plain = unicodedata.normalize("NFKC", spelling).strip()
    if plain[:4].casefold() == "tel:":
        plain = plain[4:].partition(";")[0]
    compact = _SEPARATORS.sub("", _TRUNK_ZERO.sub("", plain))
    digits = compact.removeprefix("+")
    is_international = len(digits) < len(compact)
    if not is_international and digits.startswith("00"):
        digits, is_international = digits[2:], True
    if digits.isascii() and digits.isdigit():
        return NumberQuery(compact, digits, is_international)
    return NumberQuery(plain.casefold(), None, is_international=False)


def _is_national_form(national: str, international: str, query: NumberQuery) -> bool:
    """Return True if some digits are others without their country code, with or without a leading 0."""
    if query.is_international:
        return False
    code = 1 if international[0] in "17" else 2 if int(international[:2]) in _TWO_DIGIT_CODES else 3
    return international[code:] in {national, national.removeprefix("0")}
