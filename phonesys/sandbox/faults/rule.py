"""A fault with the conditions under which it happens: one `[[fault]]` of a plan."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

import msgspec

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from aiohttp import web

    from phonesys.sandbox.faults.exchange import Exchange


class Rule(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """When a fault happens; what happens is for its kind to say. Any rule is a fault for a script, too.

    - `route`, `account`: patterns such as `leadconnector.*`; all of them unless given.
    - `rate`: the share of requests that meet it, drawn from the plan's seed and the request itself, so that
      the same requests meet it whatever else is asked in between.
    - `requests`: only these ones of a route and account, counted from 1: a script.
    - `times`: how often at the most, all in all.
    - `off`: it is there, and can be switched on while the sandbox runs.
    """

    group: ClassVar[str] = ""
    """Under which heading people look for it."""

    route: str = "*"
    account: str = "*"
    rate: float = 1.0
    requests: tuple[int, ...] = ()
    times: int | None = None
    off: bool = False

    def __post_init__(self) -> None:
        expect(0 <= self.rate <= 1, "rate: expected a share from 0 to 1", self.rate)
        expect(all(n >= 1 for n in self.requests), "requests: they are counted from 1", self.requests)
        expect(self.times is None or self.times >= 0, "times: expected a count", self.times)
        self.check()

    def check(self) -> None:
        """Raise InvalidArgument for what this kind cannot do."""

    def concerns(self, route: str, account: str) -> bool:
        """Return whether requests for this route and account can meet the fault."""
        return fnmatchcase(route, self.route) and fnmatchcase(account, self.account)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Apply the fault to one request."""
        raise NotImplementedError


def kind_of(rule: Rule | type[Rule]) -> str:
    """Return what plans call this kind of fault."""
    return str(rule.__struct_config__.tag)


def expect(holds: bool, what: str, value: object) -> None:
    """Raise InvalidArgument unless it holds."""
    if not holds:
        raise InvalidArgument(f"{what}, got {value!r}")


def expect_seconds(name: str, value: float) -> None:
    """Raise InvalidArgument for a time that cannot be waited."""
    expect(isfinite(value) and value >= 0, f"{name}: expected seconds, 0 or more", value)
