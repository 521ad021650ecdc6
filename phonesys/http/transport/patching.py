"""Detection of mocks, tracers and recorders that have replaced methods of aiohttp's session."""

from __future__ import annotations

from types import FunctionType

import aiohttp
import aiohttp.client

ORIGINAL_SESSION = aiohttp.ClientSession
_SESSION_MODULE = aiohttp.client.__dict__


def is_patched() -> bool:
    """Return True if a mock or tracer has replaced the methods with which aiohttp's session sends."""
    for name in ("request", "_request"):
        method = getattr(ORIGINAL_SESSION, name)
        if type(method) is not FunctionType or method.__globals__ is not _SESSION_MODULE:
            return True
    return False
