"""Detection of mocks, tracers and recorders that have replaced methods of aiohttp's session."""

from __future__ import annotations

from types import FunctionType

import aiohttp
import aiohttp.client

ORIGINAL_SESSION = aiohttp.ClientSession
_SESSION_MODULE, _PRIVATE_REQUEST = aiohttp.client.__dict__, "_request"


def is_patched() -> bool:
    """Return True if a mock or tracer has replaced the methods with which aiohttp's session sends."""
    methods = _methods()
    return methods != _ORIGINAL_METHODS and not all(map(_is_original, methods))


def _methods() -> tuple[object, object]:
    return ORIGINAL_SESSION.request, getattr(ORIGINAL_SESSION, _PRIVATE_REQUEST)


def _is_original(method: object) -> bool:
    return type(method) is FunctionType and method.__globals__ is _SESSION_MODULE


_ORIGINAL_METHODS = _methods() if all(map(_is_original, _methods())) else None
"""Known to be aiohttp's own: comparing with them is faster than looking at where each is from."""
