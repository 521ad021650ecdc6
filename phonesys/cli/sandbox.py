"""The embedded sandbox, and the installed backends that can talk to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from phonesys.config import ConfiguredBackend
from phonesys.config.described import info_of
from phonesys.errors import UsageError
from phonesys.provider import RunsOnSandbox, installed, load
from phonesys.sandbox import FaultPlan, Sandbox
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phonesys.sweep import SweepReport

_CONNECTED_PER_UNCONNECTED = 40
_HEADER_TIMEOUT = 30.0  # seconds; a served sandbox is open to clients that never send a request


def create_sandbox(
    *,
    locations: int | None = None,
    seed: int | None = None,
    not_connected: int | None = None,
    latency: float | None = None,
    port: int = 0,
    faults: FaultPlan | None = None,
    log: Path | None = None,
) -> Sandbox:
    """Create a sandbox, with a latency like a vendor's by default; raise UsageError."""
    count = 300 if locations is None else locations
    try:
        return Sandbox(
            locations=count,
            seed=1 if seed is None else seed,
            not_connected=count // _CONNECTED_PER_UNCONNECTED if not_connected is None else not_connected,
            latency=0.1 if latency is None else latency,
            port=port,
            header_timeout=_HEADER_TIMEOUT,
            faults=faults or FaultPlan(),
            log_file=log,
        )
    except ValueError as error:
        raise UsageError(f"sandbox: {error}") from None


async def sandbox_backends(sandbox: Sandbox, names: Sequence[str], **options: Any) -> list[ConfiguredBackend]:
    """Return the installed backends over a running sandbox; raise UsageError for a name it does not have.

    `options` that are not None are for the backends that have them.
    """
    available = dict(_providers())
    if unknown := [name for name in names if name not in available]:
        raise UsageError(f"the sandbox has no backend {unknown[0]!r}; it has {', '.join(available)}")
    return [await _backend(available[name], sandbox, name, options) for name in names or available]


def _providers() -> Iterator[tuple[str, RunsOnSandbox]]:
    for name in installed():
        # A third-party package that cannot be imported must not break the sandbox; `providers` shows it.
        with contextlib.suppress(Exception):
            factory: Any = load(name)
            if isinstance(factory, RunsOnSandbox):
                yield name, factory


async def _backend(
    factory: RunsOnSandbox, sandbox: Sandbox, name: str, options: dict[str, Any]
) -> ConfiguredBackend:
    info = info_of(factory)
    keywords = {option.keyword for option in info.options} if info else set[str]()
    chosen = {key: value for key, value in options.items() if key in keywords and value is not None}
    provider = factory.from_sandbox(sandbox, **chosen)
    async with PhoneSystem(provider):
        accounts = [account async for account in provider.accounts()]
    return ConfiguredBackend(provider.name, name, provider, accounts)


def compare(sandbox: Sandbox, report: SweepReport, names: Sequence[str]) -> tuple[bool, str]:
    """Compare the numbers a sweep found in each backend with those the sandbox holds."""
    held = dict.fromkeys(names, 0)
    for (name, _), numbers in sandbox.truth.items():
        if name in held:
            held[name] += len(numbers)
    found = {name: report.numbers_by_provider[name] for name in names}
    agree = found == held
    return agree, (
        f"{report.numbers:,} numbers found; the sandbox holds {sum(held.values()):,}: "
        + ("they agree" if agree else "they differ")
    )
