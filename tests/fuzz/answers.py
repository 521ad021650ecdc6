"""Answers of the vendors' shapes, and what a hostile vendor, or a broken one, makes of them.

Each mutation draws from the `random.Random` it is given: hypothesis's, which can shrink, or a seeded one.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from phonesys._validation import exceeds_depth

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

DATA = Path(__file__).parents[1] / "data"

TOKENS = (
    (
        b'{"access_token":"at_1","refresh_token":"rt_1","expires_in":86399,"scope":"phonenumbers.read",'
        b'"userType":"Company","companyId":"co_1","token_type":"Bearer"}'
    ),
    b'{"accessToken":"at_1","refreshToken":"rt_1","expiresIn":"86399","userType":"Location","locationId":"l_1"}',
    b'{"data":{"access_token":"at_1","expires_in":86399.5,"location_id":"l_1"}}',
)
LOCATIONS = (
    b'{"locations":[{"_id":"loc_1","isInstalled":true},{"id":"loc_2","isInstalled":false}],"count":2}',
    b'{"locations":[]}',
)


@cache
def listings() -> tuple[bytes, ...]:
    """Every example of an answer that is data."""
    files = sorted(path for path in DATA.glob("*/*.json") if not path.name.startswith("error-"))
    return (*(path.read_bytes() for path in files), *LOCATIONS)


@cache
def errors() -> tuple[bytes, ...]:
    """Every example of an answer that is an error."""
    return tuple(path.read_bytes() for path in sorted((*DATA.glob("*/error-*"), *DATA.glob("proxy/*"))))


class Literal(NamedTuple):
    """JSON that `json.dumps` would not write, put into a document by its place."""

    text: str


DEEP = 100_000
_HUGE = 10_000

# Single values: what is written where something else was expected.
VALUES: tuple[Any, ...] = (
    None, True, False, "true", "False", "yes", 0, 1, -1, 2**31, 2**53, 2**63, -(2**63) - 1, 2**64, 0.5, 1e300,
    "", " ", "0", "-1", "7.0", "1e3", "NaN", "Infinity", "null", "\0", "\x1b]0;x\x07\x1b[2J", "\u202e\u2066",
    "\N{PILE OF POO}", "</script><script>alert(1)</script>", "=cmd|' /C calc'!A0", "[/bold]", "[red]x",
    "../../oauth/token", "%2e%2e", "a\r\nX-Injected: 1", "+14155552671", "x" * _HUGE, "9" * 400, "9" * 5000,
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "99999-01-01T00:00:00Z", "2024-02-30T00:00:00Z",
    "2024-01-01T00:00:00+99:99", "2024-01-01", "2024-01-01T00:00:00", "0000-00-00T00:00:00Z", "-1", "1e999",
    [], {}, [[]], [None], [0] * 300, {"": None}, {"_seconds": 1, "_nanoseconds": 2}, {"a": {"a": [{}]}},
    Literal("NaN"), Literal("-Infinity"), Literal("1e400"), Literal("-1e400"), Literal("-0"), Literal("-0.0"),
    Literal("1e-400"), Literal("9" * 400), Literal("9" * 4300), Literal("-" + "9" * 4301),
    Literal("9" * _HUGE), Literal("01"), Literal("1."), Literal(".5"), Literal("+1"), Literal("0x10"),
    Literal('"\\ud800"'), Literal('"\\udc00\\ud800"'), Literal('"\\u0000"'), Literal('"\\x"'),
    Literal("undefined"), Literal("'a'"),
    Literal("[" * 40 + "]" * 40), Literal("[" * 600 + "]" * 600), Literal('{"a":' * 300 + "1" + "}" * 300),
)  # fmt: skip
NAMES = (
    "id", "name", "number", "numbers", "data", "items", "results", "agents", "total", "totalCount",
    "pageSize", "page", "pages", "limit", "hasMore", "meta", "pagination", "success", "continuationToken",
    "location",
    "message", "error", "errors", "detail", "title", "status", "phonesys:account", "account", "__class__", "",
)  # fmt: skip


def mutated(raw: bytes, draw: Random) -> bytes:
    """Change an answer in one to four ways: its document where it is one, then its bytes now and then."""
    try:
        document: Any = json.loads(raw)
    except (ValueError, RecursionError):
        document = Literal
    if document is Literal or exceeds_depth(document, _DEEPEST):
        return mangled(raw, draw)
    for _ in range(draw.randint(1, 3)):
        document = _changed(document, draw)
    body = written(document)
    return mangled(body, draw) if draw.random() < _MANGLED else body


_MANGLED = 0.3
_DEEPEST = 100  # for ourselves: what walks through documents here takes a frame of the stack for each level


_PLACE = re.compile('"\ue000([0-9]+)\ue001"')


def written(document: Any) -> bytes:
    """Write a document as JSON, its literals as they are."""
    literals: list[str] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Literal):
            literals.append(value.text)
            return f"\ue000{len(literals) - 1}\ue001"
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(plain(document), ensure_ascii=False)
    text = _PLACE.sub(lambda found: literals[int(found[1])], text)
    return text.encode("utf-8", "surrogatepass")


def _changed(document: Any, draw: Random) -> Any:
    """Change one of the containers in a document, or put something else in the document's place."""
    holders = [holder for holder in _containers(document) if holder]
    if not holders or draw.random() < _REPLACED:
        return draw.choice((_value(draw), [document], {"data": document}))
    holder = draw.choice(holders)
    change = draw.choice(_OF_OBJECTS if isinstance(holder, dict) else _OF_LISTS)
    change(holder, draw)
    return document


_REPLACED = 0.03


