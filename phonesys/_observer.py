"""How a call tells the sweep that it is made for what it does.

A sweep bounds how many requests are under way. A call that waits, for its account's rate window or before
a retry, is not under way, and must not keep another account from its turn.
"""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class CallObserver(Protocol):
    """Whoever the calls of the current task are made for."""

    def on_request(self) -> None:
        """Count a request that goes out."""

    def on_retry(self) -> None:
        """Count one that repeats another."""

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Hold no place among the requests under way while this is open."""
        ...


current: ContextVar[CallObserver | None] = ContextVar("phonesys._observer", default=None)
"""The scope of the running task; none for calls that no sweep makes."""


def waiting() -> AbstractAsyncContextManager[None]:
    """Hold no place among the requests under way while this is open; nothing, where no sweep counts them."""
    scope = current.get()
    return nullcontext() if scope is None else scope.waiting()
