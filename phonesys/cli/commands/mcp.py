"""`phonesys mcp`: serve assistants and agents on stdin and stdout."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys._extras import require_extra
from phonesys.cli import sweeping
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (
    BackendsOption,
    SandboxOption,
    refuse_password,
)
from phonesys.cli.running import DONE
from phonesys.cli.store import default_store, expand_store
from phonesys.cli.terminal import print_info
from phonesys.errors import UsageError
from phonesys.inventory import Inventory
from phonesys.mcp import Toolbox, Writer, read_tools, serve_stdio, write_tools
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from phonesys.config import ConfiguredBackend


def mcp(
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Store of snapshots, opened for reading only. "
            "[dim]Default: $PHONESYS_STORE or `store` in the configuration[/dim]",
            show_default=False,
            callback=refuse_password,
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Let assistants ask the vendors too.")
    ] = True,
    live_timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Longest time for one live answer.")
    ] = 60.0,
    allow_writes: Annotated[
        bool,
        typer.Option(
            "--allow-writes", help="Let assistants plan changes, and apply a plan by a second call."
        ),
    ] = False,
    sandbox: SandboxOption = False,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    log: LogOptions,
) -> None:
    """Serve assistants and agents on stdin and stdout, by the Model Context Protocol.

    Hosts such as Claude Desktop, VS Code and Cursor start it. It only reads, unless --allow-writes is given.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        require_extra("mcp", "mcp.server.lowlevel")
        if sandbox:
            origin.reject_with_sandbox()
            if store is not None:
                raise UsageError("--store: cannot be combined with --sandbox, which has its own")
            return _serve_sandbox(backend or [], live_timeout, allow_writes=allow_writes)
        where = store or default_store(origin.config)
        backends = _backends(origin, backend or []) if live else []
        if where is None and not backends:
            raise UsageError("there is nothing to serve: expected --store, or a backend in the configuration")
        if allow_writes and not backends:
            raise UsageError("--allow-writes: expected backends in the configuration, and not --no-live")
        target = None if where is None else expand_store(where)
        return _serve(target, backends, live_timeout, allow_writes=allow_writes)

    log.run(prepare, is_service=True)


def _backends(origin: ConfigOptions, names: list[str]) -> list[ConfiguredBackend]:
    """Return the configured backends. None are needed beside a store."""
    if not names and not origin.read().sections:
        return []
    found = origin.load_backends(names)
    sweeping.require_accounts(found)
    return found


async def _serve(
    store: str | None, backends: list[ConfiguredBackend], live_timeout: float, *, allow_writes: bool
) -> int:
    async with AsyncExitStack() as stack:
        phones = None
        if backends:
            phones = await stack.enter_async_context(PhoneSystem(*(one.provider for one in backends)))
            phones.configured_accounts = {
                one.name: one.accounts for one in backends if one.accounts is not None
            }
        names = ", ".join(one.name for one in backends)
        print_info(f"serving {store or 'no store'}, and {names or 'no vendor'} live, on stdin and stdout")
        tools = read_tools(Toolbox(store, phones, live_timeout=live_timeout))
        if phones is not None and allow_writes:
            tools += write_tools(Writer(store, phones))
        await serve_stdio(tools)
    return DONE


async def _serve_sandbox(names: list[str], live_timeout: float, *, allow_writes: bool) -> int:
    from phonesys.cli import sandbox  # a web server, which no other command needs

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(sandbox.create_sandbox(latency=0))
        backends = await sandbox.sandbox_backends(server, names, with_pools=True)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="phonesys-"))
        store = str(Path(folder) / "inventory.db")
        async with PhoneSystem(*(one.provider for one in backends)) as phones, Inventory(store) as inventory:
            accounts = {one.name: one.accounts for one in backends if one.accounts is not None}
            await inventory.collect(phones, accounts)
        return await _serve(store, backends, live_timeout, allow_writes=allow_writes)
