"""The arithmetic: medians, spread, the order of rounds."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

_QUARTILES = 4


def spread(values: Sequence[float]) -> float:
    """Return the distance between the quartiles as a share of the median; 0 for a single value."""
    middle = median(values)
    if len(values) < 2 or not middle:  # noqa: PLR2004
        return 0.0
    low, _, high = quantiles(values, n=_QUARTILES, method="inclusive")
    return (high - low) / middle


def interleaved(things: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Yield A B C, B C A, C A B, …: no client always runs first, nor always after the same one."""
    for number in range(rounds):
        start = number % len(things) if things else 0
        for thing in (*things[start:], *things[:start]):
            yield number, thing
