"""Leaving nothing behind: what was started has ended before whoever started it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait until it has ended, even while being cancelled; the cancellation is raised afterwards.

    What it came to is not looked at.
    """
    cancelled = None
    # A scope of anyio's cancels every wait inside of it, again and again: the loop would do nothing else.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
    if cancelled is not None:
        raise cancelled


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Carry it to its end, even while being cancelled; the cancellation is raised afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    await ended(task)
    return task.result()
