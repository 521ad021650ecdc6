"""A plan of what goes wrong, as a file says it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

import msgspec

from phonesys.errors import ConfigError
from phonesys.sandbox.faults.answers import (
    Charset,
    ContentType,
    EmptyObject,
    GzipBomb,
    Html,
    HugeHeaders,
    InvalidJson,
    Null,
    Redirect,
    Status,
)
from phonesys.sandbox.faults.connection import LostAnswer, Refused, Reset, ResetBody, Truncated
from phonesys.sandbox.faults.live import BrokenText, LiveSpelling, NoNumber, OddTypes
from phonesys.sandbox.faults.rows import (
    BadRow,
    DuplicateRows,
    MissingFields,
    MovingRows,
    RepeatedToken,
    UnknownEnum,
    UnknownFields,
    WrongShape,
)
from phonesys.sandbox.faults.rule import Rule, kind_of
from phonesys.sandbox.faults.slow import Drip, Latency, StalledBody, StalledHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

AnyRule: TypeAlias = (
    Latency
    | StalledHeaders
    | StalledBody
    | Drip
    | Status
    | Html
    | Redirect
    | Refused
    | Reset
    | ResetBody
    | Truncated
    | LostAnswer
    | HugeHeaders
    | ContentType
    | Charset
    | InvalidJson
    | Null
    | EmptyObject
    | GzipBomb
    | WrongShape
    | BadRow
    | UnknownEnum
    | UnknownFields
    | MissingFields
    | DuplicateRows
    | MovingRows
    | RepeatedToken
    | OddTypes
    | LiveSpelling
    | BrokenText
    | NoNumber
)
"""Every kind of fault that a plan may hold."""

KINDS: dict[str, type[Rule]] = {kind_of(kind): kind for kind in get_args(AnyRule)}
"""The same by the names that plans give them."""


class FaultPlan(msgspec.Struct, frozen=True, rename={"faults": "fault"}, forbid_unknown_fields=True):
    """Faults, and the seed of the draw: the first that is drawn for a request happens to it.

    As TOML: `seed = 3`, then a `[[fault]]` with a `kind` and its fields for each.
    """

    faults: tuple[AnyRule, ...] = ()
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 1

    @classmethod
    def load(cls, path: str | Path) -> FaultPlan:
        """Read a `.toml` or `.json` file; raises ConfigError, which says what is wrong where."""
        try:
            raw = Path(path).read_bytes()
        except (OSError, ValueError) as failure:  # ValueError: a path with a null character
            raise ConfigError(f"{path}: {getattr(failure, 'strerror', None) or failure}") from None
        return cls.parse(raw, form="json" if Path(path).suffix == ".json" else "toml", source=str(path))

    @classmethod
    def parse(cls, raw: bytes | str, *, form: str = "toml", source: str = "fault plan") -> FaultPlan:
        """Read a plan from text, as TOML or JSON; raises ConfigError."""
        decode: Callable[..., Any] = msgspec.json.decode if form == "json" else msgspec.toml.decode
        plan: FaultPlan = _checked(lambda: decode(raw, type=cls), source)
        return plan


def parse_rule(raw: bytes) -> AnyRule:
    """Read one fault from JSON; raises ConfigError."""
    rule: AnyRule = _checked(lambda: msgspec.json.decode(raw, type=AnyRule), "fault")
    return rule


def _checked(read: Callable[[], Any], source: str) -> Any:
    try:
        return read()
    # ValueError: bytes that are no text, and whole numbers that are none of this world.
    except (msgspec.DecodeError, ValueError, RecursionError) as failure:
        text = str(failure)
        hint = f"; there are: {', '.join(KINDS)}" if ".kind`" in text or "`kind`" in text else ""
        raise ConfigError(f"{source}: {text}{hint}") from None
