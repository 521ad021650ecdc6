"""The facade: several backends as one phone system."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from phonesys._validation import closest, suggestion
from phonesys.errors import InvalidArgument, SweepIncomplete, UnknownProvider, UsageError
from phonesys.provider import NotifiesObservers, NumberProvider
from phonesys.sweep import Source, Sweep
from phonesys.telemetry.observers import safe_observers
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import timedelta
    from types import TracebackType

    from phonesys.changes import ChangeResult, Journal, Plan, PlanRun, Risk
    from phonesys.changes.holdings import SnapshotSource
    from phonesys.changes.planning import Changes
    from phonesys.config import ConfiguredBackend
    from phonesys.inventory import Inventory
    from phonesys.inventory.audit import Rule
    from phonesys.inventory.watch import Alerts, Watch
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import Accounts, SweepReport
    from phonesys.sweep.run import OnError
    from phonesys.telemetry.observers import Observer

B = TypeVar("B")

_MAX_SHOWN = 3


class PhoneSystem:
    """Several backends by name, opened and closed by one `async with`.

    - `observers`: functions that get an event for each request, wait, retry, token, page and account, while
      the system is open.

    Raise UsageError for two backends of one name: rename one with `name=`.
    """

    def __init__(self, *providers: NumberProvider, observers: Iterable[Observer] = ()) -> None:
        self._observers = safe_observers(observers)
        self.configured_accounts: dict[str, Accounts] = {}
        """Accounts to sweep of backends that a sweep does not name, as the configuration lists them."""
        self._providers: dict[str, NumberProvider] = {}
        for provider in providers:
            if not isinstance(provider, NumberProvider):
                raise InvalidArgument(
                    f"expected a backend with name, accounts() and page(), got {provider!r:.80}"
                )
            if provider.name in self._providers:
                raise UsageError(f"two backends are named {provider.name!r}; tell them apart with name=")
            self._providers[provider.name] = provider
        self._stack: AsyncExitStack | None = None

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        *,
        only: Iterable[str] | None = None,
        token_store: str | None = None,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """Return the backends of a configuration, as the command line does.

        - `path`: a file; by default `PHONESYS_CONFIG`, then `phonesys.toml` in the current directory, then
          the environment variables of the credentials.
        - `only`: these backends.
        - `token_store`: a file or a URL where the tokens of apps are, instead of the one that is configured.
        - `observers`: as of a PhoneSystem.

        A sweep reads the accounts that the configuration lists, unless it names others. A file that is not
        named may not send credentials from elsewhere to a host of its choice. Raise ConfigError before
        anything is sent.
        """
        from phonesys import config

        settings = config.read_settings(None if path is None else Path(path), token_store=token_store)
        return cls._of_backends(config.build_backends(settings, () if only is None else only), observers)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, *, observers: Iterable[Observer] = ()) -> Self:
        """Return the backends whose credentials are in variables such as PHONESYS_LEADPING_API_KEY.

        No file is read. `env` replaces `os.environ`. Raise ConfigError if there are none.
        """
        from phonesys import config

        settings = config.environment_settings() if env is None else config.environment_settings(env)
        return cls._of_backends(config.build_backends(settings), observers)

    @classmethod
    def _of_backends(cls, backends: Iterable[ConfiguredBackend], observers: Iterable[Observer]) -> Self:
        configured = list(backends)
        system = cls(*(one.provider for one in configured), observers=observers)
        system.configured_accounts = {
            one.name: one.accounts for one in configured if one.accounts is not None
        }
        return system

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self._providers)) or "no backends"
        return f"<{type(self).__name__} {names}, {'closed' if self._stack is None else 'open'}>"

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise UsageError("this PhoneSystem is open already")
        async with AsyncExitStack() as stack:
            for provider in self._providers.values():
                if isinstance(provider, NotifiesObservers):
                    stack.enter_context(provider.observers.with_others(self._observers))
                if isinstance(provider, AbstractAsyncContextManager):
                    await stack.enter_async_context(provider)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.__aexit__(kind, error, trace)

    def __getitem__(self, name: str) -> Any:
        """Return the backend of that name. Raise UnknownProvider.

        It is typed as Any, since its abilities depend on its provider; `get` and `require` give it a type.
        """
        self.check_names([name])
        return self._providers[name]

    def get(self, kind: type[B], name: str | None = None) -> B:
        """Return the only backend of a class, or the one of that class with this name.

        `phones.get(LeadConnector)` is typed as a LeadConnector. Raise UnknownProvider if there is none, and
        UsageError if there are several and no name.
        """
        if not isinstance(kind, type):
            raise InvalidArgument(f"get: expected a class, such as LeadConnector, got {kind!r:.80}")
        if name is not None:
            self.check_names([name])
        found: dict[str, B] = {
            each: cast("B", provider)
            for each, provider in self._providers.items()
            if isinstance(provider, kind) and name in {None, each}
        }
        if not found:
            kinds = ", ".join(f"{each!r} is a {type(one).__name__}" for each, one in self._providers.items())
            raise UnknownProvider(f"no backend is a {kind.__name__}; {kinds or 'there are none'}")
        if len(found) > 1:
            names = ", ".join(map(repr, found))
            raise UsageError(f"several backends are a {kind.__name__}: {names}; expected a name as well")
        return next(iter(found.values()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def sweep(
        self,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        only: Iterable[str] | None = None,
        concurrency: int = 64,
        on_error: OnError = "collect",
        keep_done: bool = True,
        deadline: float | None = None,
        verify: bool = True,
        report: SweepReport | None = None,
        **accounts_by_provider: Accounts,
    ) -> Sweep:
        """Sweep the named accounts, and all accounts of every backend that is not named.

        - `accounts`, or keywords: backend name to account ids, in any iterable or async iterable.
        - `only`: sweep only these backends.
        - `concurrency`: the most requests under way at a time. Calls that wait for a rate window or before a
          retry do not count.
        - `on_error`: `"collect"` failures in the report, or `"raise"` the first.
        - `keep_done`: `False` only counts accounts that are done or empty, for endless sweeps. An account
          that is named twice may then be swept twice.
        - `deadline`: seconds after which the rest is not reached.
        - `verify`: read an account again if its pages are not consistent, and fail it if they never are.
          `False` accepts pages as they come.
        - `report`: the report to fill in, of a class of your own.

        Raise UnknownProvider and InvalidArgument before anything is sent.
        """
        self.check_names(accounts_by_provider, keywords_of(self.sweep))
        return self._sweep(
            {**(accounts or {}), **accounts_by_provider},
            only=only,
            concurrency=concurrency,
            on_error=on_error,
            keep_done=keep_done,
            deadline=deadline,
            verify=verify,
            report=report,
        )

    async def numbers(
        self, accounts: Mapping[str, Accounts] | None = None, **accounts_by_provider: Accounts
    ) -> list[PhoneNumber]:
        """Fetch everything at once, for small jobs.

        Raise SweepIncomplete if an account or a row could not be read. The error holds the numbers that were
        found.
        """
        return await _everything(self._sweep({**(accounts or {}), **accounts_by_provider}))

    async def table(
        self, accounts: Mapping[str, Accounts] | None = None, **accounts_by_provider: Accounts
    ) -> Any:
        """Fetch everything at once, as a `pyarrow.Table` with the columns of an export.

        `table.to_pandas()`, `polars.from_arrow(table)` and DuckDB take it as it is. Needs the extra
        `phonesys[export]`. Raise MissingExtra before anything is sent, and SweepIncomplete as `numbers` does.
        """
        from phonesys.inventory.export.columns import arrow_schema, arrow_table_of_pages

        arrow_schema()
        sweep = self._sweep({**(accounts or {}), **accounts_by_provider})
        return arrow_table_of_pages(await _read_all(sweep), sweep.report.account_names)

    async def find(
        self,
        number: str,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        only: Iterable[str] | None = None,
        **accounts_by_provider: Accounts,
    ) -> list[PhoneNumber]:
        """Find a number in every backend and account, however it is written.

        Numbers are compared by their digits: `+14155552671`, `14155552671`, `+1 415-555-2671`,
        `(415) 555-2671`, `tel:+1-415-555-2671` and `0014155552671` are the same. Without a country code, the
        number is found in any country. Short codes and alphanumeric senders are compared as text.

        Asks the vendors' own search if there is one. Raise SweepIncomplete if an account or a row could not
        be read, since it may hold the number as well. The error holds the numbers that were found. Raise
        InvalidArgument for an empty text.
        """
        self.check_names(accounts_by_provider, keywords_of(self.find))
        named = {**(accounts or {}), **accounts_by_provider}
        return await _everything(self._sweep(named, only=only, match=number))

    async def plan(
        self,
        changes: Changes,
        *,
        accounts: Mapping[str, Accounts] | None = None,
        snapshot: SnapshotSource | None = None,
        concurrency: int = 64,
    ) -> Plan:
        """Compare desired states with the state of the numbers, and return the plan that reaches them.

        - `accounts`: the accounts to read, by backend, where a change does not name its account; as in a
          sweep, all by default.
        - `snapshot`: a snapshot of an inventory to read instead of the vendors.
        - `concurrency`: the most requests under way at a time.

        Nothing is changed. Accounts that could not be read are named in `plan.reading.missing`. Raise
        PlanError, which lists every error of every change.
        """
        from phonesys.changes.planning import make_plan  # a program that only sweeps does not load it

        self._check_open()
        named = accounts or {}
        self.check_names(named)
        for name, given in named.items():
            _check_accounts(name, given)
        return await make_plan(
            changes,
            self._providers,
            accounts={**self.configured_accounts, **named},
            snapshot=snapshot,
            concurrency=concurrency,
            observers=self._observers,
        )

    def apply(
        self,
        plan: Plan,
        *,
        journal: Journal | None = None,
        concurrency: int = 16,
        max_failures: int | None = None,
        max_share: float | None = None,
        allow: Iterable[Risk | str] = (),
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> PlanRun:
        """Carry out a plan: `async with phones.apply(plan) as run`, then `async for result in run`.

        - `journal`: such as an Inventory. Intents are committed to it before requests are sent, so that
          applying the plan again takes up a run that was killed. Without one, only this run knows.
        - `concurrency`: the most changes under way at a time. Calls that wait for a rate window or before a
          retry do not count. The changes of one number are made in order.
        - `max_failures`: stop after so many changes that are not done.
        - `max_share`, from 0 to 1: refuse a plan that touches more of an account's numbers.
        - `allow`: risks that are permitted, `"share"` or `"unroute"`.
        - `grace_period`, `clock_skew`: as in `reconcile`, for writes whose response is lost.

        Raise NotPermitted and other UsageErrors before anything is sent.
        """
        from phonesys.changes.run import PlanRun  # a program that only sweeps does not load it

        self._check_open()
        return PlanRun(
            plan,
            self._providers,
            journal=journal,
            concurrency=concurrency,
            max_failures=max_failures,
            max_share=max_share,
            allow=allow,
            grace_period=grace_period,
            clock_skew=clock_skew,
        )

    def undo(self, plan: Plan, results: Iterable[ChangeResult]) -> Plan:
        """Return the plan that takes back what a run of `plan` has changed, as far as the vendors allow it.

        `results` are those of the run, such as a journal keeps. `left_out` of the new plan names what cannot
        be taken back, and why.
        """
        from phonesys.changes.run import rules_of
        from phonesys.changes.undo import undo_plan

        return undo_plan(plan, results, rules_of(plan, self._providers))

    def watch(
        self,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        interval: float | timedelta,
        store: Inventory | None = None,
        only: Iterable[str] | None = None,
        concurrency: int = 64,
        audit: bool | Iterable[Rule] = False,
        ignore: Collection[str] = (),
        alerts: Alerts | None = None,
        keep: int | None = None,
        **accounts_by_provider: Accounts,
    ) -> Watch:
        """Sweep every `interval` seconds and yield the changes between sweeps.

        An async context manager, as sweeps are: `async with phones.watch(interval=300) as changes`. `Watch`
        describes the arguments.
        """
        from phonesys.inventory.watch import Watch  # a program that only sweeps does not load it

        self.check_names(accounts_by_provider, keywords_of(self.watch))
        return Watch(
            self,
            {**(accounts or {}), **accounts_by_provider},
            interval=interval,
            store=store,
            only=only,
            concurrency=concurrency,
            audit=audit,
            ignore=ignore,
            alerts=alerts,
            keep=keep,
        )

    def _sweep(
        self, named: Mapping[str, Accounts], *, only: Iterable[str] | None = None, **options: Any
    ) -> Sweep:
        self.check_names(named)
        for name, accounts in named.items():
            _check_accounts(name, accounts)
        names = self.select(only)
        named = {**self.configured_accounts, **named}
        self._check_open()
        sources = [Source(name, self._providers[name], named.get(name)) for name in names]
        return Sweep(sources, observers=self._observers, **options)

    def _check_open(self) -> None:
        if self._stack is None:
            raise UsageError("this PhoneSystem is not open; use `async with`")

    def select(self, only: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the names of the backends that `only` selects: all by default. Raise UnknownProvider."""
        if only is None:
            return tuple(self._providers)
        names = (only,) if isinstance(only, str) else tuple(only)
        self.check_names(names)
        return names

    def check_names(self, names: Iterable[str], keywords: Iterable[str] = ()) -> None:
        """Raise UnknownProvider for a name that no backend has, with the nearest name or keyword."""
        for name in names:
            if name not in self._providers:
                meant = closest(name, (*self._providers, *keywords))
                if meant is not None and meant not in self._providers:
                    raise UnknownProvider(f"no backend is named {name!r}; did you mean {meant}=?")
                raise UnknownProvider(f"no backend is named {name!r}{suggestion(name, self._providers)}")


