"""Decoding of rows that are not as documented.

A row is unreadable only if it has no identity, or if it has a number that cannot be read: listed without the
number, it would let a search or a diff miss that number in silence.

A page is decoded as a whole by msgspec. This module runs only if that fails, row by row: a clean row costs
about a microsecond more than before, a row with empty strings about seven, and a row with a field of another
type is rebuilt field by field.
"""

from __future__ import annotations

import re
import types
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    NamedTuple,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from phonesys._validation import MAX_DEPTH, exceeds_depth, is_array, is_object
from phonesys.backends.words import fold
from phonesys.errors import DecodeError
from phonesys.http.response import (
    BODY_EXCERPT_BYTES,
    MESSAGE_EXCERPT_CHARS,
    MSGSPEC_ERRORS,
    decode_error,
)
from phonesys.model import MendedField, UnreadableRow, parse_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")

MAX_UNREADABLE = 10_000
"""Above this many bad rows, the response as a whole is an error."""

Text = Annotated[str, msgspec.Meta(min_length=1)]
"""Text that is not empty. Vendors write empty strings where they document null; those are decoded as None."""

_Scalar: TypeAlias = str | float | int | bool | None
Untyped: TypeAlias = _Scalar | dict[str, _Scalar]
"""A field of undocumented type: a single value, or an object of such, kept as it came."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Mending:
    """Fields of another type than documented, counted while rows are decoded."""

    def __init__(self) -> None:
        self._fields: dict[str, MendedField] = {}

    def add(self, field: str, value: Any) -> None:
        """Count a value that was converted or dropped."""
        known = self._fields.get(field)
        if known is not None:
            self._fields[field] = msgspec.structs.replace(known, count=known.count + 1)
        else:
            self._fields[field] = MendedField(field, 1, _excerpt(value))

    def result(self) -> tuple[MendedField, ...]:
        """Return the fields and their counts."""
        return tuple(self._fields.values())


def _excerpt(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)[:MESSAGE_EXCERPT_CHARS]
    except (ValueError, TypeError, RecursionError):  # among them integers beyond 64 bits
        return f'"{type(value).__name__}"'.encode()


class RowDecoder(Generic[R]):
    """Decoder of one row. It is unreadable without any `identity` field, or with a number that is no text."""

    def __init__(self, kind: type[R], *identity: str) -> None:
        self._kind, self._identity = kind, identity
        self._decode = msgspec.json.Decoder(kind, strict=False).decode

    def __call__(self, row: bytes | msgspec.Raw, mending: Mending | None = None) -> R:
        """Decode a row; raises one of MSGSPEC_ERRORS for the row as it came."""
        try:
            return self._decode(row)
        except MSGSPEC_ERRORS as failure:
            reason = failure
        try:
            return self._convert(_values_of(self._kind, row), Mending() if mending is None else mending)
        except (_LostError, *MSGSPEC_ERRORS):
            raise reason from None

    def _convert(self, values: dict[str, Any], mending: Mending) -> R:
        if not any(map(_is_bad_text, values.values())):
            try:
                return msgspec.convert(values, self._kind, strict=False)
            except MSGSPEC_ERRORS:
                pass
        mended = Mending()
        row = _build(self._kind, values, mended, "", fill=True)
        for name in self._identity:
            if _is_bad_text(getattr(row, name)):
                setattr(row, name, "")
        if not any(getattr(row, name) not in {"", None} for name in self._identity):
            raise _LostError
        if _has_number(self._kind, values) and not getattr(row, "number", None):
            raise _LostError
        for field in mended.result():
            mending.add(field.field, msgspec.Raw(field.example))
        return row


def decode_rows_individually(
    rows: Iterable[msgspec.Raw], decode: Callable[[msgspec.Raw], T]
) -> tuple[tuple[T, ...], tuple[UnreadableRow, ...]]:
    """Decode each row by itself. Keep unreadable rows raw, with the reason.

    Raises DecodeError above MAX_UNREADABLE of them.
    """
    good: list[T] = []
    bad: list[UnreadableRow] = []
    reasons: dict[str, str] = {}  # interned: thousands of rows may have the same one
    for row in rows:
        try:
            good.append(decode(row))
        except MSGSPEC_ERRORS as failure:
            if len(bad) == MAX_UNREADABLE:
                raise _too_many_unreadable(bad[0]) from None
            reason = str(failure)[:MESSAGE_EXCERPT_CHARS]
            raw = bytes(memoryview(row)[:BODY_EXCERPT_BYTES])
            bad.append(UnreadableRow(raw=raw, reason=reasons.setdefault(reason, reason)))
    return tuple(good), tuple(bad)


def _too_many_unreadable(first: UnreadableRow) -> DecodeError:
    return DecodeError(
        f"more than {MAX_UNREADABLE:,} rows cannot be read, the first for: {first.reason}", body=first.raw
    )


def decode_repaired(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode a body; if its text is bad, decode it with replacement characters. Raises DecodeError."""
    try:
        return decode(body)
    except MSGSPEC_ERRORS as failure:
        reason = str(failure)
    try:
        return decode(repair_text(body))
    except MSGSPEC_ERRORS:
        raise decode_error(body, reason) from None


