"""The fault plan at run time: picks the fault for each request."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from phonesys.errors import InvalidArgument
from phonesys.sandbox.bounded import BoundedDict
from phonesys.sandbox.faults.rule import Rule, kind_of
from phonesys.sandbox.number_plan import mix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phonesys.sandbox.faults.exchange import Exchange

_WHOLE = 2.0**64
_REMEMBERED = 100_000  # distinct requests and accounts; the draw of one that is forgotten begins again


@dataclass(slots=True)
class FaultSwitch:
    """One fault that can be switched on and off; `met` counts the requests that it happened to."""

    id: int
    rule: Rule
    on: bool
    met: int = 0
    _turns: BoundedDict[tuple[str, str], int] = field(default_factory=lambda: BoundedDict(_REMEMBERED, int))
    _draws: BoundedDict[int, int] = field(default_factory=lambda: BoundedDict(_REMEMBERED, int))
    memories: BoundedDict[tuple[str, str], dict[str, Any]] = field(
        default_factory=lambda: BoundedDict(_REMEMBERED, dict[str, Any])
    )

    @property
    def kind(self) -> str:
        """The kind, as plans spell it."""
        return kind_of(self.rule)

    @property
    def spent(self) -> bool:
        """True once the fault has happened as often as `times` allows."""
        return self.rule.times is not None and self.met >= self.rule.times

    def draw(self, seed: int, exchange: Exchange, target: int) -> random.Random | None:
        """Return the randomness for this request's fault, or None if the fault does not happen.

        Everything is derived from the seed, the request, and how often that very request came before, so that
        neither other requests nor their order change it.
        """
        rule, place = self.rule, (exchange.route, exchange.account)
        if not self.on or self.spent or not rule.concerns(*place):
            return None
        self._turns[place] += 1
        if rule.requests and self._turns[place] not in rule.requests:
            return None
        self._draws[target] += 1
        bits = mix(mix(seed ^ mix(self.id)) ^ mix(target << 16 | self._draws[target]))
        if bits >= rule.rate * _WHOLE:
            return None
        return random.Random(mix(bits))  # noqa: S311 -- reproducible, not secret


class Faults:
    """The faults that a sandbox knows, in order: the first that is drawn for a request happens to it."""

    def __init__(self, rules: Iterable[Rule], seed: int, routes: Callable[[], Iterable[str]]) -> None:
        self.seed = seed
        self.changed: Callable[[], None] = lambda: None
        """Called after every change."""
        self._routes = routes
        self._switches: dict[int, FaultSwitch] = {}
        self._next = 1
        for rule in rules:
            self.add(rule)

    def __iter__(self) -> Iterator[FaultSwitch]:
        return iter(tuple(self._switches.values()))  # other threads may change them

    def __len__(self) -> int:
        return len(self._switches)

    def add(self, rule: Rule) -> FaultSwitch:
        """Add a fault after the others; raises InvalidArgument where its pattern matches no route."""
        routes = list(self._routes())
        if not any(fnmatchcase(route, rule.route) for route in routes):
            raise InvalidArgument(f"no such route: {rule.route}; there are: {', '.join(routes)}")
        made = self._switches[self._next] = FaultSwitch(self._next, rule, on=not rule.off)
        self._next += 1
        self.changed()
        return made

    def switch(self, id_: int, *, on: bool) -> FaultSwitch:
        """Switch a fault on or off; raises KeyError."""
        found = self._switches[id_]
        found.on = on
        self.changed()
        return found

    def remove(self, id_: int) -> None:
        """Forget a fault; raises KeyError."""
        del self._switches[id_]
        self.changed()

    def clear(self) -> None:
        """Forget them all."""
        self._switches.clear()
        self.changed()

    async def meet(self, exchange: Exchange) -> FaultSwitch | None:
        """Find the fault that happens to this request, and prepare the exchange for it."""
        if not any(switch.on for switch in self):
            return None
        body = await exchange.request.read()
        request = exchange.request
        target = zlib.crc32(body, zlib.crc32(f"{request.method} {request.raw_path}".encode()))
        for switch in self:
            rng = switch.draw(self.seed, exchange, target)
            if rng is not None:
                switch.met += 1
                exchange.rng = rng
                exchange.memory = switch.memories[exchange.route, exchange.account]
                return switch
        return None
