"""The facade: any number of backends as one system."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from phonesys._validation import validate_e164
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
    from phonesys.sweep import Accounts
    from phonesys.sweep.sweep import OnError

_SHOWN_FAILURES = 3


class PhoneSystem:
    """Several backends under their names; opens and closes them with its own `async with`.

    Raises UsageError for two backends of one name: give one of them another with `name=`.
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
        """Return the backend of that name, with all that it can do.

        Typed as Any, since what it can do depends on which it is; `require` gives it a type. Raises
        UnknownProvider.
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
        **accounts_by_provider: Accounts,
    ) -> Sweep:
        """Sweep the accounts that are named, and every backend that is not named whole.

        - `accounts`, or keywords: backend name to account ids, in any iterable or async iterable.
        - `only`: sweep no other backends than these.
        - `concurrency`: how many requests may be under way; those that wait for their turn do not count.
        - `on_error`: `"collect"` failures in the report, or `"raise"` the first.
        - `keep_done`: `False` only counts accounts that are done or empty, for sweeps without end; an account
          that is named twice may then be swept twice.
        - `deadline`: seconds after which what is left is not reached.
        - `verify`: read an account again where its pages do not add up, and fail it where they never do;
          `False` takes them as they come.

        Raises UnknownProvider and InvalidArgument, before anything is sent.
        """
        return self._sweep(
            {**(accounts or {}), **accounts_by_provider},
            only=only,
            concurrency=concurrency,
            on_error=on_error,
            keep_done=keep_done,
            deadline=deadline,
            verify=verify,
        )

    async def numbers(
        self, accounts: Mapping[str, Accounts] | None = None, **accounts_by_provider: Accounts
    ) -> list[PhoneNumber]:
        """Fetch everything at once, for small jobs.

        Raises SweepIncomplete, which still holds what was found, if any account failed.
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
        """Find every backend and account that holds this number, which is E.164.

        Asks the vendors' own search where there is one. Raises SweepIncomplete, which still holds what was
        found, if any account failed: the number may be in that one too.
        """
        named = {**(accounts or {}), **accounts_by_provider}
        return await _everything(self._sweep(named, only=only, match=validate_e164(number)))

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
        """Sweep again and again, every `interval` seconds, and yield what changed as it is seen.

        An async context manager, as sweeps are: `async with phones.watch(interval=300) as changes`.
        """
        from phonesys.inventory.watch import Watch  # not loaded by who only sweeps

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
        names = list(self._providers) if only is None else [only] if isinstance(only, str) else list(only)
        self._check_names([*named, *names])
        if self._stack is None:
            raise UsageError("this PhoneSystem is not open; use `async with`")
        return Sweep([Source(name, self._providers[name], named.get(name)) for name in names], **options)

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._providers:
                there = ", ".join(map(repr, self._providers)) or "none"
                raise UnknownProvider(f"no backend is named {name!r}; there are: {there}")


def _check_accounts(name: str, accounts: Any) -> None:
    # A string is an iterable of strings, and never what was meant.
    if isinstance(accounts, str | bytes) or not isinstance(accounts, Iterable | AsyncIterable):
        raise InvalidArgument(
            f"{name}: expected account ids in an iterable, as in {name}=['…'], got {accounts!r:.80}"
        )


async def _everything(sweep: Sweep) -> list[PhoneNumber]:
    found: list[PhoneNumber] = []
    async with sweep:
        async for page in sweep:
            found.extend(page.numbers)
    if sweep.report.failures:
        raise _incomplete(sweep, found)
    return found


def _incomplete(sweep: Sweep, found: list[PhoneNumber]) -> SweepIncomplete:
    failures = sweep.report.failures
    shown = "; ".join(str(failure.error) for failure in failures[:_SHOWN_FAILURES])
    more = f"; and {len(failures) - _SHOWN_FAILURES} more" if len(failures) > _SHOWN_FAILURES else ""
    return SweepIncomplete(
        f"{len(failures)} accounts could not be read: {shown}{more}", numbers=found, report=sweep.report
    )
