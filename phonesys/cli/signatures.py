"""Options of the command line as arguments of whatever a backend's operation takes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Vendors have different words for the same thing.
_WORDS = {
    "--name": ("name", "friendly_name"),
    "--number": ("number", "phone_number"),
    "--agent": ("agent_id",),
    "--organization": ("organization_id",),
    "--business": ("business_id",),
    "--status": ("status",),
    "--enabled": ("enabled",),
    "--account": ("account",),
}


def accepted(
    operation: Callable[..., Any], backend: str, verb: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Name the options that were given as the operation does; raises UsageError for one it does not take."""
    parameters = inspect.signature(operation).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named: dict[str, Any] = {}
    for option, value in options.items():
        if value is None:
            continue
        words = [word for word in _WORDS[option] if word in parameters]
        if not words and not takes_any:
            there = ", ".join(o for o, words in _WORDS.items() if any(word in parameters for word in words))
            raise UsageError(f"{option}: {verb} of backend {backend!r} does not take it; it takes {there}")
        named[words[0] if words else _WORDS[option][0]] = value
    return named
