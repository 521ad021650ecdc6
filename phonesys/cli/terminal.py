"""What people read: the two streams, and text that cannot play tricks on a terminal."""

from __future__ import annotations

import io
import unicodedata

from rich.console import Console, RenderableType

# Where nobody watches there is no edge: a table must not lose columns to a guess of 80.
_WIDE = 200

# Vendors' texts are other people's texts. These categories are what moves cursors and hides letters.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

ERR = Console(stderr=True, highlight=False)
"""Everything that is not a result."""


def clean(text: str) -> str:
    """Show control characters as escapes instead of obeying them."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE else char
        for char in text
    )


def say(text: object, style: str | None = None) -> None:
    """Print one line to stderr, as it is: no markup, no wrapping."""
    ERR.print(clean(str(text)), style=style, markup=False, highlight=False, soft_wrap=True)


def complain(text: object) -> None:
    """Say what went wrong, and who says so."""
    say(f"phonesys: {text}", "red")


def show(renderable: RenderableType, *, on_stderr: bool = False) -> None:
    """Draw a table on a terminal."""
    console = ERR if on_stderr else Console(highlight=False)
    console.print(renderable, width=None if console.is_terminal else _WIDE)


def as_text(renderable: RenderableType) -> bytes:
    """Draw a table for a file or a pipe: no colours, UTF-8."""
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False, width=_WIDE)
    with console.capture() as captured:
        console.print(renderable, highlight=False)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()).encode()
