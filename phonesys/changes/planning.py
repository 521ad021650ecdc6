"""Planning: desired states against the state of the numbers, and all errors at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from phonesys._validation import validate_e164
from phonesys.changes.change import AccountShare, ChangeRequest, Plan, PlannedChange
from phonesys.changes.effects import create_effects, delete_effects, update_effects
from phonesys.changes.holdings import Holdings, read_live, read_snapshot
from phonesys.changes.values import (
    COLUMNS,
    IDENTITY,
    OBSERVED,
    encodable,
    new_number_rule,
    parse_value,
    same_cell,
    same_value,
)
from phonesys.errors import InvalidArgument, LineError, PhonesysError, PlanError
from phonesys.provider import ChangesNumbers, ChecksFields, ListsAgents, OffersNumbers
from phonesys.sweep import Source, Sweep
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.change_rules import ChangeRules, NewNumberRule
    from phonesys.changes.change import Reading
    from phonesys.changes.holdings import AccountsByBackend, Held, SnapshotSource
    from phonesys.provider import NumberProvider
    from phonesys.sweep import Accounts
    from phonesys.telemetry.observers import Observers
    from phonesys.writes import Value

Changes: TypeAlias = Iterable[ChangeRequest] | AsyncIterable[ChangeRequest]

_MAX_SHOWN = 3
_LOOKUPS = 8  # at a time


async def make_plan(
    changes: Changes,
    providers: Mapping[str, NumberProvider],
    *,
    accounts: Mapping[str, Accounts],
    snapshot: SnapshotSource | None,
    concurrency: int,
    observers: Observers,
) -> Plan:
    """Return the plan that reaches the desired states. Raise PlanError, which lists every error.

    `accounts` are read, by backend, where a change does not name its account.
    """
    wanted = [change async for change in changes] if isinstance(changes, AsyncIterable) else list(changes)
    return await Planner(wanted, providers, accounts, observers).plan(snapshot, concurrency)


@dataclass
class Draft:
    """A change that is being planned."""

    change: ChangeRequest
    action: Action
    backend: str
    account: str
    held: Held | None = None
    new: dict[str, Value] = field(default_factory=dict[str, "Value"])
    lines: list[int | None] = field(default_factory=list[int | None])
    cost: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Identify the number."""
        number = self.held.record.id if self.held else self.change.number or ""
        return self.backend, self.account, number


