"""Text for people: the two streams, and vendors' texts that cannot control a terminal."""

from __future__ import annotations

import io
import unicodedata

from rich.console import Console, RenderableType

# Without a terminal there is no edge. rich would assume 80 columns and drop text.
_WIDTH_WITHOUT_TERMINAL = 200

# Vendors' texts were written by strangers. These categories move cursors and hide letters.
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

ERR = Console(stderr=True, highlight=False)
"""Everything that is not a result."""


def escape_controls(text: str) -> str:
    """Replace control characters with visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE_CATEGORIES else char
        for char in text
    )


def print_info(text: object, style: str | None = None) -> None:
    """Print one line to stderr, without markup and without wrapping."""
    ERR.print(escape_controls(str(text)), style=style, markup=False, highlight=False, soft_wrap=True)


def print_error(text: object) -> None:
    """Print one line to stderr that begins with the program's name."""
    print_info(f"phonesys: {text}", "red")


def print_table(renderable: RenderableType, *, on_stderr: bool = False) -> None:
    """Print a table to stdout or stderr."""
    console = ERR if on_stderr else Console(highlight=False)
    console.print(renderable, width=None if console.is_terminal else _WIDTH_WITHOUT_TERMINAL)


def render_text(renderable: RenderableType) -> bytes:
    """Render a table for a file or a pipe: no colours, UTF-8."""
    console = Console(
        file=io.StringIO(), color_system=None, force_terminal=False, width=_WIDTH_WITHOUT_TERMINAL
    )
    with console.capture() as captured:
        console.print(renderable, highlight=False)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()).encode()
