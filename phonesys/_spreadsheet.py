"""Text that a spreadsheet shows instead of running it."""

from __future__ import annotations

import re

# A formula begins with one of these. Some locales also accept the full-width forms.
_SIGNS = (
    "=+\\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
    "\N{FULLWIDTH COMMERCIAL AT}"
)

# A cell begins at the beginning of the text. In locales that separate cells with a semicolon or a tab, a new
# one begins after each of these, because the file quotes only what a comma would need.
_FORMULA_START = re.compile(rf"\A(?=\s*[{_SIGNS}]|[\t\r\n])|(?<=[;\t\r\n])(?=[ \u00a0]*[{_SIGNS}])")

_GUARD = re.compile(rf"\A'(?=\s*[{_SIGNS}]|[\t\r\n])|(?<=[;\t\r\n])'(?=[ \u00a0]*[{_SIGNS}])")

_is_phone_number = re.compile(r"[+\-][0-9 ().\-/]*").fullmatch


def escape_formula(text: str) -> str:
    """Put an apostrophe before everything that a spreadsheet would run. Phone numbers stay as they are."""
    if text.isalnum() or _is_phone_number(text):
        return text
    return _FORMULA_START.sub("'", text)


def unescape_formula(text: str) -> str:
    """Remove the apostrophes that `escape_formula` puts before formulas."""
    return _GUARD.sub("", text) if "'" in text else text
