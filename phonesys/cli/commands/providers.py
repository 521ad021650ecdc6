"""`phonesys providers`: what is installed, what is configured, and what each can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from phonesys.cli import reading, rows, tables
from phonesys.cli.config import Configured, Settings, read
from phonesys.cli.config.backends import BACKEND_SPECS, build
from phonesys.cli.config.section import default_variable
from phonesys.cli.options import As, Config  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import plural
from phonesys.cli.running import DONE, USAGE, run
from phonesys.errors import UsageError
from phonesys.provider import abilities, installed, load

if TYPE_CHECKING:
    from collections.abc import Coroutine

_LISTS = "list numbers"


class ProviderRow(msgspec.Struct, frozen=True):
    """One backend: a section of the configuration, or one that is installed and has no section."""

    name: str
    backend: str
    package: str
    ready: bool
    state: str
    can: tuple[str, ...]


def providers(*, config: Config = None, format_: As = Format.TABLE) -> None:
    """Show which backends are installed and configured, and what each can do."""

    def prepare() -> Coroutine[Any, Any, int]:
        return _show(read(config), format_)

    run(prepare)


async def _show(settings: Settings, format_: Format) -> int:
    found = [_configured(settings, name) for name in settings.sections]
    there = {row.backend for row in found}
    found += [_unconfigured(name) for name in sorted(installed()) if name not in there]
    with destination(None) as to:
        if format_ is Format.TABLE:
            await reading.draw(_table(found), to)
        else:
            await rows.write(ProviderRow, found, format_, to)
    wrong = any(row.name in settings.sections and not row.ready for row in found)
    return USAGE if wrong else DONE


def _table(found: list[ProviderRow]) -> Any:
    return tables.columns(
        {
            "name": [row.name for row in found],
            "backend": [row.backend if row.backend != row.name else "" for row in found],
            "package": [row.package for row in found],
            "state": [row.state for row in found],
            "can": [", ".join(row.can) for row in found],
        }
    )


def _configured(settings: Settings, name: str) -> ProviderRow:
    backend = str(settings.sections[name].get("backend", name))
    try:
        made = build(settings.section(name))
    except UsageError as mistake:
        return ProviderRow(name, backend, _package(backend), False, str(mistake), ())
    can = (_LISTS, *abilities(made.provider))
    return ProviderRow(name, backend, _package(backend), True, f"ready: {_accounts(made)}", can)


def _accounts(made: Configured) -> str:
    if made.known is not None:
        return plural(made.known, "account")
    if made.accounts is not None:
        return f"accounts from {made.accounts.name}"  # type: ignore[union-attr]
    return "give it --accounts" if made.unknown_accounts else "its own accounts"


def _unconfigured(name: str) -> ProviderRow:
    known = BACKEND_SPECS.get(name)
    variable = f"${default_variable(name, known.credential)} or " if known else ""
    state = f"not configured: needs {variable}[{name}] in phonesys.toml"
    try:
        can = (_LISTS, *_abilities_of(load(name)))
    except Exception as failure:  # noqa: BLE001 -- whatever importing other people's code raises
        state, can = f"cannot be imported: {type(failure).__name__}: {failure}", ()
    return ProviderRow(name, name, _package(name), False, state, can)


def _abilities_of(factory: object) -> tuple[str, ...]:
    """Ask for what a class can do through an object that was never set up: it needs no credential."""
    return abilities(object.__new__(cast("type[Any]", factory))) if isinstance(factory, type) else ()


def _package(backend: str) -> str:
    entry = installed().get(backend)
    return f"{entry.dist.name} {entry.dist.version}" if entry is not None and entry.dist is not None else ""
