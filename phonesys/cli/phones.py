"""Phone systems as commands that change numbers open them: of the configuration, or of the sandbox."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from phonesys.cli.groups import ConfigOptions
    from phonesys.telemetry import Observer


@asynccontextmanager
async def open_phones(
    origin: ConfigOptions, names: Iterable[str], *, sandbox: bool, observers: Iterable[Observer] = ()
) -> AsyncGenerator[PhoneSystem]:
    """Open the backends of these names, or all: of the configuration, or over generated data."""
    if not sandbox:
        configured = PhoneSystem.from_config(
            origin.config, only=list(names) or None, token_store=origin.token_store, observers=observers
        )
        async with configured as phones:
            yield phones
        return
    origin.reject_with_sandbox()
    from phonesys.cli.sandbox import create_sandbox, sandbox_backends  # a web server

    async with create_sandbox() as server:
        backends = await sandbox_backends(server, list(names))
        async with PhoneSystem(*(one.provider for one in backends), observers=observers) as phones:
            yield phones
