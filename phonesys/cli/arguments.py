"""Options of the command line as keyword arguments of a backend's operation."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Vendors have different words for the same field.
_KEYWORDS = {
    "--name": ("name", "friendly_name"),
    "--number": ("number", "phone_number"),
    "--agent": ("agent_id",),
    "--organization": ("organization_id",),
    "--business": ("business_id",),
    "--status": ("status",),
    "--enabled": ("enabled",),
    "--account": ("account",),
    "--days": ("window_days",),
    "--since": ("start_date",),
    "--until": ("end_date",),
}


def bind_options(
    operation: Callable[..., Any], backend: str, verb: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that are not None as keywords of `operation`.

    Raises UsageError for an option that the operation has no parameter for.
    """
    parameters = inspect.signature(operation).parameters
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    bound: dict[str, Any] = {}
    for option, value in options.items():
        if value is None:
            continue
        keywords = [keyword for keyword in _KEYWORDS[option] if keyword in parameters]
        if not keywords and not accepts_any:
            supported = ", ".join(name for name, words in _KEYWORDS.items() if parameters.keys() & set(words))
            raise UsageError(f"{option}: not supported by {verb} of backend {backend!r}; use {supported}")
        bound[keywords[0] if keywords else _KEYWORDS[option][0]] = value
    return bound