class Planner:
    """Plans some changes."""

    def __init__(
        self,
        changes: list[ChangeRequest],
        providers: Mapping[str, NumberProvider],
        accounts: Mapping[str, Accounts],
        observers: Observers,
    ) -> None:
        self._changes = changes
        self._providers = providers
        self._accounts = accounts
        self._observers = observers
        self._rules: dict[str, ChangeRules] = {
            name: provider.change_rules
            for name, provider in providers.items()
            if isinstance(provider, ChangesNumbers)
        }
        self._errors: list[LineError] = []
        self._drafts: list[Draft] = []
        self._updates: dict[tuple[str, str, str], Draft] = {}
        self._deleted: dict[tuple[str, str, str], Draft] = {}
        self._made: dict[tuple[str, str, str], Draft] = {}
        self._unchanged = 0
        self._ignored: dict[str, None] = {}
        self._agents: dict[str, dict[str, str]] = {}
        self._holdings = Holdings((), self._rules)

    async def plan(self, snapshot: SnapshotSource | None, concurrency: int) -> Plan:
        """Validate, read, compare, and look up what only the vendors know."""
        sound = [change for change in self._changes if self._is_sound(change)]
        self._holdings = Holdings(sound, self._rules)
        accounts = await self._accounts_of_new_numbers(sound)
        reading = await self._read(sound, accounts, snapshot, concurrency)
        for change in sound:
            with self._collect(change):
                if change.action in {Action.CREATE, Action.BUY}:
                    self._draft_new(change, accounts)
                else:
                    self._draft_held(change)
        await self._look_up()
        if self._errors:
            raise PlanError(errors=sorted(self._errors, key=lambda error: error.line or 0))
        await self._name_agents()
        return self._as_plan(reading)

    # Validation without any request

    @contextmanager
    def _collect(self, change: ChangeRequest) -> Generator[None]:
        """Collect the errors of a change, so that all are reported at once."""
        try:
            yield
        except PlanError as several:
            self._errors += several.errors
        except PhonesysError as error:
            self._errors.append(LineError(change.line, str(error)))

    def _is_sound(self, change: ChangeRequest) -> bool:
        before = len(self._errors)
        with self._collect(change):
            self._check_identity(change)
            self._check_columns(change)
        return len(self._errors) == before

    def _check_identity(self, change: ChangeRequest) -> None:
        is_new = change.action in {Action.CREATE, Action.BUY}
        _check_types(change)
        if change.backend is not None and change.backend not in self._providers:
            known = _words(self._providers)
            raise InvalidArgument(f"no backend is named {change.backend!r}; there are: {known}")
        if is_new and change.backend is None:
            raise InvalidArgument(f"{change.action}: expected a backend, one of {_words(self._providers)}")
        if change.backend is not None and change.backend not in self._rules:
            raise InvalidArgument(f"backend {change.backend!r} cannot carry out plans")
        if is_new and change.number:
            validate_e164(change.number, "number")
        if not is_new and not (change.number or change.id):
            raise InvalidArgument("expected a number or an id")

    def _check_columns(self, change: ChangeRequest) -> None:
        """Raise InvalidArgument for a name that is neither a column nor a word of a backend."""
        rules = [self._rules[change.backend]] if change.backend else list(self._rules.values())
        known = COLUMNS.union(*(one.fields for one in rules))
        for name in change.fields:
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InvalidArgument(f"no column is named {name!r}{hint}")

    # Reading

    async def _accounts_of_new_numbers(self, changes: Iterable[ChangeRequest]) -> dict[str, str]:
        """Return the account of each backend in which new numbers are made, if it has only one."""
        found: dict[str, str] = {}
        unnamed = [c for c in changes if c.action in {Action.CREATE, Action.BUY} and c.account is None]
        for change in unnamed:
            backend = change.backend or ""
            if backend in found:
                continue
            with self._collect(change):
                accounts = await self._first_accounts(backend)
                if len(accounts) == 1:
                    found[backend] = accounts[0]
        return found

    async def _first_accounts(self, backend: str) -> list[str]:
        """Return up to two accounts of a backend."""
        given = self._accounts.get(backend)
        if given is not None:
            return list(given)[:2] if isinstance(given, Collection) else []
        accounts: list[str] = []
        listed = self._providers[backend].accounts()
        try:
            async for account in listed:
                accounts.append(account)
                if len(accounts) > 1:
                    break
        finally:
            if isinstance(listed, AsyncGenerator):
                await cast("AsyncGenerator[str]", listed).aclose()
        return accounts

    async def _read(
        self,
        changes: list[ChangeRequest],
        accounts: Mapping[str, str],
        snapshot: SnapshotSource | None,
        concurrency: int,
    ) -> Reading:
        scope: AccountsByBackend = {}
        for change in changes:
            account = change.account or accounts.get(change.backend or "")
            is_new = change.action in {Action.CREATE, Action.BUY}
            for name in [change.backend] if change.backend else self._rules:
                known = scope.setdefault(name, set())
                # One credential reads its account under any name, so that a name alone does not tell
                # which backend is meant.
                is_certain = is_new or change.backend is not None or len(self._rules) == 1
                if account is not None and known is not None and is_certain:
                    known.add(account)
                elif not is_new:
                    scope[name] = None
        scope = {name: known for name, known in scope.items() if known is None or known}
        if snapshot is not None:
            return await read_snapshot(self._holdings, snapshot, scope)
        sources = [
            Source(name, self._providers[name], self._accounts.get(name) if known is None else sorted(known))
            for name, known in scope.items()
        ]
        sweep = Sweep(sources, concurrency=concurrency, observers=self._observers)
        return await read_live(self._holdings, sweep)

    # Numbers that are held

    def _draft_held(self, change: ChangeRequest) -> None:
        held = self._resolve(change)
        record = held.record
        rules = self._rules[record.backend]
        draft = Draft(change, change.action, record.backend, record.account, held, lines=[change.line])
        if change.action is Action.DELETE:
            self._draft_delete(draft, rules)
            return
        draft.new = self._differences(change, held, rules)
        earlier = self._updates.setdefault(draft.key, draft)
        if draft.key in self._deleted:
            raise InvalidArgument(f"{record.number} is deleted by {_line(self._deleted[draft.key])}")
        if earlier is draft:
            self._drafts.append(draft)
        else:
            _merge(earlier, draft)

    def _draft_delete(self, draft: Draft, rules: ChangeRules) -> None:
        number = draft.held.record.number if draft.held else ""
        if not rules.deletes:
            raise InvalidArgument(f"{number}: {rules.vendor} documents no way to delete a number")
        if (update := self._updates.get(draft.key)) is not None and update.new:
            raise InvalidArgument(f"{number} is changed by {_line(update)}, and cannot be deleted as well")
        if self._deleted.setdefault(draft.key, draft) is draft:
            self._drafts.append(draft)

    def _resolve(self, change: ChangeRequest) -> Held:
        """Return the number that a change means. Raise InvalidArgument if there is none, or several."""
        name = change.number or f"id {change.id}"
        found = self._holdings.find(change)
        if len(found) > 1:
            places = [f"{one.record.backend} {one.record.account} (id {one.record.id})" for one in found]
            raise InvalidArgument(
                f"{name} is held more than once: {_shortened(places)}; name its backend, account or id"
            )
        if not found:
            raise InvalidArgument(self._not_found(name, change))
        record = found[0].record
        if change.id and change.number and not same_cell(change.number, record.number):
            raise InvalidArgument(f"id {change.id} is {record.number}, and not {change.number}")
        return found[0]

    def _not_found(self, name: str, change: ChangeRequest) -> str:
        where = " ".join(filter(None, (change.backend, change.account)))
        if gaps := self._holdings.gaps(change.backend, change.account):
            return f"{name} was not found, but not everything could be read: {_shortened(gaps)}"
        return f"{name} is not held{f' by {where}' if where else ''}"

    def _differences(self, change: ChangeRequest, held: Held, rules: ChangeRules) -> dict[str, Value]:
        """Return the fields to set. Raise PlanError for those that cannot be."""
        new: dict[str, Value] = {}
        errors: list[LineError] = []
        for name, raw in change.fields.items():
            problem: str | None = None
            if name in rules.update:
                try:
                    new |= self._new_value(name, raw, held, rules)
                except InvalidArgument as error:
                    problem = str(error)
            elif name not in OBSERVED and not same_cell(raw, getattr(held.record, name, None)):
                if rules.follows.get(name) in change.fields:
                    self._ignored[name] = None
                else:
                    problem = _refusal(name, raw, held, rules)
            if problem is not None:
                errors.append(LineError(change.line, f"{held.record.number}: {problem}"))
        if errors:
            raise PlanError(errors=errors)
        return new

    @staticmethod
    def _new_value(name: str, raw: Value, held: Held, rules: ChangeRules) -> dict[str, Value]:
        """Return the value to set, by name, or nothing if the number already has it."""
        current = held.values.get(name)
        if name in held.values and same_cell(raw, current):
            return {}
        if name not in held.values and (raw is None or not str(raw).strip()):
            return {}  # neither the cell nor the vendor says anything
        value = parse_value(raw, name, rules.fields[name])
        return {} if name in held.values and same_value(value, current) else {name: value}

    # Numbers that do not exist yet

    def _draft_new(self, change: ChangeRequest, accounts: Mapping[str, str]) -> None:
        backend = change.backend or ""
        rules = self._rules[backend]
        rule = new_number_rule(rules, change.action)
        if rule is None:
            raise InvalidArgument(f"{rules.vendor} documents no way to {change.action} a number")
        account = change.account or accounts.get(backend)
        if account is None:
            raise InvalidArgument(f"{change.action}: expected an account of {backend}, which has several")
        new = _new_fields(change, rules, rule)
        draft = Draft(change, change.action, backend, account, new=new, lines=[change.line])
        if self._is_made(draft, rules):
            self._unchanged += 1
            return
        if gaps := self._holdings.gaps(backend, account):
            raise InvalidArgument(
                f"{change.number or 'the number'} may be held already, since not everything could be read: "
                f"{_shortened(gaps)}"
            )
        name = (backend, account, change.number or f"a number labelled {new.get('label')}")
        if (twin := self._made.setdefault(name, draft)) is not draft:
            raise InvalidArgument(f"{name[2]} is asked for by {_line(twin)}, too")
        self._drafts.append(draft)

    def _is_made(self, draft: Draft, rules: ChangeRules) -> bool:
        """Return True if the number exists as it is to be made. Raise InvalidArgument if it differs."""
        change = draft.change
        place = msgspec.structs.replace(change, account=draft.account, id=None)
        if change.number:
            found = [one for one in self._holdings.find(place) if self._key_of(one) not in self._deleted]
        else:
            found = self._holdings.labelled(draft.backend, draft.account, str(draft.new.get("label")))
        for held in found:
            shared = draft.new.keys() & held.values.keys()
            if all(same_value(draft.new[name], held.values[name]) for name in shared):
                return True
            differing = [
                name for name in sorted(shared) if not same_value(draft.new[name], held.values[name])
            ]
            have = ", ".join(f"{name} {held.values[name]}" for name in differing)
            hint = f"; to change that, set {', '.join(differing)} with an update" if rules.update else ""
            raise InvalidArgument(
                f"{held.record.number} is held already (id {held.record.id}), with {have}{hint}"
            )
        return False

    @staticmethod
    def _key_of(held: Held) -> tuple[str, str, str]:
        return held.record.backend, held.record.account, held.record.id

    # Facts that only the vendors know

    async def _look_up(self) -> None:
        limit = asyncio.Semaphore(_LOOKUPS)

        async def run(draft: Draft, work: Any) -> None:
            async with limit:
                with self._collect(draft.change):
                    await work

        checks = [run(draft, work) for draft, work in self._lookups()]
        await asyncio.gather(*checks)

    def _lookups(self) -> Iterator[tuple[Draft, Any]]:
        checked: set[tuple[str, str, str, Value]] = set()
        for draft in self._drafts:
            provider, rules = self._providers[draft.backend], self._rules[draft.backend]
            for name, value in draft.new.items():
                where = (draft.backend, draft.account, name, value)
                if rules.fields[name].checked and value is not None and where not in checked:
                    checked.add(where)
                    if isinstance(provider, ChecksFields):
                        yield draft, _check(provider, draft, name, value)
            if draft.action is Action.BUY and isinstance(provider, OffersNumbers) and draft.change.number:
                yield draft, _ask_price(provider, draft)

    async def _name_agents(self) -> None:
        """List the agents of each backend where a change assigns one. No plan fails for a lack of names."""
        routes = {(draft.backend, self._rules[draft.backend].route) for draft in self._drafts}
        for backend, route in sorted((name, route) for name, route in routes if route is not None):
            provider = self._providers[backend]
            assigns = any(one.backend == backend and one.new.get(route) for one in self._drafts)
            if assigns and isinstance(provider, ListsAgents):
                with suppress(PhonesysError):
                    found = {str(one.id): getattr(one, "name", None) for one in await provider.agents()}
                    self._agents[backend] = {id_: encodable(name) for id_, name in found.items() if name}

    # The plan

    def _as_plan(self, reading: Reading) -> Plan:
        drafts = [draft for draft in self._drafts if draft.action is not Action.UPDATE or draft.new]
        self._unchanged += len(self._drafts) - len(drafts)
        changes = tuple(self._planned(position, draft) for position, draft in enumerate(drafts, 1))
        return Plan(
            created_at=datetime.now(UTC),
            reading=reading,
            changes=changes,
            unchanged=self._unchanged,
            ignored=tuple(sorted(self._ignored)),
            shares=self._shares(changes),
        )

    def _planned(self, position: int, draft: Draft) -> PlannedChange:
        rules = self._rules[draft.backend]
        record = draft.held.record if draft.held else None
        name = self._holdings.names.get((draft.backend, draft.account))
        label = record.label if record else draft.new.get("label")
        change = PlannedChange(
            position=position,
            action=draft.action,
            backend=draft.backend,
            account=draft.account,
            id=record.id if record else None,
            number=encodable(record.number if record else draft.change.number) or None,
            label=encodable(label) if isinstance(label, str) else None,
            account_name=encodable(name or (record.account_name if record else None)),
            old=dict(draft.held.values) if draft.held else {},
            new=draft.new,
            names=self._names(draft),
            cost=draft.cost,
            line=draft.lines[0],
        )
        if record is None:
            return create_effects(change, rules)
        effects = delete_effects if draft.action is Action.DELETE else update_effects
        return effects(change, rules, is_routed=record.is_routed)

    def _names(self, draft: Draft) -> dict[str, str]:
        """Return the names of the agents from which, and to which, the number is assigned."""
        agents, route = self._agents.get(draft.backend, {}), self._rules[draft.backend].route
        if route is None or route not in draft.new:
            return {}
        old = draft.held.values.get(route) if draft.held else None
        return {str(one): agents[str(one)] for one in (old, draft.new[route]) if str(one) in agents}

    def _shares(self, changes: Iterable[PlannedChange]) -> tuple[AccountShare, ...]:
        touched = Counter((one.backend, one.account) for one in changes if one.id is not None)
        return tuple(
            AccountShare(
                backend=backend, account=account, held=self._holdings.counts[backend, account], touched=count
            )
            for (backend, account), count in sorted(touched.items())
        )