def keywords_of(*methods: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the methods' keyword-only parameters."""
    parameters = [one for method in methods for one in signature(method).parameters.values()]
    return tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def _check_accounts(name: str, accounts: Any) -> None:
    # A string is an iterable of strings, but was surely meant as one account.
    if isinstance(accounts, str | bytes) or not isinstance(accounts, Iterable | AsyncIterable):
        raise InvalidArgument(
            f"{name}: expected account ids in an iterable, as in {name}=['…'], got {accounts!r:.80}"
        )


async def _everything(sweep: Sweep) -> list[PhoneNumber]:
    return [number for page in await _read_all(sweep) for number in page.numbers]


async def _read_all(sweep: Sweep) -> list[Page[PhoneNumber]]:
    async with sweep:
        pages = [page async for page in sweep]
    if sweep.report.failures or sweep.report.rejected:
        found = [number for page in pages for number in page.numbers]
        raise SweepIncomplete(_missing(sweep.report), numbers=found, report=sweep.report)
    return pages


def _missing(report: SweepReport) -> str:
    """Describe the accounts and rows that could not be read."""
    parts: list[str] = []
    if failures := report.failures:
        errors = [str(failure.error) for failure in failures]
        parts.append(f"{len(failures)} accounts could not be read: {_shortened(errors)}")
    if report.rejected:
        rows = [
            f"{result.rejected} in {provider} {account}"
            for (provider, account), result in report.accounts.items()
            if result.rejected
        ]
        parts.append(f"{report.rejected} rows could not be read: {_shortened(rows)}")
    return "; ".join(parts)


def _shortened(items: list[str]) -> str:
    more = len(items) - _MAX_SHOWN
    return "; ".join([*items[:_MAX_SHOWN], *([f"and {more} more"] if more > 0 else [])])
