"""Phone systems as commands that change numbers open them: of the configuration, or of the sandbox."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from phonesys.errors import UsageError
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from pathlib import Path

    from phonesys.telemetry import Observer


@asynccontextmanager
async def open_phones(
    config: Path | None, names: Iterable[str], *, sandbox: bool, observers: Iterable[Observer] = ()
) -> AsyncGenerator[PhoneSystem]:
    """Open the backends of these names, or all: of the configuration, or over generated data."""
    if not sandbox:
        async with PhoneSystem.from_config(config, only=list(names) or None, observers=observers) as phones:
            yield phones
        return
    if config is not None:
        raise UsageError("--config: cannot be combined with --sandbox, which has its own")
    from phonesys.cli.sandbox import create_sandbox, sandbox_backends  # a web server

    async with create_sandbox() as server:
        backends = await sandbox_backends(server, list(names))
        async with PhoneSystem(*(one.provider for one in backends), observers=observers) as phones:
            yield phones
