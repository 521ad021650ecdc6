"""Paths as people write them: `~` is the home directory, also in variables and after `=`."""

from __future__ import annotations

from pathlib import Path

from phonesys.errors import UsageError


def expand(path: Path | str, option: str) -> Path:
    """Return the path with its home directory; raise UsageError, which names the option."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # an unknown user
        raise UsageError(f"{option}: {error}") from None
