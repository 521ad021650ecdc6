"""`phonesys providers`: installed and configured backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import ConfigOptions, LogOptions, RowOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, USAGE
from phonesys.config.backends import build
from phonesys.config.described import info_of
from phonesys.config.section import default_variable
from phonesys.errors import UsageError
from phonesys.provider import abilities, installed, load

if TYPE_CHECKING:
    from phonesys.config import ConfiguredBackend, Settings

_LISTS_NUMBERS = "list numbers"


class ProviderRow(msgspec.Struct, frozen=True):
    """One backend: a section of the configuration, or an installed one without a section."""

    name: str
    provider: str
    package: str
    ready: bool
    state: str
    abilities: tuple[str, ...]


def providers(*, origin: ConfigOptions, rows: RowOptions, log: LogOptions) -> None:
    """Show installed and configured backends, and their abilities."""

    async def main() -> int:
        rows.check(ProviderRow)
        settings = origin.read()
        found = [_configured(settings, name) for name in settings.sections]
        kinds = {row.provider for row in found}
        found += [_unconfigured(name) for name in sorted(installed()) if name not in kinds]
        await rows.write(ProviderRow, found, table=_table)
        failed = any(row.name in settings.sections and not row.ready for row in found)
        return USAGE if failed else DONE

    log.run(main)


def _table(found: list[ProviderRow]) -> Any:
    return ColumnTable(
        {
            "name": [row.name for row in found],
            "provider": [row.provider if row.provider != row.name else "" for row in found],
            "package": [row.package for row in found],
            "state": [row.state for row in found],
            "abilities": [", ".join(row.abilities) for row in found],
        }
    )


def _configured(settings: Settings, name: str) -> ProviderRow:
    kind = str(settings.sections[name].get("provider", name))
    try:
        made = build(settings.section(name))
    except UsageError as error:
        return ProviderRow(name, kind, _package(kind), False, str(error), ())
    can = (_LISTS_NUMBERS, *abilities(made.provider))
    return ProviderRow(name, kind, _package(kind), True, f"ready: {_accounts(made)}", can)


def _accounts(made: ConfiguredBackend) -> str:
    if made.account_count is not None:
        return pluralize(made.account_count, "account")
    if made.accounts is not None:
        return f"accounts from {made.accounts.name}"  # type: ignore[union-attr]
    return "needs --accounts" if made.accounts_problem else "lists its own accounts"


def _unconfigured(name: str) -> ProviderRow:
    try:
        factory = load(name)
    except Exception as error:  # noqa: BLE001 -- importing third-party code may raise anything
        state = f"cannot be imported: {type(error).__name__}: {error}"
        return ProviderRow(name, name, _package(name), False, state, ())
    info = info_of(factory)
    variable = f"${default_variable(name, info.credential)} or " if info else ""
    state = f"not configured: needs {variable}[{name}] in phonesys.toml"
    return ProviderRow(name, name, _package(name), False, state, (_LISTS_NUMBERS, *_class_abilities(factory)))


def _class_abilities(factory: object) -> tuple[str, ...]:
    """Return the abilities of a class, from an instance that was not initialized: it needs no credential."""
    return abilities(object.__new__(cast("type[Any]", factory))) if isinstance(factory, type) else ()


def _package(kind: str) -> str:
    entry = installed().get(kind)
    return f"{entry.dist.name} {entry.dist.version}" if entry is not None and entry.dist is not None else ""