def _containers(value: Any) -> list[Any]:
    found, level = [], [value]
    while level:
        held = [one for one in level if isinstance(one, dict | list)]
        found += held
        level = [inner for one in held for inner in (one.values() if isinstance(one, dict) else one)]
    return found


def _drop(holder: Any, draw: Random) -> None:
    del holder[_key(holder, draw)]


def _replace(holder: Any, draw: Random) -> None:
    holder[_key(holder, draw)] = _value(draw)


def _retype(holder: Any, draw: Random) -> None:
    """Replace a value by another type: a number by a string, a string by a list, a switch by a word."""
    key = _key(holder, draw)
    value = holder[key]
    holder[key] = draw.choice((str(value), [value], {"value": value}, _as_number(value)))


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) and abs(value) < 2**53 else -1


def _rename(holder: dict[str, Any], draw: Random) -> None:
    key = _key(holder, draw)
    other = draw.choice(
        (key.upper(), key.lower(), key.capitalize(), f" {key}", f"{key}\0", draw.choice(NAMES))
    )
    holder[other] = holder.pop(key)


def _add(holder: dict[str, Any], draw: Random) -> None:
    holder[draw.choice(NAMES)] = _value(draw)


def _swap(holder: dict[str, Any], draw: Random) -> None:
    one, other = _key(holder, draw), _key(holder, draw)
    holder[one], holder[other] = holder[other], holder[one]


def _repeat(holder: list[Any], draw: Random) -> None:
    holder.extend([draw.choice(holder)] * draw.choice((1, 2, 20)))


def _insert(holder: list[Any], draw: Random) -> None:
    holder.insert(draw.randint(0, len(holder)), _value(draw))


def _value(draw: Random) -> Any:
    """Choose a value; a copy, since the next change may be to what is in it."""
    return deepcopy(draw.choice(VALUES))


def _key(holder: Any, draw: Random) -> Any:
    return draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))


_OF_OBJECTS: tuple[Callable[[Any, Random], None], ...] = (
    _drop,
    _replace,
    _replace,
    _retype,
    _rename,
    _add,
    _swap,
)
_OF_LISTS: tuple[Callable[[Any, Random], None], ...] = (_drop, _replace, _replace, _retype, _repeat, _insert)

_PIECES = (
    b"\xef\xbb\xbf", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\u", b"\\", b'"',
    b"{", b"}", b"[", b"]", b",", b":", b"\x1f", b"<html>", b"<!--", b"null", b"1e999", b"-", b"\r\n",
    b"// x\n",
    b"\xe2\x80\xa8", b'{"a":1}', b"/**/",
)  # fmt: skip


def mangled(raw: bytes, draw: Random) -> bytes:
    """Damage bytes: cut short, joined, with something in between, with a letter changed, a name twice."""
    at = draw.randint(0, len(raw))
    damage: Callable[[], bytes] = draw.choice(
        (
            lambda: raw[:at],
            lambda: raw + draw.choice((raw, b"\n", b"null", b"\0")),
            lambda: raw[:at] + draw.choice(_PIECES) + raw[at:],
            lambda: raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :],
            lambda: b"\xef\xbb\xbf" + raw,
            lambda: raw.replace(b"{", b'{"number":7,"data":[],"phoneNumber":null,', draw.randint(1, 3)),
            lambda: raw.decode("utf-8", "replace").encode(draw.choice(("utf-16", "utf-32", "utf-7"))),
        )
    )
    return damage()


class Bomb(NamedTuple):
    """An answer that is small for what it might cost."""

    name: str
    body: bytes

    def __str__(self) -> str:
        return self.name

    @property
    def is_many(self) -> bool:
        """True for bombs that cost memory: many values, each as small as can be."""
        return self.name.endswith(("names", "ones", "empty rows"))


def bombs(size: int) -> tuple[Bomb, ...]:
    """Answers of about so many bytes that are made to cost time, memory or stack."""
    shapes = {
        "nested lists": b"[" * size,
        "nested objects": b'{"data":' * (size // 8),
        "nested in a row": b'{"numbers":[{"phoneNumber":"+1","dateAdded":' + b"[" * size,
        "closed nest": b'{"items":[{"number":"+1","x":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}]}",
        "long string": b'{"message":"' + b"x" * size + b'"}',
        "escapes": b'{"message":"' + b"\\u0001" * (size // 6) + b'"}',
        "open string": b'"' + b"\\" * size,
        "long number": b'{"total":' + b"9" * size + b',"numbers":[]}',
        "long fraction": b'{"total":0.' + b"9" * size + b',"numbers":[]}',
        "long exponent": b'{"total":1e' + b"9" * size + b',"numbers":[]}',
        "long name": b'{"' + b"x" * size + b'":1}',
        "tags": b"<" * size,
        "titles": b"<title" * (size // 6),
        "spaces": b" " * size,
        "lines": b"\n" * size,
        "no text": b"\xff" * size,
        "zeros": b"\0" * size,
        "names": b"{" + b",".join(b'"%d":0' % n for n in range(size // 8)) + b"}",
        "equal names": b"{" + b'"data":[],' * (size // 10) + b'"data":[]}',
    }
    rows = {"nulls": b"null,", "ones": b"1,", "empty rows": b"{},", "empty lists": b"[],", "texts": b'"",'}
    for holder in ("numbers", "items", "data", "locations", "agents"):
        for name, row in rows.items():
            start = f'{{"{holder}":['.encode()
            shapes[f"{holder} of {name}"] = start + (row * (size // len(row)))[:-1] + b"]}"
    for name, row in rows.items():
        shapes[f"bare {name}"] = b"[" + (row * (size // len(row)))[:-1] + b"]"
        shapes[f"errors of {name}"] = b'{"errors":[' + (row * (size // len(row)))[:-1] + b"]}"
    return tuple(Bomb(name, body) for name, body in shapes.items())
