"""Checks of `phonesys doctor`: what a sweep needs, whether it is so, and what to type if it is not."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from phonesys import __version__
from phonesys.cli.probe import HostProbe, probe_host
from phonesys.cli.progress import pluralize
from phonesys.cli.store import default_store, existing_store
from phonesys.config.accounts import AccountFile
from phonesys.config.alerts import read_alerts
from phonesys.config.backends import build
from phonesys.config.described import info_of
from phonesys.config.oauth import read_subjects
from phonesys.config.store_urls import redact_password
from phonesys.errors import Forbidden, PhonesysError, PhoneSystemMissing, Unauthorized, Unsupported
from phonesys.inventory import Alerts
from phonesys.provider import HasPools, ListsAgents, load
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from phonesys.config import ConfiguredBackend, Settings
    from phonesys.config.oauth import AppSubject

_EXTRAS = {
    "inventory": "sqlalchemy",
    "postgres": "asyncpg",
    "audit": "phonenumbers",
    "export": "pyarrow",
    "report": "jinja2",
    "xlsx": "xlsxwriter",
    "crypto": "cryptography",
    "alerts": "apprise",
    "mcp": "mcp",
}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_NO_PROXIES = ("NO_PROXY", "no_proxy")
_MAX_OFFSET = 60
"""Seconds. Tokens are renewed a minute before they expire."""
_STORE_TIMEOUT = 10


class CheckRow(msgspec.Struct, frozen=True):
    """The result of one check."""

    check: str
    ok: bool
    state: str
    advice: str | None = None


async def all_checks(settings: Settings, names: list[str], config: Path | None) -> AsyncGenerator[CheckRow]:
    """Yield the checks of the installation, of these backends, and of the store."""
    yield _installation()
    yield _configuration(settings)
    yield _proxy()
    probes: dict[str, HostProbe] = {}
    for name in names:
        async with aclosing(_backend_checks(settings, name, probes)) as checks:
            async for check in checks:
                yield check
    for check in _clock(probes):
        yield check
    yield await _store(config)
    for check in _alerts(config):
        yield check


def _alerts(config: Path | None) -> Iterator[CheckRow]:
    """Check the destinations of alerts, if there are any. No message is sent."""
    try:
        settings = read_alerts(config)
        names = Alerts(settings.urls, **settings.options).names
    except PhonesysError as error:
        yield CheckRow("alerts", False, str(error), "correct the configuration")
    else:
        if names:
            state = f"to {', '.join(names)}; `phonesys watch --test-alerts` sends a test message"
            yield CheckRow("alerts", True, state)


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


def _configuration(settings: Settings) -> CheckRow:
    count = len(settings.sections)
    advice = None if count else "write a phonesys.toml, or try `phonesys sweep --sandbox`"
    return CheckRow("configuration", bool(count), f"{settings.source}: {pluralize(count, 'backend')}", advice)


def _proxy() -> CheckRow:
    named = next((name for name in _PROXIES if os.environ.get(name)), None)
    if named is None:
        return CheckRow("proxy", True, "none")
    place = _place_of_proxy(os.environ[named])
    if place is None:
        return CheckRow("proxy", False, f"{named} is not a proxy", f"{named}=http://HOST:PORT")
    bypass = next((f", except for those in {name}" for name in _NO_PROXIES if os.environ.get(name)), "")
    return CheckRow("proxy", True, f"{named}: requests go through {place}{bypass}")


def _place_of_proxy(url: str) -> str | None:
    """Return the host and port of a proxy without its credentials, or None for another URL."""
    try:
        proxy = urlsplit(url)
        is_valid = proxy.scheme in {"http", "https"} and bool(proxy.hostname) and (proxy.port or 1) > 0
    except ValueError:
        return None
    return f"{proxy.hostname}:{proxy.port}" if is_valid else None


async def _backend_checks(
    settings: Settings, name: str, probes: dict[str, HostProbe]
) -> AsyncGenerator[CheckRow]:
    try:
        backend = build(settings.section(name))
    except PhonesysError as error:
        yield CheckRow(f"backend {name}", False, str(error), f"correct [{name}] in {settings.source}")
        return
    if backend.base_url:
        probes[name] = await probe_host(backend.base_url)
        yield _connection(name, probes[name])
    for app in read_subjects(settings.section(name)):
        yield await _token(app, _required_scopes(backend.kind))
    async with aclosing(_read_checks(backend)) as checks:
        async for check in checks:
            yield check


def _connection(name: str, probe: HostProbe) -> CheckRow:
    through = f" through {probe.proxy}" if probe.proxy else ""
    if probe.problem is None:
        state = f"{probe.host} responds in {probe.elapsed * 1000:,.0f} ms{through}"
        return CheckRow(f"connection {name}", True, state)
    advice = "check the network, its DNS" + (
        " and the proxy" if through else ", and whether it needs HTTPS_PROXY"
    )
    return CheckRow(
        f"connection {name}", False, f"no response from {probe.host}{through}: {probe.problem}", advice
    )


def _required_scopes(kind: str) -> tuple[str, ...]:
    info = info_of(load(kind))
    return () if info is None or info.oauth is None else info.oauth.scopes


async def _token(app: AppSubject, required: tuple[str, ...]) -> CheckRow:
    """Check the stored token of an agency or a location that authorized an app."""
    check = f"token {app.backend} {app.subject}"
    login = "phonesys auth login"
    try:
        token = await app.store.load(app.key)
    except (PhonesysError, OSError) as error:
        return CheckRow(check, False, str(error), f"correct `store` of [{app.backend}.oauth], or {login}")
    if token is None:
        return CheckRow(check, False, f"{app.path} has none", login)
    granted = token.scope.split()
    missing = [scope for scope in required if granted and scope not in granted]
    if missing:
        return CheckRow(
            check, False, f"lacks the scope {' '.join(missing)}", f"add it to the app, then {login}"
        )
    if token.refresh is None and token.expires_at is not None and token.expires_at < time.time():
        return CheckRow(check, False, "expired, and cannot be renewed", login)
    expires = "" if token.expires_at is None else f", until {_moment(token.expires_at)}"
    return CheckRow(check, True, f"{pluralize(len(granted), 'scope')}{expires}")


def _moment(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M}Z"


async def _read_checks(backend: ConfiguredBackend) -> AsyncGenerator[CheckRow]:
    """Read one page of the first account, and what else the credential may need a scope for."""
    name = f"backend {backend.name}"
    if backend.accounts_problem:
        yield CheckRow(name, False, backend.accounts_problem, "name the accounts")
        return
    try:
        async with PhoneSystem(backend.provider):
            account = await _first_account(backend)
            if account is None:
                yield CheckRow(name, False, "the credential opens no account", "check whose credential it is")
                return
            page = await backend.provider.page(account)
            count = pluralize(len(page.numbers), "number")
            yield CheckRow(name, True, f"account {account}: {count} on the first page")
            for what, read in _other_reads(backend.provider, account):
                yield await _read(f"{what} {backend.name}", read)
    except PhoneSystemMissing as error:
        yield CheckRow(name, True, f"reachable; {error}")
    except PhonesysError as error:
        yield CheckRow(name, False, str(error), _advice(error))


def _other_reads(provider: Any, account: str) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    if isinstance(provider, HasPools):
        yield "pools", lambda: provider.pools(account)
    if isinstance(provider, ListsAgents):
        yield "agents", provider.agents


async def _read(check: str, read: Callable[[], Awaitable[Any]]) -> CheckRow:
    try:
        found = await read()
    except (PhoneSystemMissing, Unsupported) as error:
        return CheckRow(check, True, str(error))
    except PhonesysError as error:
        return CheckRow(check, False, str(error), _advice(error))
    return CheckRow(check, True, f"{len(found):,} can be read")


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


def _clock(probes: dict[str, HostProbe]) -> Iterator[CheckRow]:
    """Compare this clock with those of the hosts; each difference is told, or that there is none."""
    known = {name: probe.clock_offset for name, probe in probes.items() if probe.clock_offset is not None}
    for name, offset in known.items():
        if abs(offset) > _MAX_OFFSET:
            direction = "ahead of" if offset > 0 else "behind"
            state = f"{abs(offset):,.0f} s {direction} the clock of {name}"
            yield CheckRow("clock", False, state, "synchronise it: tokens are renewed by the clock")
            return
    if known:
        largest = max(map(abs, known.values()))
        yield CheckRow("clock", True, f"within {largest:,.0f} s of {pluralize(len(known), 'vendor')}")


async def _store(config: Path | None) -> CheckRow:
    store = default_store(config)
    if store is None:
        return CheckRow("store", True, "none", "export PHONESYS_STORE=inventory.db to keep sweeps")
    from phonesys.inventory import Inventory

    shown = redact_password(store)
    try:
        async with (
            asyncio.timeout(_STORE_TIMEOUT),
            Inventory(existing_store(store), read_only=True) as inventory,
        ):
            count = len(await inventory.snapshots())
    except (PhonesysError, OSError) as error:
        return CheckRow("store", False, str(error) or f"{shown}: no response", "check the path or the URL")
    return CheckRow("store", True, f"{shown}: {pluralize(count, 'snapshot')}")
