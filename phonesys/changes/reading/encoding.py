"""Text of a file that a spreadsheet, an editor or a program wrote, in whatever encoding."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 4096
_VALID_SEQUENCE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")
"""A character of UTF-8, if it is that; rare in text of other encodings."""


class DamagedText(ValueError):
    """Bytes that are no text in any encoding that is tried."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Text(NamedTuple):
    """Text, and the encoding that it was found to be in."""

    text: str
    encoding: str

    @property
    def may_lack_characters(self) -> bool:
        """True if the encoding holds few characters, and others were replaced when the file was saved."""
        return self.encoding == "cp1252"


def decode_text(data: bytes) -> Text:
    """Decode a file. Raise DamagedText.

    A byte order mark decides. Without one it is UTF-16 if it is full of zero bytes, UTF-8 if it is valid as
    such, and else Windows-1252, in which Excel saves `CSV` in western countries.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Text(_decoded(data[len(mark) :], encoding), encoding)
    if (guess := _guess_utf16(data[:_SAMPLE])) is not None:
        return Text(_decoded(data, guess), guess)
    try:
        return Text(data.decode(), "utf-8")
    except UnicodeDecodeError as failure:
        # One bad byte amid good UTF-8 is damage. As Windows-1252, every other letter would be misread.
        if _VALID_SEQUENCE.search(data):
            raise DamagedText(_line(data, failure.start), "not valid UTF-8") from None
    return Text(_decoded(data, "cp1252"), "cp1252")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as failure:
        line = _line(data, failure.start)
        raise DamagedText(line, f"not valid text in {encoding}") from None


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _guess_utf16(sample: bytes) -> str | None:
    """Return UTF-16 in its byte order if every other byte is mostly zero, as in text of western letters."""
    pairs = len(sample) // 2
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if pairs and zeros.count(0) * 2 > pairs:
            return encoding
    return None
