"""`phonesys create`, `buy`, `assign`, `update` and `delete`: writes, each sent once."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._validation import validate_e164
from phonesys.cli import rows
from phonesys.cli.arguments import bind_options
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (
    FIELDS,
    AccountOption,
    BackendArgument,
    DryRunOption,
    FormatOption,
    NumberIdArgument,
)
from phonesys.cli.output import Format
from phonesys.cli.results import write_number
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.single import show_single
from phonesys.cli.terminal import confirm, print_error, print_info, require_terminal
from phonesys.errors import OutcomeUnknown, SweepIncomplete, UsageError
from phonesys.provider import (
    AssignsNumbers,
    CreatesNumbers,
    DeletesNumbers,
    GetsNumbers,
    UpdatesNumbers,
    require,
)
from phonesys.system import PhoneSystem
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping
    from typing import Any

    from phonesys.config import ConfiguredBackend
    from phonesys.model import PhoneNumber

NameOption = Annotated[str | None, typer.Option(metavar="NAME", help="Display name.", rich_help_panel=FIELDS)]
NumberOption = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="E.164, as in +14155552671.", rich_help_panel=FIELDS)
]
EnabledOption = Annotated[
    bool | None,
    typer.Option("--enabled/--disabled", help="Enable or disable the number.", rich_help_panel=FIELDS),
]
OrganizationOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Organization that owns the number.", rich_help_panel=FIELDS)
]
BusinessOption = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Older name of the organization's id.", rich_help_panel=FIELDS),
]


def create(
    backend: BackendArgument,
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Display name.", rich_help_panel=FIELDS)],
    number: NumberOption = None,
    organization: OrganizationOption = None,
    business: BusinessOption = None,
    enabled: EnabledOption = None,
    account: AccountOption = None,
    dry_run: DryRunOption = False,
    origin: ConfigOptions,
    format_: FormatOption = Format.TABLE,
    log: LogOptions,
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
        configured = origin.load_backend(backend)
        provider = require(configured.provider, CreatesNumbers)
        if dry_run:
            wanted = _without(options, "--number", "--account")
            return show_single(configured, Action.CREATE, wanted, number=number, account=account)
        bound = bind_options(provider.create, configured.name, "create", options)
        hint = f"phonesys find {number}" if number else f"phonesys numbers {configured.name}"
        return _write(configured, lambda: provider.create(**bound), hint, format_)

    log.run(prepare)


def assign(
    backend: BackendArgument,
    *,
    number: Annotated[
        str, typer.Option(metavar="NUMBER", help="E.164, as in +14155552671.", rich_help_panel=FIELDS)
    ],
    agent: Annotated[
        str, typer.Option(metavar="ID", help="Agent that answers its calls.", rich_help_panel=FIELDS)
    ],
    name: NameOption = None,
    account: AccountOption = None,
    dry_run: DryRunOption = False,
    origin: ConfigOptions,
    format_: FormatOption = Format.TABLE,
    log: LogOptions,
) -> None:
    """Assign a number to an agent, which answers its calls from then on."""

    def prepare() -> Coroutine[Any, Any, int] | int:
        options = {"--number": _e164(number), "--agent": agent, "--name": name, "--account": account}
        configured = origin.load_backend(backend)
        provider = require(configured.provider, AssignsNumbers)
        if dry_run:
            wanted = _without(options, "--number", "--account")
            return show_single(configured, Action.CREATE, wanted, number=number, account=account)
        bound = bind_options(provider.assign, configured.name, "assign", options)
        hint = f"phonesys find {number} --backend {configured.name}"
        held = asyncio.run(_holders(origin.load_backend(backend), number, account))
        if held:
            return _report_held(configured.name, held[0], agent)
        return _write(configured, lambda: provider.assign(**bound), hint, format_)

    log.run(prepare)


def update(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    name: NameOption = None,
    number: NumberOption = None,
    agent: Annotated[
        str | None, typer.Option(metavar="ID", help="Agent that answers its calls.", rich_help_panel=FIELDS)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="Status, in the vendor's word.", rich_help_panel=FIELDS),
    ] = None,
    organization: OrganizationOption = None,
    business: BusinessOption = None,
    enabled: EnabledOption = None,
    account: AccountOption = None,
    dry_run: DryRunOption = False,
    origin: ConfigOptions,
    format_: FormatOption = Format.TABLE,
    log: LogOptions,
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
        configured = origin.load_backend(backend)
        provider = require(configured.provider, UpdatesNumbers)
        if dry_run:
            return show_single(configured, Action.UPDATE, options, number_id=number_id, account=account)
        bound = bind_options(provider.update, configured.name, "update", {**options, "--account": account})
        hint = f"phonesys get {configured.name} {number_id}"
        return _write(configured, lambda: provider.update(number_id, **bound), hint, format_)

    log.run(prepare)


def delete(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    account: AccountOption = None,
    dry_run: DryRunOption = False,
    origin: ConfigOptions,
    log: LogOptions,
) -> None:
    """Delete a number, after confirmation.

    Without a terminal, --yes is required.
    """

    def prepare() -> Coroutine[Any, Any, int] | int:
        configured = origin.load_backend(backend)
        provider = require(configured.provider, DeletesNumbers)
        bound = bind_options(provider.delete, configured.name, "delete", {"--account": account})
        if dry_run:
            return show_single(configured, Action.DELETE, {}, number_id=number_id, account=account)
        if not yes:
            require_terminal("--yes")
            name = asyncio.run(_describe(origin.load_backend(backend), number_id, account))
            if not confirm(f"Delete {name}?"):
                print_error("nothing was deleted")
                return FAILED
        return _delete(configured, lambda: provider.delete(number_id, **bound), number_id)

    log.run(prepare)


def _without(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


async def _holders(backend: ConfiguredBackend, number: str, account: str | None) -> list[PhoneNumber]:
    """Return the numbers of the backend that are this one."""
    named = backend.accounts if account is None else [account]
    accounts = None if named is None else {backend.name: named}
    async with PhoneSystem(backend.provider) as phones:
        try:
            return await phones.find(number, accounts)
        except SweepIncomplete as incomplete:
            print_error(f"it is not certain that {number} is free: {incomplete}")
            return incomplete.numbers


def _report_held(backend: str, held: PhoneNumber, agent: str) -> int:
    """Print that a number is held, and the command that moves it."""
    name = f"{held.number} is held already, as {held.id} in {held.account} of {backend}"
    if held.assignee == agent:
        print_info(f"{name}, and assigned to {agent}; nothing was sent")
        return DONE
    print_error(f"{name}, {f'assigned to {held.assignee}' if held.assignee else 'and assigned to none'}")
    print_info(f"to move it: phonesys update {backend} {held.id} --agent {agent}")
    return FAILED


async def _describe(backend: ConfiguredBackend, number_id: str, account: str | None) -> str:
    """Return a number's digits, label and account, for a person who is to confirm."""
    if not isinstance(backend.provider, GetsNumbers):
        return f"{number_id} of {backend.name}"
    get = backend.provider.get
    bound = bind_options(get, backend.name, "get", {"--account": account})
    async with PhoneSystem(backend.provider):
        number = await get(number_id, **bound)
    label = f" ({number.label})" if number.label else ""
    return f"{number.number}{label} in {number.account} of {backend.name}"


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
