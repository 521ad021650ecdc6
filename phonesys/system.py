"""The facade: several backends as one phone system."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from phonesys.errors import InvalidArgument, SweepIncomplete, UnknownProvider, UsageError
from phonesys.provider import NumberProvider
from phonesys.sweep import Source, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from types import TracebackType

    from phonesys.inventory import Inventory
    from phonesys.inventory.watch import Watch
    from phonesys.model import PhoneNumber
    from phonesys.sweep import Accounts, SweepReport
    from phonesys.sweep.run import OnError

_MAX_SHOWN = 3


class PhoneSystem:
    """Several backends by name, opened and closed by one `async with`.

    Raise UsageError for two backends of one name: rename one with `name=`.
    """

    def __init__(self, *providers: NumberProvider) -> None:
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

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise UsageError("this PhoneSystem is open already")
        async with AsyncExitStack() as stack:
            for provider in self._providers.values():
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

        It is typed as Any, since its abilities depend on its provider; `require` gives it a type.
        """
        self._check_names([name])
        return self._providers[name]

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
        named = {**(accounts or {}), **accounts_by_provider}
        return await _everything(self._sweep(named, only=only, match=number))

    def watch(
        self,
        accounts: Mapping[str, Iterable[str]] | None = None,
        *,
        interval: float | timedelta,
        store: Inventory | None = None,
        only: Iterable[str] | None = None,
        concurrency: int = 64,
        **accounts_by_provider: Iterable[str],
    ) -> Watch:
        """Sweep every `interval` seconds and yield the changes between sweeps.

        An async context manager, as sweeps are: `async with phones.watch(interval=300) as changes`.
        """
        from phonesys.inventory.watch import Watch  # a program that only sweeps does not load it

        return Watch(
            self,
            accounts,
            interval=interval,
            store=store,
            only=only,
            concurrency=concurrency,
            **accounts_by_provider,
        )

    def _sweep(
        self, named: Mapping[str, Accounts], *, only: Iterable[str] | None = None, **options: Any
    ) -> Sweep:
        for name, accounts in named.items():
            _check_accounts(name, accounts)
        self._check_names(named)
        names = self.select(only)
        if self._stack is None:
            raise UsageError("this PhoneSystem is not open; use `async with`")
        return Sweep([Source(name, self._providers[name], named.get(name)) for name in names], **options)

    def select(self, only: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the names of the backends that `only` selects: all by default. Raise UnknownProvider."""
        if only is None:
            return tuple(self._providers)
        names = (only,) if isinstance(only, str) else tuple(only)
        self._check_names(names)
        return names

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._providers:
                known = ", ".join(map(repr, self._providers)) or "none"
                raise UnknownProvider(f"no backend is named {name!r}; there are: {known}")


def _check_accounts(name: str, accounts: Any) -> None:
    # A string is an iterable of strings, but was surely meant as one account.
    if isinstance(accounts, str | bytes) or not isinstance(accounts, Iterable | AsyncIterable):
        raise InvalidArgument(
            f"{name}: expected account ids in an iterable, as in {name}=['…'], got {accounts!r:.80}"
        )


async def _everything(sweep: Sweep) -> list[PhoneNumber]:
    found: list[PhoneNumber] = []
    async with sweep:
        async for page in sweep:
            found.extend(page.numbers)
    if sweep.report.failures or sweep.report.rejected:
        raise SweepIncomplete(_missing(sweep.report), numbers=found, report=sweep.report)
    return found


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
