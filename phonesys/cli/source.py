"""Records for `audit`, `export` and `report`: from a store, a sweep, or a sweep of the sandbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable  # noqa: TC003 -- a dataclass has them
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phonesys.cli import sweeping
from phonesys.cli.problems import UnreadableRows, report_snapshot, report_sweep
from phonesys.cli.store import default_store, existing_store
from phonesys.cli.terminal import print_error, stderr_is_live
from phonesys.config import ConfiguredBackend, load_backends, read_settings
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
    from pathlib import Path

    from phonesys.inventory import Change


@dataclass
class RecordSource:
    """Records, and what audits and reports need to know beside them."""

    records: AsyncGenerator[NumberRecord]
    accounts: AsyncIterable[AccountOutcome]
    context: AuditContext
    finish: Callable[[bool], int]
    """Print what could not be read, and return the exit status; True allows incomplete results."""
    changes: AsyncIterable[Change] | None = None
    snapshot: tuple[Inventory, Snapshot] | None = None
    """The store and the snapshot that is read, if it is one."""

    def audit_arguments(
        self, ignore: Sequence[str] | None, select: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of an audit; raise UsageError for a rule that does not exist."""
        chosen = {"rules": _rules(select)} if select else {}
        return {
            **chosen,
            "records": self.records,
            "accounts": self.accounts,
            "context": self.context,
            "ignore": ignore or (),
        }


def _rules(codes: Sequence[str]) -> list[Rule]:
    rules = all_rules()
    if unknown := [code for code in codes if code not in rules]:
        raise UsageError(f"--select: unknown rule {unknown[0]!r:.60}; the rules are {', '.join(rules)}")
    return [rules[code] for code in dict.fromkeys(codes)]


def open_source(
    store: str | None,
    config: Path | None,
    names: list[str] | None,
    *,
    sandbox: bool,
    with_pools: bool | None = None,
) -> AbstractAsyncContextManager[RecordSource]:
    """Return a source that is open while its block runs; raise UsageError for conflicting options."""
    others = {
        "--config": config,
        "--backend": names,
        "--sandbox": sandbox or None,
        "--with-pools": with_pools,
    }
    given = [name for name, value in others.items() if value is not None]
    if store is not None and given:
        raise UsageError(f"{given[0]}: cannot be combined with --store, which holds a sweep")
    if not given:
        store = store or default_store()
    elif given == ["--config"]:
        store = read_settings(config).store()
    if store is not None:
        return _from_store(store)
    if sandbox:
        if config is not None:
            raise UsageError("--config: cannot be combined with --sandbox, which has its own")
        return _from_sandbox(names or [], with_pools)
    backends = load_backends(config, names or [], {"with_pools": True}, with_pools=with_pools)
    sweeping.require_accounts(backends)
    return _from_sweep(backends)


@asynccontextmanager
async def _from_store(store: str) -> AsyncGenerator[RecordSource]:
    from phonesys.inventory import Inventory, NoSnapshot

    async with Inventory(existing_store(store), read_only=True) as inventory:
        snapshot = await inventory.snapshot()
        try:
            changes = inventory.diff(await inventory.previous(snapshot), snapshot)
        except NoSnapshot:
            changes = None
        incomplete = await incomplete_accounts(snapshot.accounts())
        yield RecordSource(
            snapshot.records(),
            snapshot.accounts(),
            AuditContext(),
            lambda allowed: report_snapshot(snapshot.id, incomplete, allow_incomplete=allowed),
            changes,
            (inventory, snapshot),
        )


@asynccontextmanager
async def _from_sandbox(names: list[str], with_pools: bool | None) -> AsyncGenerator[RecordSource]:
    from phonesys.cli import sandbox  # a web server, which no other command needs

    async with sandbox.create_sandbox() as server:
        backends = await sandbox.sandbox_backends(server, names, with_pools=with_pools)
        async with _from_sweep(backends) as source:
            yield source


@asynccontextmanager
async def _from_sweep(backends: list[ConfiguredBackend]) -> AsyncGenerator[RecordSource]:
    async with PhoneSystem(*(one.provider for one in backends)) as phones:
        context = AuditContext(agents=await _agents(backends))
        sweep = phones.sweep({one.name: one.accounts for one in backends if one.accounts is not None})
        unreadable = UnreadableRows()
        live = stderr_is_live()
        shown = sweeping.progress_of(sweep.report, backends, live=True) if live else nullcontext()
        async with shown, sweep:
            yield RecordSource(
                sweep_records(unreadable.pages(sweep), sweep.report.account_names),
                account_outcomes(sweep.report),
                context,
                lambda allowed: report_sweep(sweep.report, backends, unreadable, allow_incomplete=allowed),
            )


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
