"""A dictionary with a maximum size, so that a sandbox that serves for days does not grow."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(OrderedDict[K, V], Generic[K, V]):
    """Makes missing values, and drops the least recently used ones above `size`."""

    def __init__(self, size: int, make: Callable[[], V]) -> None:
        super().__init__()
        self._size = size
        self._make = make

    def __missing__(self, key: K) -> V:
        value = self[key] = self._make()
        return value

    def __getitem__(self, key: K) -> V:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._size:
            self.popitem(last=False)
