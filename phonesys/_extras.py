"""Optional dependencies, imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from phonesys.errors import UsageError


class MissingExtra(UsageError):
    """An optional dependency is not installed. The message says how to install it."""


def require_extra(name: str, module: str) -> Any:
    """Import a module of an extra. Raises MissingExtra."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        # An installed module that lacks a dependency of its own is broken, and its own error says so best.
        if missing.name != module.partition(".")[0]:
            raise
        raise MissingExtra(
            f"this needs {missing.name}, which is not installed: pip install 'phonesys[{name}]'"
        ) from None
