"""`phonesys doctor`: check everything that a sweep needs."""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import aclosing
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from phonesys import __version__
from phonesys.cli.clock import clock_offset
from phonesys.cli.columns import ColumnTable
from phonesys.cli.options import ConfigOption, FormatOption  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import pluralize
from phonesys.cli.results import write_rows
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.store import default_store, existing_store
from phonesys.config import ConfiguredBackend, read_settings
from phonesys.config.accounts import AccountFile
from phonesys.config.backends import build
from phonesys.config.stores import redact_password
from phonesys.errors import Forbidden, PhonesysError, PhoneSystemMissing, Unauthorized
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
    from pathlib import Path

_EXTRAS = {
    "inventory": "sqlalchemy",
    "postgres": "asyncpg",
    "audit": "phonenumbers",
    "export": "pyarrow",
    "report": "jinja2",
    "crypto": "cryptography",
}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_MAX_OFFSET = 60
"""Seconds. Tokens are renewed a minute before they expire."""


class CheckRow(msgspec.Struct, frozen=True):
    """The result of one check."""

    check: str
    ok: bool
    state: str
    advice: str | None = None


class _Found(NamedTuple):
    """A backend of the configuration, or the reason why it cannot be used."""

    name: str
    backend: ConfiguredBackend | None
    error: str


def doctor(*, config: ConfigOption = None, format_: FormatOption = Format.TABLE) -> None:
    """Check the configuration, credentials, connection, clock and store.

    Reads one page of one account of each backend. The status is 1 if something is wrong.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        settings = read_settings(config)
        found = [_build(settings, name) for name in settings.sections]
        source = CheckRow(
            "configuration",
            bool(found),
            f"{settings.source}: {pluralize(len(found), 'backend')}",
            None if found else "write a phonesys.toml, or try `phonesys sweep --sandbox`",
        )
        return _check([_installation(), source], found, config, format_)

    run(prepare)


def _build(settings: Any, name: str) -> _Found:
    try:
        return _Found(name, build(settings.section(name)), "")
    except PhonesysError as error:
        return _Found(name, None, str(error))


async def _check(checks: list[CheckRow], found: list[_Found], config: Path | None, format_: Format) -> int:
    async with aclosing(_network_checks(found)) as network:
        checks += [check async for check in network]
    checks += [check async for check in _store_checks(config)]
    with destination(None) as to:
        await write_rows(CheckRow, checks, format_, to, table=_table)
    return DONE if all(check.ok for check in checks) else FAILED


async def _network_checks(found: list[_Found]) -> AsyncGenerator[CheckRow]:
    proxies = [name for name in _PROXIES if os.environ.get(name)]
    if proxies:
        yield CheckRow("proxy", True, f"the environment sets {', '.join(proxies)}")
    for one in found:
        if one.backend is None:
            yield CheckRow(f"backend {one.name}", False, one.error, "correct the configuration")
        else:
            yield await _check_backend(one.backend)
            async for check in _check_clock(one.backend):
                yield check


async def _check_backend(backend: ConfiguredBackend) -> CheckRow:
    """Read one page of the first account."""
    name = f"backend {backend.name}"
    if backend.accounts_problem:
        return CheckRow(name, False, backend.accounts_problem, "name the accounts")
    try:
        async with PhoneSystem(backend.provider):
            account = await _first_account(backend)
            if account is None:
                return CheckRow(
                    name, False, "the credential opens no account", "check whose credential it is"
                )
            page = await backend.provider.page(account)
    except PhoneSystemMissing as error:
        return CheckRow(name, True, f"reachable; {error}")
    except PhonesysError as error:
        return CheckRow(name, False, str(error), _advice(error))
    return CheckRow(
        name, True, f"account {account}: {pluralize(len(page.numbers), 'number')} on the first page"
    )


async def _first_account(backend: ConfiguredBackend) -> str | None:
    if isinstance(backend.accounts, AccountFile):
        listed: AsyncIterator[str] = aiter(backend.accounts)
    elif backend.accounts is None:
        listed = backend.provider.accounts()
    else:
        return next(iter(backend.accounts), None)
    return await anext(listed, None)


def _advice(error: PhonesysError) -> str | None:
    if isinstance(error, Unauthorized):
        return "the credential is not accepted: create a new one, or run `phonesys auth login` again"
    if isinstance(error, Forbidden):
        return "the credential lacks a scope, or may not open this account"
    return None


async def _check_clock(backend: ConfiguredBackend) -> AsyncGenerator[CheckRow]:
    offset = await clock_offset(backend.base_url) if backend.base_url else None
    if offset is not None and abs(offset) > _MAX_OFFSET:
        direction = "ahead of" if offset > 0 else "behind"
        state = f"{abs(offset):,.0f} s {direction} the clock of {backend.name}"
        yield CheckRow("clock", False, state, "synchronise it: tokens are renewed by the clock")


async def _store_checks(config: Path | None) -> AsyncGenerator[CheckRow]:
    store = default_store(config)
    if store is None:
        return
    from phonesys.inventory import Inventory

    try:
        async with asyncio.timeout(10), Inventory(existing_store(store), read_only=True) as inventory:
            count = len(await inventory.snapshots())
    except (PhonesysError, OSError) as error:
        yield CheckRow(
            "store",
            False,
            str(error) or f"{redact_password(store)}: no response",
            "check the path or the URL",
        )
    else:
        yield CheckRow("store", True, f"{redact_password(store)}: {pluralize(count, 'snapshot')}")


def _installation() -> CheckRow:
    missing = [extra for extra, module in _EXTRAS.items() if find_spec(module) is None]
    without = f"without the extras {', '.join(missing)}" if missing else "with every extra"
    versions = f"phonesys {__version__}, Python {platform.python_version()}, aiohttp {_version('aiohttp')}"
    advice = f"pip install 'phonesys[{','.join(missing)}]' for their commands" if missing else None
    return CheckRow("installation", True, f"{versions}, {without}", advice)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _table(checks: list[CheckRow]) -> ColumnTable:
    return ColumnTable(
        {
            "check": [check.check for check in checks],
            "ok": ["yes" if check.ok else "NO" for check in checks],
            "state": [check.state for check in checks],
            "advice": [check.advice or "" for check in checks],
        }
    )
