"""A sandbox in a thread of its own, so that it serves whatever the test does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from phonesys.sandbox import Sandbox


@contextmanager
def serving(sandbox: Sandbox, patience: float = 10.0) -> Generator[Sandbox]:
    """Serve it inside the block; starting and stopping may take `patience` seconds each."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="phonesys-sandbox", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(patience)
        try:
            yield sandbox
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(patience)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(patience)
        loop.close()
