"""Detection of mocks, tracers and recorders that have replaced methods of aiohttp's session."""

from __future__ import annotations

from types import FunctionType

import aiohttp
import aiohttp.client

ORIGINAL_SESSION = aiohttp.ClientSession
_SESSION_MODULE, _PRIVATE_REQUEST = aiohttp.client.__dict__, "_request"


def is_patched() -> bool:
    """Return True if a mock or tracer has replaced the methods with which aiohttp's session sends."""
    return not (_is_original(ORIGINAL_SESSION.request) and _is_original(_private_request()))


def _private_request() -> object:
    return getattr(ORIGINAL_SESSION, _PRIVATE_REQUEST)


def _is_original(method: object) -> bool:
    return type(method) is FunctionType and method.__globals__ is _SESSION_MODULE
