"""Hooks with which a sweep observes the HTTP calls made on its behalf.

A sweep bounds its requests in flight. A call that waits, for its account's rate window or before a retry, is
not in flight, and must not keep other accounts waiting.
"""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class CallObserver(Protocol):
    """Observes the calls of the current task."""

    def on_request(self) -> None:
        """Count a request that is about to be sent."""

    def on_retry(self) -> None:
        """Count a request that repeats another one."""

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Release the call's slot among the requests in flight while the context is open."""
        ...


current: ContextVar[CallObserver | None] = ContextVar("phonesys._observer", default=None)
"""The observer of the running task; None for calls outside of a sweep."""


def waiting() -> AbstractAsyncContextManager[None]:
    """Release the call's slot, if a sweep counts its requests in flight, while the context is open."""
    observer = current.get()
    return nullcontext() if observer is None else observer.waiting()
