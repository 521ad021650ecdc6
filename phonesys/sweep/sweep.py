"""The sweep as its consumer sees it: a block, and an iterator of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import anyio

from phonesys._matching import NumberQuery
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.sweep.report import SweepReport
from phonesys.sweep.run import SweepOptions, SweepRun
from phonesys.telemetry.log import add_debug_log
from phonesys.telemetry.observers import Observers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep.run import OnError
    from phonesys.sweep.source import Source


class Sweep:
    """Yields the pages of all accounts as they arrive; made by `PhoneSystem.sweep`.

    An async context manager, so that everything it started has ended when its block ends, and an async
    iterator of pages. `report` is live while it runs. A sweep can be used once.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        report: SweepReport | None = None,
        concurrency: int = 64,
        on_error: OnError = "collect",
        keep_done: bool = True,
        deadline: float | None = None,
        match: str | None = None,
        verify: bool = True,
        observers: Observers | None = None,
    ) -> None:
        if not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidArgument(f"concurrency: expected a whole number from 1, got {concurrency!r}")
        if on_error not in {"collect", "raise"}:
            raise InvalidArgument(f"on_error: expected 'collect' or 'raise', got {on_error!r}")
        if deadline is not None and not deadline > 0:
            raise InvalidArgument(f"deadline: expected a positive number of seconds, got {deadline!r}")
        self.report = SweepReport() if report is None else report
        self._sources = tuple(sources)
        self._options = SweepOptions(
            concurrency=concurrency,
            on_error=on_error,
            keep_done=keep_done,
            deadline=deadline,
            query=None if match is None else NumberQuery.parse(match),
            verify=verify,
            observers=Observers(observers or ()),
        )
        self._run: SweepRun | None = None

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise UsageError("a sweep can be used once; make another one")
        group = anyio.create_task_group()
        add_debug_log(self._options.observers)
        self._run = run = SweepRun(self._sources, self._options, self.report, group)
        await group.__aenter__()
        run.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._run is not None  # noqa: S101 -- `async with` entered it
        self._run.cancel()
        try:
            return await self._run.group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # anyio wraps an exception of the block, which the caller should see as it was raised.
            if any(inner is not error for inner in group.exceptions):
                raise
            return False
        finally:
            self._run.finish_report()

    def __aiter__(self) -> AsyncIterator[Page[PhoneNumber]]:
        return self

    async def __anext__(self) -> Page[PhoneNumber]:
        if self._run is None:
            raise NotOpen("a sweep is read inside its block: `async with phones.sweep(…) as sweep`")
        return await self._run.next_page()

    async def numbers(self) -> AsyncIterator[PhoneNumber]:
        """Yield the numbers of all pages as they arrive: `async for number in sweep.numbers()`.

        `report` says what could not be read.
        """
        async for page in self:
            for number in page.numbers:
                yield number

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self._sources)
        state = "not started" if self._run is None else self.report.describe()
        return f"<Sweep of {names or 'nothing'}: {state}>"
