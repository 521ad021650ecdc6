"""Credentials that do not show themselves."""

from __future__ import annotations

import hmac
from typing import NoReturn

from phonesys.errors import InvalidArgument, UsageError

_MASK = "***"


class Secret:
    """A credential that only `reveal` shows: not `repr`, `str`, formatting, copies or pickles.

    Raises InvalidArgument, without the value, for what cannot travel in an HTTP header: nothing at all, or
    anything but printable ASCII.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret, *, what: str = "credential") -> None:
        self._value: str | None = value.reveal() if isinstance(value, Secret) else value
        if complaint := _complaint(self._value):
            del value  # tracebacks may show locals
            raise InvalidArgument(f"{what}: {complaint}")

    def reveal(self) -> str:
        """Return the credential itself, for the vendor it belongs to."""
        if self._value is None:
            raise UsageError("this credential was left behind when it was pickled; give it anew")
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{_MASK}')"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return LeftBehind, ()


def _complaint(value: object) -> str | None:
    """Say, without the value, why it cannot travel in an HTTP header."""
    if not isinstance(value, str):
        return f"expected a string, got {type(value).__name__}"
    if not value or value != value.strip():
        return "expected a string that is not empty nor padded with spaces"
    if not (value.isascii() and value.isprintable()):
        return "expected printable ASCII, as HTTP headers require"
    return None


class LeftBehind(Secret):
    """What a pickled credential becomes: one that is no longer there."""

    __slots__ = ()

    def __init__(self) -> None:
        self._value = None


class HeaderValue(str):
    """A signed header as aiohttp needs it, whose `repr` is masked: tracebacks may show locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{_MASK}'"

    def __reduce__(self) -> NoReturn:
        raise UsageError("what signs calls cannot be pickled; make it anew in the other process")


class HiddenBytes(bytes):
    """A request body that carries credentials, whose `repr` is masked: tracebacks may show locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"b'{_MASK}'"

    def __reduce__(self) -> NoReturn:
        raise UsageError("a request that carries credentials cannot be pickled")
