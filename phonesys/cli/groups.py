"""Groups of options that several commands share, as dataclasses.

Typer reads a command's signature, and cannot group options. `expand_groups` replaces a parameter of a
group's type by the options of the group. So a command names the group once, and receives one object.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_type_hints

from phonesys.cli import rows, sweeping
from phonesys.cli.filters import NumberFilter, parse_columns
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountsFilterOption,
    AllowIncompleteOption,
    BomOption,
    ColumnsOption,
    ConfigOption,
    CountryFilterOption,
    FailuresOption,
    FormatOption,
    LatencyOption,
    LocationsOption,
    OutputOption,
    QuietOption,
    SandboxOption,
    SeedOption,
    StatusFilterOption,
    TokenStoreOption,
    UnconnectedOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.problems import report_sweep, write_failures
from phonesys.cli.results import write_rows
from phonesys.cli.running import run
from phonesys.config import ConfiguredBackend, Settings, build_backends, read_settings
from phonesys.errors import UsageError
from phonesys.provider import require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    import msgspec
    from rich.console import RenderableType

    from phonesys.cli.problems import UnreadableRows
    from phonesys.sandbox import Sandbox
    from phonesys.sweep import SweepReport

A = TypeVar("A")
R = TypeVar("R", bound="msgspec.Struct")


class OptionGroup:
    """Base of the groups. Each field is an option."""


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options of its groups as parameters of their own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, OptionGroup)
    }
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(command)
    def expanded(**values: Any) -> None:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **made)

    expanded.__annotations__ = {one.name: one.annotation for one in parameters}
    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return expanded


def _parameters(group: type[Any]) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]


@dataclass(frozen=True, kw_only=True)
class LogOptions(OptionGroup):
    """Extent of the messages on stderr."""

    verbose: VerboseOption = False
    quiet: QuietOption = False

    def run(self, prepare: Callable[[], Coroutine[Any, Any, int] | int], *, is_service: bool = False) -> None:
        """Run a command and exit with its status."""
        run(prepare, verbose=self.verbose, quiet=self.quiet, is_service=is_service)


@dataclass(frozen=True, kw_only=True)
class ConfigOptions(OptionGroup):
    """Configuration, and the place of the tokens of its apps."""

    config: ConfigOption = None
    token_store: TokenStoreOption = None

    def read(self) -> Settings:
        """Return the configuration; raise ConfigError."""
        return read_settings(self.config, token_store=self.token_store)

    def load_backends(
        self, names: Sequence[str] = (), defaults: Mapping[str, Any] | None = None, **overrides: Any
    ) -> list[ConfiguredBackend]:
        """Return the backends of these names, or all; see `build_backends`."""
        return build_backends(self.read(), names, defaults, **overrides)

    def load_backend(self, name: str) -> ConfiguredBackend:
        """Return one backend."""
        return self.load_backends([name])[0]

    def reject_with_sandbox(self) -> None:
        """Raise UsageError: a sandbox has both."""
        for name, value in {"--config": self.config, "--token-store": self.token_store}.items():
            if value is not None:
                raise UsageError(f"{name}: cannot be combined with --sandbox, which has its own")


@dataclass(frozen=True, kw_only=True)
class BackendOptions(ConfigOptions):
    """Origin of backends: the configuration, or an embedded sandbox with generated data."""

    sandbox: SandboxOption = False
    locations: LocationsOption = None
    seed: SeedOption = None
    not_connected: UnconnectedOption = None
    latency: LatencyOption = None

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.sandbox:
            self.reject_with_sandbox()
        for option, value in self._generated().items():
            if value is not None and not self.sandbox:
                raise UsageError(f"--{option.replace('_', '-')}: only with --sandbox")

    def _generated(self) -> dict[str, Any]:
        return {
            "locations": self.locations,
            "seed": self.seed,
            "not_connected": self.not_connected,
            "latency": self.latency,
        }

    def vendor_options(self, *, with_pools: bool | None) -> list[str]:
        """Return the names of the given options that are of use only where vendors are read."""
        values = {
            "--config": self.config,
            "--token-store": self.token_store,
            "--sandbox": self.sandbox or None,
            "--with-pools": with_pools,
        }
        return [name for name, value in values.items() if value is not None]

    def check_snapshot(self, holder: str, *, with_pools: bool | None) -> None:
        """Raise UsageError for options that the option `holder`, which names a snapshot, excludes."""
        self.check()
        for name in self.vendor_options(with_pools=with_pools):
            raise UsageError(f"{name}: cannot be combined with {holder}, which holds a sweep")

    def create_sandbox(self) -> Sandbox:
        """Return a sandbox that is not started yet."""
        from phonesys.cli.sandbox import create_sandbox  # a web server, which no other command needs

        return create_sandbox(**self._generated())

    @asynccontextmanager
    async def open(
        self, names: Sequence[str] = (), defaults: Mapping[str, Any] | None = None, **overrides: Any
    ) -> AsyncGenerator[list[ConfiguredBackend]]:
        """Return the backends of these names, or all. The sandbox runs while the block does."""
        self.check()
        if not self.sandbox:
            yield self.load_backends(names, defaults, **overrides)
            return
        from phonesys.cli.sandbox import sandbox_backends

        async with self.create_sandbox() as server:
            yield await sandbox_backends(server, names, **overrides)

    @asynccontextmanager
    async def open_one(self, name: str, **overrides: Any) -> AsyncGenerator[ConfiguredBackend]:
        """Return one backend."""
        async with self.open([name], **overrides) as backends:
            yield backends[0]

    @asynccontextmanager
    async def open_able(
        self, name: str | None, ability: Callable[..., A], verb: str
    ) -> AsyncGenerator[tuple[ConfiguredBackend, A]]:
        """Return the backend of this name, or the only one with an ability; raise UsageError for several."""
        async with self.open([] if name is None else [name]) as backends:
            able = [one for one in backends if isinstance(one.provider, cast("type[A]", ability))]
            if name is None and len(able) != 1:
                names = ", ".join(one.name for one in able)
                raise UsageError(
                    f"BACKEND: expected one of {names}, which all {verb}"
                    if able
                    else f"no configured backend can {verb}"
                )
            chosen = backends[0] if name is not None else able[0]
            yield chosen, require(chosen.provider, ability)


@dataclass(frozen=True, kw_only=True)
class FilterOptions(OptionGroup):
    """Numbers to list."""

    status: StatusFilterOption = None
    country: CountryFilterOption = None
    account: AccountsFilterOption = None

    def parse(self, backends: Iterable[str] | None = None) -> NumberFilter:
        """Return the filter; raise UsageError for a status that does not exist."""
        return NumberFilter.parse(self.status, self.country, self.account, backends)


@dataclass(frozen=True, kw_only=True)
class RowOptions(OptionGroup):
    """Format, place and columns of a list."""

    format_: FormatOption = Format.TABLE
    output: OutputOption = None
    columns: ColumnsOption = None
    bom: BomOption = False

    async def write(
        self, kind: type[R], found: list[R], *, table: Callable[[list[R]], RenderableType]
    ) -> None:
        """Write rows; raise UsageError for a column that they do not have."""
        chosen = parse_columns(self.columns, kind)
        with destination(self.output) as to:
            await write_rows(kind, found, self.format_, to, table=table, bom=self.bom, columns=chosen)

    def check(self, kind: type[msgspec.Struct]) -> None:
        """Raise UsageError for a column that rows of this kind do not have."""
        parse_columns(self.columns, kind)

    def numbers(self, accepted: NumberFilter, hide: Collection[str] = ()) -> sweeping.NumberOutput:
        """Return the same for a list of numbers."""
        chosen = parse_columns(self.columns, rows.NumberRow)
        return sweeping.NumberOutput(self.format_, self.output, self.bom, hide, chosen, accepted)


@dataclass(frozen=True, kw_only=True)
class FailureOptions(OptionGroup):
    """Handling of accounts that could not be read."""

    failures: FailuresOption = None
    allow_incomplete: AllowIncompleteOption = False

    async def report(
        self, report: SweepReport, backends: Sequence[ConfiguredBackend], unreadable: UnreadableRows
    ) -> int:
        """Write and print what could not be read, and return the exit status."""
        await write_failures(self.failures, report, unreadable)
        return report_sweep(report, backends, unreadable, allow_incomplete=self.allow_incomplete)


def restrict_accounts(
    backends: Iterable[ConfiguredBackend], wanted: Sequence[str] | None
) -> list[ConfiguredBackend]:
    """Return the backends that have one of the accounts, without their others; all if none are named.

    Raises UsageError for an account that no backend has, or that the configuration does not know.
    """
    found = list(backends)
    if not wanted:
        return found
    ids = tuple(dict.fromkeys(wanted))
    if len(found) == 1 and not found[0].single_account:
        found[0].accounts = ids
        return found
    known: set[str] = set()
    for one in found:
        if one.account_count is None:
            raise UsageError(
                f"--account: {one.name} lists its own accounts; name the account's backend with --backend"
            )
        one.accounts = tuple(account for account in ids if account in (one.accounts or ()))  # type: ignore[operator]
        known.update(one.accounts)
    for account in ids:
        if account not in known:
            raise UsageError(f"--account {account}: no backend has it")
    return [one for one in found if one.accounts]