# Escapes from left to right, so that an escaped backslash is not taken for the start of another escape.
_ESCAPES = re.compile(
    r"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
# Outside of strings, a control character is white space or an error anyway.
_CONTROL = dict.fromkeys(range(32), " ")


def repair_text(body: bytes) -> bytes:
    """Replace what is no text: halves of surrogate pairs, bytes that are not UTF-8, control characters."""
    text = body.decode("utf-8", "replace").translate(_CONTROL)
    return _ESCAPES.sub(lambda found: r"\ufffd" if found["half"] else found[0], text).encode()


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _values_of(kind: type[msgspec.Struct], row: bytes | msgspec.Raw) -> dict[str, Any]:
    """Decode the values of the fields that the struct has; those of others may be endless."""
    try:
        parts = _split(row)
    except MSGSPEC_ERRORS:
        parts = _split(repair_text(bytes(row)))
    known = _folded_keys(kind)
    values = {key: _value_of(raw) for key, raw in parts.items() if fold(key) in known}
    return {key: value for key, value in values.items() if value not in ("", None)}


def _value_of(raw: msgspec.Raw) -> Any:
    """Decode a value; if that is impossible, return it raw."""
    try:
        return msgspec.json.decode(raw)
    except MSGSPEC_ERRORS:
        pass
    try:
        return msgspec.json.decode(repair_text(bytes(raw)))
    except MSGSPEC_ERRORS:
        return raw


def _has_number(kind: type[msgspec.Struct], values: dict[str, Any]) -> bool:
    names = {field.folded for field in _fields_of(kind) if field.name == "number"}
    return any(fold(key) in names for key in values)


def _is_bad_text(value: Any) -> bool:
    return isinstance(value, msgspec.Raw) or (isinstance(value, str) and _REPLACEMENT in value)


# One field after the other


class _LostError(Exception):
    """A value that cannot be converted to the type of its field."""


class _Field(NamedTuple):
    name: str
    key: str
    folded: str
    hint: Any
    required: bool


@cache
def _folded_keys(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.folded for field in _fields_of(kind))


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _Field(field.name, field.encode_name, fold(field.encode_name), hints[field.name], field.required)
        for field in msgspec.structs.fields(kind)
    )


def _build(kind: type[R], values: dict[str, Any], mending: Mending, path: str, *, fill: bool = False) -> R:
    """Make a struct of the values that fit; with `fill`, required text that is missing is empty."""
    folded = {fold(key): value for key, value in values.items()}
    found: dict[str, Any] = {}
    for field in _fields_of(kind):
        value = values.get(field.key, folded.get(field.folded))
        if value not in ("", None):
            try:
                found[field.name] = _convert(field.hint, value, mending, path + field.key)
            except _LostError:
                mending.add(path + field.key, value)
        if field.required and field.name not in found:
            if not fill:
                raise _LostError
            found[field.name] = ""
    try:
        return kind(**found)
    except ValueError:  # of `check_depth`
        raise _LostError from None


def _convert(hint: Any, value: Any, mending: Mending, path: str) -> Any:
    if isinstance(value, msgspec.Raw):
        raise _LostError
    try:
        converted = msgspec.convert(value, hint, strict=False)
    except MSGSPEC_ERRORS:
        return _coerce(hint, value, mending, path)
    if isinstance(converted, str) and _REPLACEMENT in converted:
        mending.add(path, value)
    return converted


def _coerce(hint: Any, value: Any, mending: Mending, path: str) -> Any:
    """Convert a value of another type, and count it; raises _LostError."""
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return _first_coerced(get_args(hint), value, mending, path)
    if origin is Annotated:
        return _coerce(get_args(hint)[0], value, mending, path)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _coerce_struct(hint, value, mending, path)
    if origin is tuple:
        return tuple(_items(get_args(hint)[0], value, mending, path))
    converted = _coerce_scalar(hint, value)
    mending.add(path, value)
    return converted


def _first_coerced(hints: tuple[Any, ...], value: Any, mending: Mending, path: str) -> Any:
    for hint in hints:
        try:
            return _coerce(hint, value, mending, path)
        except _LostError:
            continue
    raise _LostError


def _items(hint: Any, value: Any, mending: Mending, path: str) -> Iterator[Any]:
    for item in value if is_array(value) else (value,):
        try:
            yield _convert(hint, item, mending, path)
        except _LostError:
            mending.add(path, item)
    if not is_array(value):
        mending.add(path, value)


def _coerce_struct(kind: type[R], value: Any, mending: Mending, path: str) -> R:
    if is_object(value):
        return _build(kind, value, mending, f"{path}.")
    words = re.findall(r"\w+", value) if isinstance(value, str) else value
    if not is_array(words) or not all(isinstance(word, str) for word in words):
        raise _LostError
    flags = {field.name: True for field in _fields_of(kind) if _is_flag(field) and _lists(words, field)}
    if not flags:
        raise _LostError
    mending.add(path, value)
    return kind(**flags)


def _is_flag(field: _Field) -> bool:
    return bool in get_args(field.hint)


def _lists(words: list[str], field: _Field) -> bool:
    return field.folded in map(fold, words)


_MAX_NUMBER = 10**30
_TRUE = frozenset({"true", "yes", "on", "y", "enabled", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "disabled", "0"})


def _coerce_scalar(hint: Any, value: Any) -> Any:
    if hint is str and _is_number(value):
        number = parse_whole(value)
        return str(value if number is None else number)
    if hint is bool and isinstance(value, str):
        word = fold(value)
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise _LostError


def _is_number(value: Any) -> bool:
    """Return True for a number of a sane size: not for infinity, nor for digits that `str` would refuse."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def check_depth(*values: Any) -> None:
    """Raise ValueError, which msgspec raises as its own, for objects too deep to print or pickle."""
    if any(map(exceeds_depth, values)):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
