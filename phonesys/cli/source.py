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
from typing import TYPE_CHECKING, Any, cast

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter
from phonesys.cli.groups import BackendOptions, FailureOptions, restrict_accounts
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountsFilterOption,
    BackendsOption,
    CountryFilterOption,
    FolderOption,
    PoolsOption,
    SnapshotOption,
    StatusFilterOption,
    StoreOption,
)
from phonesys.cli.problems import UnreadableRows, report_snapshot, write_incomplete
from phonesys.cli.store import default_store, find_snapshot, open_snapshots
from phonesys.cli.terminal import print_error, stderr_is_live
from phonesys.errors import PhonesysError, UsageError
from phonesys.inventory import (  # a dataclass has the first and the third
    AccountOutcome,
    NoSnapshot,
    NumberRecord,
    account_outcomes,
    incomplete_accounts,
    sweep_records,
)
from phonesys.inventory.audit import AuditContext, Rule, all_rules
from phonesys.inventory.protocol import (  # noqa: TC001 -- a dataclass has them
    ReadableSnapshot,
    SnapshotSource,
)
from phonesys.provider import ListsAgents
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from phonesys.config import ConfiguredBackend
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
    snapshot: tuple[SnapshotSource[ReadableSnapshot], ReadableSnapshot] | None = None
    """The place of the snapshot that is read, and the snapshot, if it is one."""

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
    folder: FolderOption = None
    snapshot: SnapshotOption = None
    backend: BackendsOption = None
    account: AccountsFilterOption = None
    status: StatusFilterOption = None
    country: CountryFilterOption = None
    with_pools: PoolsOption = None

    def open_source(self) -> AbstractAsyncContextManager[RecordSource]:
        """Return a source that is open while its block runs; raise UsageError for conflicting options."""
        self.check()
        accepted = NumberFilter.parse(self.status, self.country, self.account, self.backend)
        store = self._store()
        if store is not None or self.folder is not None:
            return open_snapshot(store, self.folder, self.snapshot, accepted)
        if self.snapshot is not None:
            raise UsageError("--snapshot: needs --store or --folder, where it is")
        return self._from_sweep(accepted)

    def _store(self) -> str | None:
        if self.store is not None or self.folder is not None:
            holder = "--folder" if self.store is None else "--store"
            self.check_snapshot(holder, with_pools=self.with_pools)
            return self.store
        given = self.vendor_options(with_pools=self.with_pools)
        # Naming a backend is reason to read it, unless a store is named too.
        if self.backend is not None or given not in ([], ["--config"]):
            return None
        return default_store() if not given else self.read().store()

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
async def open_snapshot(
    store: str | None, folder: Path | None, which: str | None, accepted: NumberFilter
) -> AsyncGenerator[RecordSource]:
    """Open a snapshot of a store or a folder, the last by default, while the block runs."""
    async with open_snapshots(store, folder) as opened:
        snapshot = await find_snapshot(opened, which)
        inventory = cast("SnapshotSource[ReadableSnapshot]", opened)  # of the kind of the snapshot
        try:
            changes = inventory.diff(await inventory.previous(snapshot), snapshot)
        except NoSnapshot:
            changes = None
        outcomes = _covered(snapshot.accounts(), accepted)
        incomplete = await incomplete_accounts(outcomes)

        async def finish(failing: FailureOptions) -> int:
            await write_incomplete(failing.failures, incomplete)
            return report_snapshot(
                snapshot.id, incomplete, snapshot.gap, allow_incomplete=failing.allow_incomplete
            )

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
