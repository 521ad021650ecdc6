"""`create`, `assign`, `update` and `delete`: what changes a vendor's records, once."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._validation import validate_e164
from phonesys.cli import rows
from phonesys.cli.commands.listing import write_one
from phonesys.cli.config import Configured, one
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    Account,
    As,
    Config,
    Provider,
    Verbose,
)
from phonesys.cli.output import Format
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.signatures import accepted
from phonesys.cli.terminal import ERR, clean, complain, say
from phonesys.errors import OutcomeUnknown, UsageError
from phonesys.provider import AssignsNumbers, CreatesNumbers, DeletesNumbers, UpdatesNumbers, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any

NumberId = Annotated[str, typer.Argument(metavar="ID", help="What the vendor calls the number.")]
Name = Annotated[str | None, typer.Option(help="What people call it.")]
Number = Annotated[str | None, typer.Option(help="E.164, as in +14155552671.")]
Enabled = Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether it is in use.")]
Organization = Annotated[str | None, typer.Option(metavar="ID", help="The organization that owns it.")]
Business = Annotated[str | None, typer.Option(metavar="ID", help="An older word for the organization.")]


def create(
    provider: Provider,
    *,
    name: Annotated[str, typer.Option(help="What people call it.")],
    number: Number = None,
    organization: Organization = None,
    business: Business = None,
    enabled: Enabled = None,
    account: Account = None,
    config: Config = None,
    format_: As = Format.TABLE,
    verbose: Verbose = False,
) -> None:
    """Create a number. It may cost money, so that a lost answer is never asked for again."""

    def prepare() -> Coroutine[Any, Any, int]:
        given = {
            "--name": name,
            "--number": _e164(number),
            "--organization": organization,
            "--business": business,
            "--enabled": enabled,
            "--account": account,
        }
        backend = one(config, provider)
        able = require(backend.provider, CreatesNumbers)
        options = accepted(able.create, backend.name, "create", given)
        hint = f"phonesys find {number}" if number else f"phonesys numbers {backend.name}"
        return _change(backend, lambda: able.create(**options), hint, format_)

    run(prepare, verbose=verbose)


def assign(
    provider: Provider,
    *,
    number: Annotated[str, typer.Option(help="E.164, as in +14155552671.")],
    agent: Annotated[str, typer.Option(metavar="ID", help="Who answers its calls from now on.")],
    name: Name = None,
    account: Account = None,
    config: Config = None,
    format_: As = Format.TABLE,
    verbose: Verbose = False,
) -> None:
    """Assign a number to an agent, which takes its live calls from then on."""

    def prepare() -> Coroutine[Any, Any, int]:
        given = {"--number": _e164(number), "--agent": agent, "--name": name, "--account": account}
        backend = one(config, provider)
        able = require(backend.provider, AssignsNumbers)
        options = accepted(able.assign, backend.name, "assign", given)
        hint = f"phonesys find {number} --provider {backend.name}"
        return _change(backend, lambda: able.assign(**options), hint, format_)

    run(prepare, verbose=verbose)


def update(
    provider: Provider,
    number_id: NumberId,
    *,
    name: Name = None,
    number: Number = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Who answers its calls.")] = None,
    status: Annotated[str | None, typer.Option(help="In the vendor's word.")] = None,
    organization: Organization = None,
    business: Business = None,
    enabled: Enabled = None,
    account: Account = None,
    config: Config = None,
    format_: As = Format.TABLE,
    verbose: Verbose = False,
) -> None:
    """Change the fields of a number that are given; which there are depends on the vendor."""

    def prepare() -> Coroutine[Any, Any, int]:
        given = {
            "--name": name,
            "--number": _e164(number),
            "--agent": agent,
            "--status": status,
            "--organization": organization,
            "--business": business,
            "--enabled": enabled,
        }
        if all(value is None for value in given.values()):
            raise UsageError(f"nothing to change; expected one of {', '.join(given)}")
        backend = one(config, provider)
        able = require(backend.provider, UpdatesNumbers)
        options = accepted(able.update, backend.name, "update", {**given, "--account": account})
        hint = f"phonesys get {backend.name} {number_id}"
        return _change(backend, lambda: able.update(number_id, **options), hint, format_)

    run(prepare, verbose=verbose)


def delete(
    provider: Provider,
    number_id: NumberId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    account: Account = None,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Delete a number: asks first, and refuses where there is nobody to ask."""

    def prepare() -> Coroutine[Any, Any, int] | int:
        backend = one(config, provider)
        able = require(backend.provider, DeletesNumbers)
        options = accepted(able.delete, backend.name, "delete", {"--account": account})
        if not yes and not _agreed(f"Delete {number_id} of {backend.name}?"):
            complain("nothing was deleted")
            return FAILED
        return _delete(backend, lambda: able.delete(number_id, **options), number_id)

    run(prepare, verbose=verbose)


def _e164(number: str | None) -> str | None:
    return None if number is None else validate_e164(number)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask; expected --yes")
    try:
        answer = ERR.input(f"{clean(question)} (y/N) ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


async def _change(
    backend: Configured, carry_out: Callable[[], Coroutine[Any, Any, Any]], hint: str, format_: Format
) -> int:
    with _find_out(hint):
        async with PhoneSystem(backend.provider):
            number = await carry_out()
        await write_one(rows.number_row(number, backend.name), format_)
    return DONE


async def _delete(
    backend: Configured, carry_out: Callable[[], Coroutine[Any, Any, None]], number_id: str
) -> int:
    with _find_out(f"phonesys get {backend.name} {number_id}"):
        async with PhoneSystem(backend.provider):
            await carry_out()
        say(f"{number_id} of {backend.name} is deleted")
    return DONE


@contextmanager
def _find_out(command: str) -> Generator[None]:
    """Say how to learn what became of a change whose answer was lost."""
    try:
        yield
    except OutcomeUnknown as unknown:
        complain(unknown)
        say(f"It may have been carried out, and was not sent again. Find out with: {command}")
        raise typer.Exit(FAILED) from None
