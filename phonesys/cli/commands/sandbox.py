"""`phonesys sandbox`: the three vendors' APIs on loopback, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    Latency,
    Locations,
    NotConnected,
    Seed,
)
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import say
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
        int, typer.Option(min=0, max=65535, help="Where to listen; 0 for any that is free.")
    ] = 8080,
    locations: Locations = None,
    seed: Seed = None,
    not_connected: NotConnected = None,
    latency: Latency = None,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What goes wrong: a plan in TOML or JSON.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append every request to this file, as lines of JSON.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a phonesys.toml that points at it; must not exist yet."),
    ] = None,
) -> None:
    """Serve the three vendors' APIs on loopback with generated data, until Ctrl-C."""

    def prepare() -> Coroutine[Any, Any, int]:
        from phonesys.cli import embedded  # a web server, which no other command needs

        made = embedded.make(
            locations=locations,
            seed=seed,
            not_connected=not_connected,
            latency=latency,
            port=port,
            faults=FaultPlan.load(faults) if faults is not None else None,
            log=_writable(log),
        )
        return _serve(made, port, write)

    run(prepare)


async def _serve(made: Sandbox, port: int, write: Path | None) -> int:
    try:
        await made.start()
    except OSError as error:
        raise UsageError(f"--port {port}: {os.strerror(error.errno or 0)}") from None
    try:
        if write is not None:
            _write(write, configuration(made, made.location_ids))
        _announce(made, write)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass  # Ctrl-C and SIGTERM are how it is meant to end
    finally:
        await made.stop()
    say("the sandbox has ended")
    return DONE


def _announce(made: Sandbox, written: Path | None) -> None:
    """Say on stderr where everything is and who may enter, and on stdout how to configure it."""
    say(f"{made.url} serves {len(made.location_ids):,} locations, seed {made.world.seed}; Ctrl-C ends it")
    say("Open it in a browser to watch requests and to switch faults")
    say("")
    for name, url, header in (
        ("LeadConnector", made.leadconnector_url, f"Authorization: Bearer {made.leadconnector_token}"),
        ("Leadping", made.leadping_url, f"Authorization: Bearer {made.leadping_key}"),
        ("Agent numbers", made.agents_url, f"X-API-Key: {made.agents_key}"),
    ):
        say(f"  {name:<14} {url:<36} {header}")
    say("")
    if written is not None:
        say(f"{written} points at it, with all locations")
        return
    say("A phonesys.toml that points at it (--write FILE names all locations):")
    say("")
    sys.stdout.write(configuration(made, made.location_ids[:_SHOWN_LOCATIONS]))
    sys.stdout.flush()


def configuration(made: Sandbox, locations: Sequence[str]) -> str:
    """Write a configuration for it; the credentials are good for nothing else."""
    lines = [
        "    " + " ".join(f'"{location}",' for location in locations[start : start + _PER_LINE])
        for start in range(0, len(locations), _PER_LINE)
    ]
    accounts = "\n".join(["accounts = [", *lines, "]"])
    return f"""\
[leadconnector]
token = "{made.leadconnector_token}"
base_url = "{made.leadconnector_url}"
{accounts}

[leadping]
api_key = "{made.leadping_key}"
base_url = "{made.leadping_url}"

[agents]
api_key = "{made.agents_key}"
base_url = "{made.agents_url}"
"""


def _writable(path: Path | None) -> Path | None:
    """See that the log can be written before anything else happens."""
    try:
        if path is not None:
            path.open("a").close()
    except OSError as error:
        raise UsageError(f"--log {path}: {error.strerror or error}") from None
    return path


def _write(path: Path, text: str) -> None:
    """Write a file that is ours alone, and never over another."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--write {path}: {error.strerror or error}") from None
