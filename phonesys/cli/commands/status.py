"""`phonesys status` and `phonesys warmup`: capacity and metrics of one number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from phonesys._validation import is_object, validate_e164
from phonesys.cli.arguments import bind_options
from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import (
    BackendOptions,
    LogOptions,
    OptionGroup,
)
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountOption,
    BackendArgument,
    FormatOption,
    NumberIdArgument,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.running import DONE
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


@dataclass(frozen=True, kw_only=True)
class MetricOptions(OptionGroup):
    """The account, and the days that metrics cover."""

    days: DaysOption = None
    since: SinceOption = None
    until: UntilOption = None
    account: AccountOption = None
    format_: FormatOption = Format.TABLE

    def bind(self, method: Callable[..., Any], backend: str, verb: str) -> dict[str, Any]:
        """Return the options as keywords of a backend's method."""
        options = {
            "--days": self.days,
            "--since": None if self.since is None else self.since.date(),
            "--until": None if self.until is None else self.until.date(),
            "--account": self.account,
        }
        return bind_options(method, backend, verb, options)


def status(
    backend: BackendArgument,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="E.164, as in +14155552671.")],
    *,
    metrics: MetricOptions,
    source: BackendOptions,
    log: LogOptions,
) -> None:
    """Show a number's capacity to send, and its metrics."""
    log.run(lambda: _show(backend, "status", validate_e164(number), metrics, source))


def warmup(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    metrics: MetricOptions,
    source: BackendOptions,
    log: LogOptions,
) -> None:
    """Show the same as `status`, of a number by its id."""
    log.run(lambda: _show(backend, "warmup", number_id, metrics, source))


async def _show(name: str, operation: str, key: str, metrics: MetricOptions, source: BackendOptions) -> int:
    if metrics.format_ is Format.CSV:
        raise UsageError("--format csv: metrics are nested; use table or jsonl")
    async with source.open_one(name) as backend:
        method: Callable[..., Coroutine[Any, Any, Any]] | None = getattr(
            type(backend.provider), operation, None
        )
        if not callable(method):
            can = ", ".join(("list numbers", *abilities(backend.provider)))
            raise Unsupported(f"backend {name!r} cannot show the {operation} of a number; it can {can}")
        bound = metrics.bind(method, name, operation)
        async with PhoneSystem(backend.provider):
            found = await method(backend.provider, key, **bound)
    with destination(None) as stdout:
        if metrics.format_ is Format.JSONL:
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
