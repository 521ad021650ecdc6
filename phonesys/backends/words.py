"""Vendors' words, compared without regard to case, hyphens, underscores and spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from phonesys.model import NumberKind

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_IGNORED = str.maketrans("", "", "-_ /")


def fold(word: str) -> str:
    """Return the form in which two spellings of a word are equal."""
    return word.casefold().translate(_IGNORED)


class Vocabulary(Generic[T]):
    """Meanings of a vendor's words, and one for every other word."""

    def __init__(self, meanings: Mapping[str, T], unknown: T) -> None:
        self._exact = dict(meanings)
        self._folded = {fold(word): meaning for word, meaning in meanings.items()}
        self._unknown = unknown

    def __call__(self, word: str | None) -> T:
        """Return what the word means."""
        if word is None:
            return self._unknown
        meaning = self._exact.get(word)
        return self._folded.get(fold(word), self._unknown) if meaning is None else meaning


kind_of = Vocabulary({kind.value: kind for kind in NumberKind}, NumberKind.UNKNOWN)
