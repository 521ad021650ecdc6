"""Text for people: the two streams, and vendors' texts that cannot control a terminal."""

from __future__ import annotations

import contextlib
import io
import sys
import unicodedata
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

from phonesys._text import UNSAFE_CATEGORIES, escape_controls
from phonesys.cli.startup import prompting
from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

# Without a terminal there is no edge. rich would assume 80 columns and drop text.
_WIDTH_WITHOUT_TERMINAL = 1000

ERR = Console(stderr=True, highlight=False)
"""Everything that is not a result."""

_quiet = False


@contextlib.contextmanager
def only_errors(quiet: bool) -> Generator[None]:
    """While the block runs, print nothing but errors and results if `quiet` is True."""
    global _quiet  # noqa: PLW0603 -- the process has one stderr
    before, _quiet = _quiet, quiet
    try:
        yield
    finally:
        _quiet = before


def stderr_is_live() -> bool:
    """Return True if stderr is a terminal that can redraw, and is not to be quiet."""
    # Not ERR.is_terminal: FORCE_COLOR makes it true in a log.
    is_terminal = sys.stderr.isatty() and not ERR.is_dumb_terminal
    return is_terminal and ERR.encoding.startswith("utf") and not _quiet


def progress_is_wanted() -> bool:
    """Return False if only errors are to be printed."""
    return not _quiet


def escape_output(data: bytes) -> bytes:
    """Replace control characters in lines of jsonl or csv, so that JSON stays valid."""
    text = data.decode(errors="replace").replace("\r\n", "\n")
    return "".join(
        _json_escape(char) if char != "\n" and unicodedata.category(char) in UNSAFE_CATEGORIES else char
        for char in text
    ).encode()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def print_info(text: object, style: str | None = None) -> None:
    """Print one line to stderr, without markup and without wrapping, unless only errors are wanted."""
    if not _quiet:
        _print(text, style)


def print_error(text: object) -> None:
    """Print one line to stderr that begins with the program's name."""
    _print(f"phonesys: {text}", "red")


def _print(text: object, style: str | None) -> None:
    ERR.print(escape_controls(str(text)), style=style, markup=False, highlight=False, soft_wrap=True)


def confirm(question: str) -> bool:
    """Ask on the terminal, and return True for yes; raise UsageError without a terminal."""
    return _ask(f"{question} (y/N) ", "--yes") in {"y", "yes"}


def confirm_word(statement: str, word: str, option: str) -> bool:
    """Ask on the terminal for a word, and return True for it; raise UsageError without a terminal."""
    return _ask(f"{statement}. Type {word} to permit this: ", option) == word


def require_terminal(option: str) -> None:
    """Raise UsageError if there is no terminal to ask on. `option` makes the question unnecessary."""
    if not sys.stdin.isatty():
        raise UsageError(f"there is no terminal to ask on; expected {option}")


def _ask(question: str, option: str) -> str:
    require_terminal(option)
    try:
        with prompting():
            answer = ERR.input(escape_controls(question), markup=False)
    except EOFError:
        return ""
    return answer.strip().lower()


def print_table(renderable: RenderableType, *, on_stderr: bool = False) -> None:
    """Print a table to stdout or stderr."""
    stream = sys.stderr if on_stderr else sys.stdout
    if stream.isatty():
        (ERR if on_stderr else Console(highlight=False)).print(renderable)
    else:
        stream.write(render_text(renderable).decode())


def render_text(renderable: RenderableType) -> bytes:
    """Render a table for a file or a pipe: no colours, UTF-8."""
    console = Console(
        file=io.StringIO(), color_system=None, force_terminal=False, width=_WIDTH_WITHOUT_TERMINAL
    )
    with console.capture() as captured:
        console.print(renderable, highlight=False)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()).encode()
