"""A sweep that writes one shard of a snapshot into its folder."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import msgspec

from phonesys._concurrency import wait_finished
from phonesys._extras import require_extra
from phonesys._files import replace_atomically
from phonesys.errors import InvalidArgument, NotOpen
from phonesys.inventory.errors import InventoryError
from phonesys.inventory.folder.files import AccountLine, ShardFile
from phonesys.inventory.record import account_outcomes, incomplete_accounts, page_records
from phonesys.sweep import AccountReport, Failure, Outcome, SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from phonesys.inventory.export.formats import Writer
    from phonesys.inventory.folder.files import SnapshotFolder
    from phonesys.inventory.shard import Shard
    from phonesys.model import Page, PhoneNumber
    from phonesys.record import NumberRecord
    from phonesys.sweep import Sweep

_ROWS = 20_000  # of a row group: pages are far too small for one


class _Unfinished(Exception):
    """The block ends before the shard was read to its end."""


class FolderSweep:
    """Yields the pages of a shard while they are written; made by `SnapshotFolder.sweep_shard`.

    An async context manager and an async iterator of pages, like a sweep. The shard's files appear once it
    was read to its end. A shard that ends earlier leaves nothing, and is swept again from its start.
    """

    def __init__(self, folder: SnapshotFolder, sweep: Sweep, shard: Shard, coverage: dict[str, str]) -> None:
        self._folder = folder
        self._sweep = sweep
        self._shard = shard
        self._coverage = coverage
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._records: list[NumberRecord] = []
        self._is_open = False
        self.resumed = 0
        """The number of accounts of a shard that was finished before. The report includes them."""
        self.finished = False
        """True once the shard is in the folder."""
        self.unfinished_shards: tuple[int, ...] = ()
        """Once this shard is finished: the others that are not."""

    @property
    def report(self) -> SweepReport:
        """The sweep's report."""
        return self._sweep.report

    async def __aenter__(self) -> Self:
        self._is_open = True
        self._check_count()
        found = self._folder.read_shard(self._shard)
        if found is not None:
            self._check_coverage(found)
            self._restore(found)
            self.unfinished_shards = self._folder.finish(self._shard.count)
            return self
        require_extra("export", "pyarrow.parquet")
        from phonesys.inventory.export.formats import Format, open_writer

        self._started_at = datetime.now(UTC)
        self._folder.path.mkdir(parents=True, exist_ok=True)
        file = self._folder.path / self._folder.name_of(self._shard, ".parquet")
        await self._sweep.__aenter__()
        self._writer = open_writer(Format.PARQUET, self._stack.enter_context(replace_atomically(file)))
        return self

    def _check_count(self) -> None:
        begun = self._folder.begun_shards()
        if begun not in {None, self._shard.count}:
            raise InvalidArgument(
                f"shard: snapshot {self._folder.snapshot!r} was begun with {begun} shards, "
                f"not {self._shard.count}"
            )

    def _check_coverage(self, found: ShardFile) -> None:
        if found.coverage != self._coverage:
            raise InvalidArgument(
                f"snapshot: {self._folder.snapshot!r} was begun with other backends; use another name"
            )

    def _restore(self, found: ShardFile) -> None:
        report, self.finished, self.resumed = self.report, True, found.accounts
        raw = (self._folder.path / found.accounts_file).read_bytes()
        for line in msgspec.json.decode(b"[" + b",".join(raw.splitlines()) + b"]", type=list[AccountLine]):
            error = None if line.error is None else InventoryError(line.error)
            if not line.account and error is not None:
                report.failures.append(Failure(line.backend, None, error))
                continue
            report.record(line.backend, line.account, _report_of(line, error))
            report.numbers += line.numbers
            report.rejected += line.rejected
            report.numbers_by_provider[line.backend] += line.numbers

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._writer is None:
            return None
        try:
            return await self._sweep.__aexit__(kind, error, trace)
        finally:
            if not self.finished:
                self._writer.close()
                # A file whose block ends with an error is dropped.
                with suppress(_Unfinished), self._stack:
                    raise _Unfinished

    def __aiter__(self) -> AsyncIterator[Page[PhoneNumber]]:
        return self

    async def __anext__(self) -> Page[PhoneNumber]:
        if not self._is_open:
            raise NotOpen("a shard is swept inside its block: `async with folder.sweep_shard(…) as sweep`")
        if self.finished:
            raise StopAsyncIteration
        try:
            page = await anext(self._sweep)
        except StopAsyncIteration:
            if not self.report.timed_out:
                await self._finish()
            raise
        self._records.extend(page_records(page, self.report.account_names))
        if len(self._records) >= _ROWS:
            await self._write_rows()
        return page

    async def _write_rows(self) -> None:
        """Compress in a thread, while pages arrive."""
        writer, batch, self._records = self._writer, self._records, []
        assert writer is not None  # noqa: S101 -- opened on entry
        writing = asyncio.ensure_future(asyncio.to_thread(writer.write, batch))
        await wait_finished(writing)
        writing.result()

    async def _finish(self) -> None:
        if self._records:
            await self._write_rows()
        assert self._writer is not None  # noqa: S101 -- opened on entry
        report, folder = self.report, self._folder
        incomplete = await incomplete_accounts(account_outcomes(report))
        self._writer.write_incomplete(incomplete)
        self._writer.close()
        self._stack.close()
        accounts_file = folder.name_of(self._shard, ".accounts.jsonl")
        lines = _account_lines(report)
        with replace_atomically(folder.path / accounts_file) as file:
            file.write(msgspec.json.Encoder().encode_lines(lines))
        self.unfinished_shards = folder.finish_shard(
            ShardFile(
                snapshot=folder.snapshot,
                shard=self._shard.index,
                shards=self._shard.count,
                coverage=self._coverage,
                started_at=self._started_at,
                finished_at=datetime.now(UTC),
                numbers=report.numbers,
                accounts=len(report.accounts),
                incomplete_accounts=len(incomplete),
                rejected=report.rejected,
                file=folder.name_of(self._shard, ".parquet"),
                accounts_file=accounts_file,
            )
        )
        self.finished = True


def _report_of(line: AccountLine, error: InventoryError | None) -> AccountReport:
    return AccountReport(
        outcome=line.outcome,
        numbers=line.numbers,
        pages=line.pages,
        rejected=line.rejected,
        duplicates=line.duplicates,
        error=error,
    )


def _account_lines(report: SweepReport) -> list[AccountLine]:
    lines = [
        AccountLine(
            backend=backend,
            account=account,
            outcome=result.outcome,
            numbers=result.numbers,
            pages=result.pages,
            rejected=result.rejected,
            duplicates=result.duplicates,
            error=None if result.error is None else str(result.error),
            name=report.account_names.get((backend, account)),
        )
        for (backend, account), result in report.accounts.items()
    ]
    lists = [failure for failure in report.failures if failure.account is None]
    return lines + [
        AccountLine(backend=one.provider, account="", outcome=Outcome.FAILED, error=str(one.error))
        for one in lists
    ]
