"""Records for `audit`, `export` and `report`: from a store, a sweep, or a sweep of the sandbox."""

from __future__ import annotations

from collections.abc import (  # noqa: TC003 -- a dataclass has them
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
)
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter
from phonesys.cli.groups import BackendOptions, FailureOptions, restrict_accounts
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountsFilterOption,
    BackendsOption,
    CountryFilterOption,
    PoolsOption,
    StatusFilterOption,
    StoreOption,
)
from phonesys.cli.problems import UnreadableRows, report_snapshot, write_incomplete
from phonesys.cli.store import default_store, existing_store
from phonesys.cli.terminal import print_error, stderr_is_live
from phonesys.config import ConfiguredBackend, read_settings
from phonesys.errors import PhonesysError, UsageError
from phonesys.inventory import (  # a dataclass has the first four
    AccountOutcome,
    Inventory,
    NumberRecord,
    Snapshot,
    account_outcomes,
    incomplete_accounts,
    sweep_records,
)
from phonesys.inventory.audit import AuditContext, Rule, all_rules
from phonesys.provider import ListsAgents
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from phonesys.inventory import Change


@dataclass
class RecordSource:
    """Records, and what audits and reports need to know beside them."""

    records: AsyncGenerator[NumberRecord]
    accounts: AsyncIterable[AccountOutcome]
    context: AuditContext
    finish: Callable[[FailureOptions], Awaitable[int]]
    """Print and write what could not be read, and return the exit status."""
    changes: AsyncIterable[Change] | None = None
    snapshot: tuple[Inventory, Snapshot] | None = None
    """The store and the snapshot that is read, if it is one."""

    def audit_arguments(
        self, ignore: Sequence[str] | None, select: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of an audit; raise UsageError for a rule that does not exist."""
        chosen = {"rules": selected_rules(select)} if select else {}
        return {
            **chosen,
            "records": self.records,
            "accounts": self.accounts,
            "context": self.context,
            "ignore": ignore or (),
        }


def selected_rules(codes: Sequence[str]) -> list[Rule]:
    """Return the audit rules with these codes; raise UsageError for a code that no rule has."""
    rules = all_rules()
    if unknown := [code for code in codes if code not in rules]:
        raise UsageError(f"--select: unknown rule {unknown[0]!r:.60}; the rules are {', '.join(rules)}")
    return [rules[code] for code in dict.fromkeys(codes)]


@dataclass(frozen=True, kw_only=True)
class SourceOptions(BackendOptions):
    """Origin of records: a store, or a sweep; and which of them to use."""

    store: StoreOption = None
    backend: BackendsOption = None
    account: AccountsFilterOption = None
    status: StatusFilterOption = None
    country: CountryFilterOption = None
    with_pools: PoolsOption = None

    def open_source(self) -> AbstractAsyncContextManager[RecordSource]:
        """Return a source that is open while its block runs; raise UsageError for conflicting options."""
        self.check()
        accepted = NumberFilter.parse(self.status, self.country, self.account, self.backend)
        if (store := self._store()) is not None:
            return _from_store(store, accepted)
        return self._from_sweep(accepted)

    def _store(self) -> str | None:
        others = {
            "--config": self.config,
            "--sandbox": self.sandbox or None,
            "--with-pools": self.with_pools,
        }
        given = [name for name, value in others.items() if value is not None]
        if self.store is not None and given:
            raise UsageError(f"{given[0]}: cannot be combined with --store, which holds a sweep")
        if not given:
            # Naming a backend is reason to read it, unless a store is named too.
            return self.store or (default_store() if self.backend is None else None)
        return read_settings(self.config).store() if given == ["--config"] and self.backend is None else None

    @asynccontextmanager
    async def _from_sweep(self, accepted: NumberFilter) -> AsyncGenerator[RecordSource]:
        async with self.open(
            self.backend or [], {"with_pools": True}, with_pools=self.with_pools
        ) as configured:
            backends = restrict_accounts(configured, self.account)
            sweeping.require_accounts(backends)
            async with _sweep(backends, accepted) as source:
                yield source


@asynccontextmanager
async def _from_store(store: str, accepted: NumberFilter) -> AsyncGenerator[RecordSource]:
    from phonesys.inventory import Inventory, NoSnapshot

    async with Inventory(existing_store(store), read_only=True) as inventory:
        snapshot = await inventory.snapshot()
        try:
            changes = inventory.diff(await inventory.previous(snapshot), snapshot)
        except NoSnapshot:
            changes = None
        outcomes = _covered(snapshot.accounts(), accepted)
        incomplete = await incomplete_accounts(outcomes)

        async def finish(failing: FailureOptions) -> int:
            await write_incomplete(failing.failures, incomplete)
            return report_snapshot(snapshot.id, incomplete, allow_incomplete=failing.allow_incomplete)

        yield RecordSource(
            _accepted(snapshot.records(), accepted),
            _covered(snapshot.accounts(), accepted),
            AuditContext(),
            finish,
            None if changes is None else _accepted_changes(changes, accepted),
            # A trend would be that of all numbers.
            None if accepted else (inventory, snapshot),
        )


@asynccontextmanager
async def _sweep(backends: list[ConfiguredBackend], accepted: NumberFilter) -> AsyncGenerator[RecordSource]:
    async with PhoneSystem(*(one.provider for one in backends)) as phones:
        context = AuditContext(agents=await _agents(backends))
        sweep = phones.sweep({one.name: one.accounts for one in backends if one.accounts is not None})
        unreadable = UnreadableRows()
        live = stderr_is_live()
        shown = sweeping.progress_of(sweep.report, backends, live=True) if live else nullcontext()
        async with shown, sweep:
            yield RecordSource(
                _accepted(sweep_records(unreadable.pages(sweep), sweep.report.account_names), accepted),
                account_outcomes(sweep.report),
                context,
                lambda failing: failing.report(sweep.report, backends, unreadable),
            )


async def _accepted(
    records: AsyncGenerator[NumberRecord], accepted: NumberFilter
) -> AsyncGenerator[NumberRecord]:
    async with aclosing(records):
        async for record in records:
            if not accepted or accepted.accepts(record):
                yield record


async def _covered(
    accounts: AsyncGenerator[AccountOutcome], accepted: NumberFilter
) -> AsyncGenerator[AccountOutcome]:
    """Yield the outcomes of accounts, and of backends' lists of accounts, that the filter covers."""
    async with aclosing(accounts):
        async for one in accounts:
            if accepted.covers(one.backend, one.account) or (
                not one.account and accepted.covers_backend(one.backend)
            ):
                yield one


async def _accepted_changes(
    changes: AsyncGenerator[Change], accepted: NumberFilter
) -> AsyncGenerator[Change]:
    async with aclosing(changes):
        async for change in changes:
            if accepted.accepts_change(change):
                yield change


async def _agents(backends: list[ConfiguredBackend]) -> dict[str, tuple[Any, ...]]:
    """Return agents by backend. Without them, assignments cannot be checked."""
    found: dict[str, tuple[Any, ...]] = {}
    for one in backends:
        if isinstance(one.provider, ListsAgents):
            try:
                found[one.name] = await one.provider.agents()
            except PhonesysError as failure:
                print_error(f"assignments are not checked: {failure}")
    return found
