"""`phonesys status` and `phonesys warmup`: capacity and metrics of one number."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from phonesys._validation import is_object, validate_e164
from phonesys.cli.arguments import bind_options
from phonesys.cli.columns import ColumnTable
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountOption,
    BackendArgument,
    ConfigOption,
    FormatOption,
    NumberIdArgument,
    VerboseOption,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.running import DONE, run
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.errors import Unsupported, UsageError
from phonesys.provider import abilities
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

DaysOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Days that the metrics cover.")]
SinceOption = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="First day of the metrics."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Last day of the metrics."),
]


def status(
    backend: BackendArgument,
    number: Annotated[str, typer.Argument(help="E.164, as in +14155552671.")],
    *,
    days: DaysOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
) -> None:
    """Show a number's capacity to send, and its metrics."""

    def prepare() -> Coroutine[Any, Any, int]:
        options = {"--days": days, "--since": since, "--until": until, "--account": account}
        return _show(load_backend(config, backend), "status", validate_e164(number), options, format_)

    run(prepare, verbose=verbose)


def warmup(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    days: DaysOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
) -> None:
    """Show the same as `status`, of a number by its id."""

    def prepare() -> Coroutine[Any, Any, int]:
        options = {"--days": days, "--since": since, "--until": until, "--account": account}
        return _show(load_backend(config, backend), "warmup", number_id, options, format_)

    run(prepare, verbose=verbose)


def _show(
    backend: ConfiguredBackend, operation: str, key: str, options: dict[str, Any], format_: Format
) -> Coroutine[Any, Any, int]:
    if format_ is Format.CSV:
        raise UsageError("--format csv: metrics are nested; use table or jsonl")
    method: Callable[..., Coroutine[Any, Any, Any]] | None = getattr(type(backend.provider), operation, None)
    if not callable(method):
        can = ", ".join(("list numbers", *abilities(backend.provider)))
        raise Unsupported(f"backend {backend.name!r} cannot show the {operation} of a number; it can {can}")
    days = {
        name: value if not isinstance(value, datetime) else value.date() for name, value in options.items()
    }
    bound = bind_options(method, backend.name, operation, days)
    return _fetch(backend, lambda: method(backend.provider, key, **bound), format_)


async def _fetch(
    backend: ConfiguredBackend, fetch: Callable[[], Coroutine[Any, Any, Any]], format_: Format
) -> int:
    async with PhoneSystem(backend.provider):
        found = await fetch()
    with destination(None) as stdout:
        if format_ is Format.JSONL:
            await stdout.write([msgspec.json.encode(found) + b"\n"])
        else:
            facts = dict(_facts(msgspec.to_builtins(found)))
            await write_table(ColumnTable({"metric": list(facts), "value": list(facts.values())}), stdout)
    return DONE


def _facts(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested objects to dotted names, without what is not known."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if is_object(value):
            found += _facts(value, f"{prefix}{name}.")
        elif value is not None and not isinstance(value, list):
            found.append((f"{prefix}{name}", str(value)))
    return found
