"""`phonesys create`, `assign`, `update` and `delete`: writes, each sent once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._validation import validate_e164
from phonesys.cli import rows
from phonesys.cli.arguments import bind_options
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountOption,
    BackendArgument,
    ConfigOption,
    FormatOption,
    NumberIdArgument,
    QuietOption,
    VerboseOption,
)
from phonesys.cli.output import Format
from phonesys.cli.results import write_number
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.terminal import confirm, print_error, print_info
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.errors import OutcomeUnknown, UsageError
from phonesys.provider import AssignsNumbers, CreatesNumbers, DeletesNumbers, UpdatesNumbers, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any

NameOption = Annotated[str | None, typer.Option(help="Display name.")]
NumberOption = Annotated[str | None, typer.Option(help="E.164, as in +14155552671.")]
EnabledOption = Annotated[
    bool | None, typer.Option("--enabled/--disabled", help="Enable or disable the number.")
]
OrganizationOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Organization that owns the number.")
]
BusinessOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Older name of the organization's id.")
]


def create(
    backend: BackendArgument,
    *,
    name: Annotated[str, typer.Option(help="Display name.")],
    number: NumberOption = None,
    organization: OrganizationOption = None,
    business: BusinessOption = None,
    enabled: EnabledOption = None,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Create a number, which may cost money.

    The request is never repeated, even if its response is lost.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        options = {
            "--name": name,
            "--number": _e164(number),
            "--organization": organization,
            "--business": business,
            "--enabled": enabled,
            "--account": account,
        }
        configured = load_backend(config, backend)
        provider = require(configured.provider, CreatesNumbers)
        bound = bind_options(provider.create, configured.name, "create", options)
        hint = f"phonesys find {number}" if number else f"phonesys numbers {configured.name}"
        return _write(configured, lambda: provider.create(**bound), hint, format_)

    run(prepare, verbose=verbose, quiet=quiet)


def assign(
    backend: BackendArgument,
    *,
    number: Annotated[str, typer.Option(help="E.164, as in +14155552671.")],
    agent: Annotated[str, typer.Option(metavar="ID", help="Agent that answers its calls.")],
    name: NameOption = None,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Assign a number to an agent, which answers its calls from then on."""

    def prepare() -> Coroutine[Any, Any, int]:
        options = {"--number": _e164(number), "--agent": agent, "--name": name, "--account": account}
        configured = load_backend(config, backend)
        provider = require(configured.provider, AssignsNumbers)
        bound = bind_options(provider.assign, configured.name, "assign", options)
        hint = f"phonesys find {number} --backend {configured.name}"
        return _write(configured, lambda: provider.assign(**bound), hint, format_)

    run(prepare, verbose=verbose, quiet=quiet)


def update(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    name: NameOption = None,
    number: NumberOption = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Agent that answers its calls.")] = None,
    status: Annotated[str | None, typer.Option(help="Status, in the vendor's word.")] = None,
    organization: OrganizationOption = None,
    business: BusinessOption = None,
    enabled: EnabledOption = None,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Update a number. Supported fields depend on the vendor."""

    def prepare() -> Coroutine[Any, Any, int]:
        options = {
            "--name": name,
            "--number": _e164(number),
            "--agent": agent,
            "--status": status,
            "--organization": organization,
            "--business": business,
            "--enabled": enabled,
        }
        if all(value is None for value in options.values()):
            raise UsageError(f"nothing to change; expected one of {', '.join(options)}")
        configured = load_backend(config, backend)
        provider = require(configured.provider, UpdatesNumbers)
        bound = bind_options(provider.update, configured.name, "update", {**options, "--account": account})
        hint = f"phonesys get {configured.name} {number_id}"
        return _write(configured, lambda: provider.update(number_id, **bound), hint, format_)

    run(prepare, verbose=verbose, quiet=quiet)


def delete(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    account: AccountOption = None,
    config: ConfigOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete a number, after confirmation.

    Without a terminal, --yes is required.
    """

    def prepare() -> Coroutine[Any, Any, int] | int:
        configured = load_backend(config, backend)
        provider = require(configured.provider, DeletesNumbers)
        bound = bind_options(provider.delete, configured.name, "delete", {"--account": account})
        if not yes and not confirm(f"Delete {number_id} of {configured.name}?"):
            print_error("nothing was deleted")
            return FAILED
        return _delete(configured, lambda: provider.delete(number_id, **bound), number_id)

    run(prepare, verbose=verbose, quiet=quiet)


def _e164(number: str | None) -> str | None:
    return None if number is None else validate_e164(number)


async def _write(
    backend: ConfiguredBackend,
    operation: Callable[[], Coroutine[Any, Any, Any]],
    hint: str,
    format_: Format,
) -> int:
    with _explain_unknown_outcome(hint):
        async with PhoneSystem(backend.provider):
            number = await operation()
        await write_number(rows.number_row(number, backend.name), format_)
    return DONE


async def _delete(
    backend: ConfiguredBackend, operation: Callable[[], Coroutine[Any, Any, None]], number_id: str
) -> int:
    with _explain_unknown_outcome(f"phonesys get {backend.name} {number_id}"):
        async with PhoneSystem(backend.provider):
            await operation()
        print_info(f"{number_id} of {backend.name} is deleted")
    return DONE


@contextmanager
def _explain_unknown_outcome(command: str) -> Generator[None]:
    """Print the command that finds out whether a write was executed whose response was lost."""
    try:
        yield
    except OutcomeUnknown as error:
        print_error(error)
        print_info(f"It may have been executed, and was not sent again. Find out with: {command}")
        raise typer.Exit(FAILED) from None
