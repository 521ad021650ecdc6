"""Credentials that are masked wherever they could be shown."""

from __future__ import annotations

import hmac
from typing import NoReturn

from phonesys.errors import InvalidArgument, UsageError

_MASK = "***"


class Secret:
    """A credential that only `reveal` returns: not `repr`, `str`, formatting, copies or pickles.

    Raise InvalidArgument, without the value, unless it is non-empty printable ASCII, as HTTP headers require.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret, *, what: str = "credential") -> None:
        self._value: str | None = value.reveal() if isinstance(value, Secret) else value
        if problem := _problem(self._value):
            del value  # tracebacks may show locals
            raise InvalidArgument(f"{what}: {problem}")

    def reveal(self) -> str:
        """Return the credential, for the vendor that it belongs to."""
        if self._value is None:
            raise UsageError("a credential is dropped when it is pickled; provide it again")
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
        return DroppedSecret, ()


def _problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"expected a string, got {type(value).__name__}"
    if not value or value != value.strip():
        return "expected a string that is not empty nor padded with spaces"
    if not (value.isascii() and value.isprintable()):
        return "expected printable ASCII, as HTTP headers require"
    return None


class DroppedSecret(Secret):
    """A credential after pickling: its value is gone."""

    __slots__ = ()

    def __init__(self) -> None:
        self._value = None


class HeaderValue(str):
    """A header value with a masked `repr`, since tracebacks may show locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{_MASK}'"

    def __reduce__(self) -> NoReturn:
        raise UsageError("what signs calls cannot be pickled; make it again in the other process")


class HiddenBytes(bytes):
    """A request body with a masked `repr`, since tracebacks may show locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"b'{_MASK}'"

    def __reduce__(self) -> NoReturn:
        raise UsageError("a request that carries credentials cannot be pickled")