def _check_types(change: ChangeRequest) -> None:
    texts = {name: getattr(change, name) for name in ("number", "id", "backend", "account")}
    for name, value in texts.items():
        if not isinstance(value, str | None):
            raise InvalidArgument(f"{name}: expected text, got {value!r:.80}")
    for name, value in change.fields.items():
        if not isinstance(value, str | bool | None):
            raise InvalidArgument(f"{name}: expected text, true or false, got {value!r:.80}")


def _new_fields(change: ChangeRequest, rules: ChangeRules, rule: NewNumberRule) -> dict[str, Value]:
    """Return the fields of a number that is to be made. Raise PlanError for those that cannot be set."""
    new: dict[str, Value] = {}
    errors: list[LineError] = []
    for name, raw in change.fields.items():
        if raw is None or not str(raw).strip():
            continue
        problem: str | None = None
        if name in rule.fields:
            try:
                new[name] = parse_value(raw, name, rules.fields[name])
            except InvalidArgument as error:
                problem = str(error)
        elif name in IDENTITY:
            problem = f"{name} identifies a number, and is not one of its fields"
        elif name not in OBSERVED:
            problem = f"{rules.vendor} documents no way to {change.action} a number with its {name} set"
        if problem is not None:
            errors.append(LineError(change.line, f"{change.number or 'new number'}: {problem}"))
    missing = [name for name in rule.required if name not in new and not errors]
    missing += ["number"] if rule.needs_number and not change.number else []
    if missing:
        text = f"{change.action} at {rules.vendor}: expected {', '.join(missing)}"
        errors.append(LineError(change.line, text))
    if errors:
        raise PlanError(errors=errors)
    return new


