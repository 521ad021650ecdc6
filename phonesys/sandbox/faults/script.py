"""The faults that were named one by one."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.sandbox.faults.exchange import Fault


class Script:
    """The faults that are still to come, in order, per route and account."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str | None], deque[Iterator[Fault]]] = {}

    def add(self, route: str, faults: tuple[Fault, ...], account: str | None, *, repeat: bool) -> None:
        """Queue faults behind those that are already there."""
        queue = self._queues.setdefault((route, account), deque())
        queue.append(cycle(faults) if repeat else iter(faults))

    def clear(self) -> None:
        """Forget them all."""
        self._queues.clear()

    def next(self, route: str, account: str) -> Fault | None:
        """Pop the next fault for a request; faults for its account come first."""
        if not self._queues:
            return None
        return self._take((route, account)) or self._take((route, None))

    def _take(self, key: tuple[str, str | None]) -> Fault | None:
        queue = self._queues.get(key)
        while queue:
            fault = next(queue[0], None)
            if fault is not None:
                return fault
            queue.popleft()
        self._queues.pop(key, None)
        return None
