"""The slot of a sweep's call among the requests in flight, which a call that waits gives up for the while.

A sweep bounds its requests in flight. A call that waits, for its account's rate window or before a retry, is
not in flight, and must not keep other accounts waiting. The sweep's own counts come from here too: events for
observers would be made for every request, and cost more than the counts.
"""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class RequestSlot(Protocol):
    """Slot of the current task among its sweep's requests in flight."""

    def on_request(self) -> None:
        """Count a request that is about to be sent."""

    def on_retry(self) -> None:
        """Count a request that repeats another one."""

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Release the slot while the context is open."""
        ...

    async def wait_for_capacity(self) -> None:
        """Wait until the consumer has caught up. Rows take twice the memory of the body that holds them."""


current: ContextVar[RequestSlot | None] = ContextVar("phonesys._slot", default=None)
"""The slot of the running task; None for calls outside of a sweep."""


def waiting() -> AbstractAsyncContextManager[None]:
    """Release the call's slot, if a sweep counts its requests in flight, while the context is open."""
    slot = current.get()
    return nullcontext() if slot is None else slot.waiting()
