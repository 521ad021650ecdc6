"""Rules that compare numbers with each other. Each keeps only what the comparison needs."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from phonesys.inventory.audit.finding import Severity
from phonesys.inventory.audit.rule import Problem, make_inventory_rule
from phonesys.inventory.digits import forwarding_target, to_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.inventory.audit.context import AuditContext
    from phonesys.inventory.record import AccountKey
    from phonesys.record import NumberRecord

_SHOWN = 6


class _IndexCheck:
    """Base of the checks that need only the index of numbers."""

    def __init__(self, context: AuditContext) -> None:
        self.context = context

    def add(self, record: NumberRecord, /) -> None:
        """Do nothing: the audit has added the record to the index."""


class HeldTwice(_IndexCheck):
    """Several backends or accounts hold the same number."""

    def problems(self) -> Iterator[Problem]:
        """Yield each number that several carriers' accounts hold, or several overlays' accounts."""
        index = self.context.numbers
        for number, holders in chain(index.carriers.repeated(), index.overlays.repeated()):
            accounts = tuple(dict.fromkeys(holders))
            if len(accounts) > 1:
                yield Problem(number, accounts, f"held by {_listed(accounts)}")


class ListedTwice(_IndexCheck):
    """An account lists the same number more than once."""

    def problems(self) -> Iterator[Problem]:
        """Yield each number with several rows in one account."""
        index = self.context.numbers
        for number, holders in chain(index.carriers.repeated(), index.overlays.repeated()):
            for account, rows in Counter(holders).items():
                if rows > 1:
                    yield Problem(number, (account,), f"{rows} rows with these digits")


class NotHeld(_IndexCheck):
    """No carrier holds the agent's number."""

    def problems(self) -> Iterator[Problem]:
        """Yield each overlay's number without a carrier, if all accounts of the carriers were read."""
        index = self.context.numbers
        carriers, overlays = index.carriers.backends, index.overlays.backends
        if not carriers or any(backend not in overlays for backend, _ in self.context.incomplete):
            return
        for number, record in index.overlay_records.items():
            if number not in index.carriers:
                account = record.backend, record.account
                yield Problem(record.number, (account,), f"not among the numbers of {', '.join(carriers)}")


def _listed(accounts: tuple[AccountKey, ...]) -> str:
    shown = [f"{backend} {account}" for backend, account in accounts[:_SHOWN]]
    rest = f" and {len(accounts) - _SHOWN} more" if len(accounts) > _SHOWN else ""
    return ", ".join(shown) + rest


class ForwardsInCircle:
    """The number's forwarding ends in a circle: callers reach no one."""

    def __init__(self, context: AuditContext) -> None:
        self._targets: dict[int, dict[int, NumberRecord]] = {}

    def add(self, record: NumberRecord, /) -> None:
        """Remember where it forwards to. Forwarding to itself has a rule of its own."""
        target, number = forwarding_target(record), to_digits(record.number)
        if target is not None and number is not None and target != number:
            self._targets.setdefault(number, {})[target] = record

    def problems(self) -> Iterator[Problem]:
        """Yield each number whose forwarding never ends."""
        circles = self._circles()
        for number, targets in circles.items():
            record = next(iter(targets.values()))
            yield Problem(record.number, ((record.backend, record.account),), _path(number, circles))

    def _circles(self) -> dict[int, dict[int, NumberRecord]]:
        """Drop forwarding that ends somewhere, until only circles are left."""
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


def _path(number: int, circles: dict[int, dict[int, NumberRecord]]) -> str:
    """Return the path of a call, until it repeats or the line is full."""
    path = [number]
    while len(path) <= _SHOWN:
        path.append(next(iter(circles[path[-1]])))
        if path[-1] in path[:-1]:
            return " \N{RIGHTWARDS ARROW} ".join(f"+{one}" for one in path)
    return " \N{RIGHTWARDS ARROW} ".join([*(f"+{one}" for one in path), "\N{HORIZONTAL ELLIPSIS}"])


class _Defaults:
    """Collects the default numbers of every account whose vendor names them."""

    def __init__(self, context: AuditContext) -> None:
        self.context = context
        self.defaults: dict[AccountKey, tuple[str, ...]] = {}

    def add(self, record: NumberRecord, /) -> None:
        """Remember the account, and the number if it is a default."""
        if record.is_default is not None:
            account = record.backend, record.account
            others = self.defaults.get(account, ())
            self.defaults[account] = (*others, record.number) if record.is_default else others


class DefaultMissing(_Defaults):
    """An account has numbers, but no default."""

    def problems(self) -> Iterator[Problem]:
        """Yield each account without a default, if it was read completely."""
        for account, numbers in self.defaults.items():
            if not numbers and account not in self.context.incomplete:
                yield Problem(None, (account,), "none of its numbers is the default")


class DefaultDoubled(_Defaults):
    """An account has several default numbers."""

    def problems(self) -> Iterator[Problem]:
        """Yield each account with several defaults."""
        for account, numbers in self.defaults.items():
            if len(numbers) > 1:
                shown = ", ".join(numbers[:_SHOWN])
                yield Problem(None, (account,), f"{len(numbers)} defaults: {shown}")


class Incomplete(_IndexCheck):
    """An account was not read completely: some of its numbers are missing here."""

    def problems(self) -> Iterator[Problem]:
        """Yield each account that was not read completely, with the reason."""
        for account, reason in self.context.incomplete.items():
            evidence = reason if account[1] else f"its list of accounts could not be read: {reason}"
            yield Problem(None, (account,), evidence)


RULES = (
    make_inventory_rule(
        "incomplete-account",
        Severity.WARNING,
        advice="Sweep it again; findings about its missing numbers are unknown.",
        within_accounts=True,
    )(Incomplete),
    make_inventory_rule(
        "held-twice",
        Severity.WARNING,
        advice="Find out which account really holds it, and remove it from the others.",
        within_accounts=True,
    )(HeldTwice),
    make_inventory_rule(
        "listed-twice",
        Severity.WARNING,
        advice="Ask the vendor which of the rows is real, and have the others removed.",
        within_accounts=True,
    )(ListedTwice),
    make_inventory_rule(
        "not-held",
        Severity.WARNING,
        advice="Find out who holds the number, or unassign it: its agent may never be called.",
    )(NotHeld),
    make_inventory_rule(
        "forwards-in-circle",
        Severity.CRITICAL,
        advice="Break the circle: forward one of them to a user, an agent, or a number outside the circle.",
    )(ForwardsInCircle),
    make_inventory_rule(
        "default-missing",
        Severity.WARNING,
        advice="Choose the number that the account calls and sends messages from.",
        within_accounts=True,
    )(DefaultMissing),
    make_inventory_rule(
        "default-doubled",
        Severity.WARNING,
        advice="Keep one of them as the default.",
        within_accounts=True,
    )(DefaultDoubled),
)