def _merge(earlier: Draft, later: Draft) -> None:
    """Add the fields of another line to the change of the same number."""
    for name, value in later.new.items():
        if name in earlier.new and not same_value(earlier.new[name], value):
            number = later.held.record.number if later.held else ""
            raise InvalidArgument(f"{number}: {name} is set to another value by {_line(earlier)}")
    earlier.new |= later.new
    earlier.lines += later.lines


async def _check(provider: ChecksFields, draft: Draft, name: str, value: Value) -> None:
    if (problem := await provider.check_field(draft.account, name, value)) is not None:
        number = draft.held.record.number if draft.held else draft.change.number or "new number"
        raise InvalidArgument(f"{number}: {problem}")


async def _ask_price(provider: OffersNumbers, draft: Draft) -> None:
    number = draft.change.number or ""
    offer = await provider.offer(draft.account, number, draft.new)
    if not offer.available:
        raise InvalidArgument(f"{number} is not for sale at {draft.backend}")
    draft.cost = offer.price


def _refusal(name: str, raw: Value, held: Held, rules: ChangeRules) -> str:
    if name in IDENTITY:
        return f"{name} identifies a number, and is not changed"
    if name in rules.follows:
        return f"{name} follows from {rules.follows[name]}: set {rules.follows[name]}"
    current = getattr(held.record, name, None)
    text = "empty" if raw is None or raw == "" else repr(raw)
    return f"{rules.refusal(name)}; it is {current!s}, and not {text}: leave the column out to ignore it"


def _line(draft: Draft) -> str:
    return "another change" if draft.lines[0] is None else f"line {draft.lines[0]}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _shortened(items: list[str]) -> str:
    more = len(items) - _MAX_SHOWN
    return "; ".join([*items[:_MAX_SHOWN], *([f"and {more} more"] if more > 0 else [])])
