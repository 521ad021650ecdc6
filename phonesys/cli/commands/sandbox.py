"""`phonesys sandbox`: serve the three vendors' APIs on loopback."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    LatencyOption,
    LocationsOption,
    QuietOption,
    SeedOption,
    UnconnectedOption,
)
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import print_info
from phonesys.config.paths import expand
from phonesys.errors import UsageError
from phonesys.sandbox import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from phonesys.sandbox import Sandbox

_SHOWN_LOCATIONS = 3
_PER_LINE = 4


def sandbox(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 for any free one.")
    ] = 8080,
    locations: LocationsOption = None,
    seed: SeedOption = None,
    not_connected: UnconnectedOption = None,
    latency: LatencyOption = None,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plan of faults, in TOML or JSON.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append every request to this file as a line of JSON.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a phonesys.toml for the sandbox. The file must not exist."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Serve the three vendors' APIs on loopback until Ctrl-C.

    Data is generated from a seed.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        from phonesys.cli.sandbox import create_sandbox

        server = create_sandbox(
            locations=locations,
            seed=seed,
            not_connected=not_connected,
            latency=latency,
            port=port,
            faults=FaultPlan.load(expand(faults, "--faults")) if faults is not None else None,
            log=_writable(log and expand(log, "--log")),
        )
        return _serve(server, port, write and expand(write, "--write"))

    run(prepare, quiet=quiet)


async def _serve(server: Sandbox, port: int, write: Path | None) -> int:
    try:
        await server.start()
    except OSError as error:
        raise UsageError(f"--port {port}: {os.strerror(error.errno or 0)}") from None
    try:
        if write is not None:
            _write(write, configuration(server, server.location_ids))
        _announce(server, write)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass  # the ordinary end: Ctrl-C or SIGTERM
    finally:
        await server.stop()
    print_info("the sandbox has stopped")
    return DONE


def _announce(server: Sandbox, written: Path | None) -> None:
    """Print addresses and credentials to stderr, and a configuration to stdout."""
    print_info(
        f"{server.url} serves {len(server.location_ids):,} locations, seed {server.state.seed}; "
        "Ctrl-C stops it"
    )
    print_info("Open it in a browser to watch requests and switch faults")
    print_info("")
    for name, url, header in (
        ("LeadConnector", server.leadconnector_url, f"Authorization: Bearer {server.leadconnector_token}"),
        ("Leadping", server.leadping_url, f"Authorization: Bearer {server.leadping_key}"),
        ("Agent numbers", server.agents_url, f"X-API-Key: {server.agents_key}"),
    ):
        print_info(f"  {name:<14} {url:<36} {header}")
    print_info("")
    if written is not None:
        print_info(f"{written} points at it, with all locations")
        return
    print_info("A phonesys.toml that points at it (--write FILE names all locations):")
    print_info("")
    sys.stdout.write(configuration(server, server.location_ids[:_SHOWN_LOCATIONS]))
    sys.stdout.flush()


def configuration(server: Sandbox, locations: Sequence[str]) -> str:
    """Return a configuration for the sandbox; its credentials are not secret."""
    lines = [
        "    " + " ".join(f'"{location}",' for location in locations[start : start + _PER_LINE])
        for start in range(0, len(locations), _PER_LINE)
    ]
    accounts = "\n".join(["accounts = [", *lines, "]"])
    return f"""\
[leadconnector]
token = "{server.leadconnector_token}"
base_url = "{server.leadconnector_url}"
{accounts}

[leadping]
api_key = "{server.leadping_key}"
base_url = "{server.leadping_url}"

[agents]
api_key = "{server.agents_key}"
base_url = "{server.agents_url}"
"""


def _writable(path: Path | None) -> Path | None:
    """Return the log's path once it is known that it can be written; raise UsageError."""
    try:
        if path is not None:
            path.open("a").close()
    except OSError as error:
        raise UsageError(f"--log {path}: {error.strerror or error}") from None
    return path


def _write(path: Path, text: str) -> None:
    """Write a private file, never over another."""
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--write {path}: {error.strerror or error}") from None
