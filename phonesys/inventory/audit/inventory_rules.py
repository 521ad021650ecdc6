"""The rules that look at what is between numbers; each keeps only what it needs for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.inventory.audit.digits import digits, forwards_to
from phonesys.inventory.audit.finding import Severity
from phonesys.inventory.audit.rule import Problem, make_rule_across

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.inventory.audit.context import AuditContext
    from phonesys.inventory.audit.finding import Place
    from phonesys.inventory.record import NumberRecord

_SHOWN = 6


@make_rule_across(
    "held-twice",
    Severity.WARNING,
    advice="Find out which of them really has it, and remove it from the others.",
)
class HeldTwice:
    """The same number is in several backends or accounts."""

    def __init__(self, known: AuditContext) -> None:
        # A million numbers are here: two integers each, and lists only for those that came again.
        self._places: dict[Place, int] = {}
        self._first: dict[int, int] = {}
        self._again: dict[int, tuple[str, list[int]]] = {}

    def see(self, record: NumberRecord, /) -> None:
        """Remember where it was first seen, and where again."""
        number = digits(record.number)
        if number is None:
            return
        place = self._places.setdefault((record.backend, record.account), len(self._places))
        first = self._first.setdefault(number, place)
        if first != place:
            places = self._again.setdefault(number, (record.number, [first]))[1]
            if place not in places:
                places.append(place)

    def end(self) -> Iterator[Problem]:
        """Yield each number that is in more than one place."""
        names = list(self._places)
        for number, places in self._again.values():
            accounts = tuple(names[place] for place in places)
            yield Problem(number, accounts, f"held by {_listed(accounts)}")


def _listed(accounts: tuple[Place, ...]) -> str:
    shown = [f"{backend} {account}" for backend, account in accounts[:_SHOWN]]
    rest = f" and {len(accounts) - _SHOWN} more" if len(accounts) > _SHOWN else ""
    return ", ".join(shown) + rest


@make_rule_across(
    "forwards-in-circle",
    Severity.CRITICAL,
    advice="Let one of them end the circle: a user, an agent, or a number outside of it.",
)
class ForwardsInCircle:
    """The number's forwarding leads into a circle: callers reach nobody."""

    def __init__(self, known: AuditContext) -> None:
        self._targets: dict[int, dict[int, NumberRecord]] = {}

    def see(self, record: NumberRecord, /) -> None:
        """Remember those that forward; a number that forwards to itself has a rule of its own."""
        target, number = forwards_to(record), digits(record.number)
        if target is not None and number is not None and target != number:
            self._targets.setdefault(number, {})[target] = record

    def end(self) -> Iterator[Problem]:
        """Yield each number from which no forwarding leads out."""
        circling = self._without_ends()
        for number, targets in circling.items():
            record = next(iter(targets.values()))
            yield Problem(record.number, ((record.backend, record.account),), _path(number, circling))

    def _without_ends(self) -> dict[int, dict[int, NumberRecord]]:
        """Drop forwarding that ends somewhere, until only what goes round is left."""
        left = {number: dict(targets) for number, targets in self._targets.items()}
        sources: dict[int, list[int]] = {}
        for number, targets in left.items():
            for target in targets:
                sources.setdefault(target, []).append(number)
        ends = [target for target in sources if target not in left]
        while ends:
            end = ends.pop()
            for source in sources.get(end, ()):
                left[source].pop(end)
                if not left[source]:
                    del left[source]
                    ends.append(source)
        return left


def _path(number: int, circling: dict[int, dict[int, NumberRecord]]) -> str:
    """Write where a call goes, until it comes back or the line is full."""
    path = [number]
    while len(path) <= _SHOWN:
        path.append(next(iter(circling[path[-1]])))
        if path[-1] in path[:-1]:
            return " \N{RIGHTWARDS ARROW} ".join(f"+{one}" for one in path)
    return " \N{RIGHTWARDS ARROW} ".join([*(f"+{one}" for one in path), "\N{HORIZONTAL ELLIPSIS}"])


class _Defaults:
    """Counts the default numbers of every account whose vendor says which they are."""

    def __init__(self, known: AuditContext) -> None:
        self.known = known
        self.defaults: dict[Place, tuple[str, ...]] = {}

    def see(self, record: NumberRecord, /) -> None:
        """Remember the defaults."""
        if record.is_default is not None:
            place = record.backend, record.account
            others = self.defaults.get(place, ())
            self.defaults[place] = (*others, record.number) if record.is_default else others


@make_rule_across(
    "default-missing",
    Severity.WARNING,
    advice="Choose the number that the account calls and writes from.",
)
class DefaultMissing(_Defaults):
    """An account has numbers, and none of them is its default."""

    def end(self) -> Iterator[Problem]:
        """Yield each account without one; of an account that was not read whole nobody can tell."""
        for place, numbers in self.defaults.items():
            if not numbers and place not in self.known.incomplete:
                yield Problem(None, (place,), "none of its numbers is the default")


@make_rule_across(
    "default-doubled",
    Severity.WARNING,
    advice="Keep one of them as the default.",
)
class DefaultDoubled(_Defaults):
    """An account has more than one default number."""

    def end(self) -> Iterator[Problem]:
        """Yield each account with several."""
        for place, numbers in self.defaults.items():
            if len(numbers) > 1:
                shown = ", ".join(numbers[:_SHOWN])
                yield Problem(None, (place,), f"{len(numbers)} defaults: {shown}")
