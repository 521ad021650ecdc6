"""Vendors' texts, which strangers wrote, made harmless for terminals, messages and assistants."""

from __future__ import annotations

import unicodedata

# These categories move cursors, turn the direction of text, and hide letters.
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def escape_controls(text: str) -> str:
    """Replace control characters with visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in UNSAFE_CATEGORIES else char
        for char in text
    )


def shorten(text: str, length: int) -> str:
    """Return the text, with an ellipsis in place of what is beyond this many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
