"""Optional dependencies, imported where they are needed and named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from phonesys.errors import UsageError


class MissingExtra(UsageError):
    """An optional dependency is not installed; the message says how to get it."""


def require_extra(name: str, module: str) -> Any:
    """Import a module that the extra of this name installs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        # One that is there and lacks something itself is broken, and says so best itself.
        if missing.name != module.partition(".")[0]:
            raise
        raise MissingExtra(
            f"this needs {missing.name}, which is an extra: pip install 'phonesys[{name}]'"
        ) from None
