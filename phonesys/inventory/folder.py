"""A snapshot as a folder of Parquet files: one for each shard, and a manifest once all are there.

A file's name is fixed by its shard, and files appear whole, so that a shard that is swept twice leaves one
file. The small JSON file of a shard is written last: without it, the shard is not finished.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from phonesys._concurrency import wait_finished
from phonesys._extras import require_extra
from phonesys._files import replace_atomically
from phonesys.errors import InvalidArgument, NotOpen
from phonesys.inventory.errors import InventoryError
from phonesys.inventory.record import account_outcomes, incomplete_accounts, page_records
from phonesys.inventory.shard import Shard, validate_snapshot_name
from phonesys.sweep import AccountReport, Failure, Outcome, SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from phonesys.inventory.export.formats import Writer
    from phonesys.model import Page, PhoneNumber
    from phonesys.record import NumberRecord
    from phonesys.sweep import Sweep

MANIFEST = "manifest.json"
_ROWS = 20_000  # of a row group: pages are far too small for one


class ShardFile(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a finished shard, in the JSON file beside its Parquet file."""

    snapshot: str
    shard: int
    shards: int
    coverage: dict[str, str]
    started_at: datetime
    finished_at: datetime
    numbers: int
    accounts: int
    incomplete_accounts: int
    rejected: int
    file: str
    accounts_file: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a finished snapshot, and what they hold together."""

    snapshot: str
    coverage: dict[str, str]
    started_at: datetime
    finished_at: datetime
    numbers: int
    accounts: int
    incomplete_accounts: int
    """The number of accounts, or lists of accounts, that were not read completely."""
    rejected: int
    shards: tuple[ShardFile, ...]


class _AccountLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    backend: str
    account: str
    outcome: Outcome
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    duplicates: int = 0
    error: str | None = None
    name: str | None = None


class _Unfinished(Exception):
    """The block ends before the shard was read to its end."""


class SnapshotFolder:
    """The folder `path/snapshot`. Needs the extra `phonesys[export]`."""

    def __init__(self, path: str | Path, snapshot: str) -> None:
        self.snapshot = validate_snapshot_name(snapshot)
        self.path = Path(path) / snapshot

    def sweep_shard(self, sweep: Sweep, shard: Shard, coverage: Mapping[str, str]) -> FolderSweep:
        """Write the pages of a sweep as one shard. A finished shard is not swept again."""
        return FolderSweep(self, sweep, shard, dict(coverage))

    def begun_shards(self) -> int | None:
        """Return the number of shards that a file of the snapshot states, or None before the first."""
        found = next(self.path.glob("shard-*-of-*.*"), None)
        return None if found is None else int(found.name.partition("-of-")[2][:5])

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of a finished snapshot, or None."""
        try:
            return msgspec.json.decode((self.path / MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None

    def name_of(self, shard: Shard, suffix: str) -> str:
        """Return the name of a shard's file."""
        return f"shard-{shard.index:05}-of-{shard.count:05}{suffix}"

    def read_shard(self, shard: Shard) -> ShardFile | None:
        """Return what is known of a shard, or None if it is not finished."""
        try:
            raw = (self.path / self.name_of(shard, ".json")).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(raw, type=ShardFile)

    def finish_shard(self, found: ShardFile) -> tuple[int, ...]:
        """Write a shard's JSON file, and the manifest with the last one. Return the shards that are left."""
        shard = Shard(found.shard, found.shards)
        with replace_atomically(self.path / self.name_of(shard, ".json")) as file:
            file.write(msgspec.json.encode(found))
        every = [self.read_shard(Shard(index, shard.count)) for index in range(1, shard.count + 1)]
        done = [one for one in every if one is not None]
        if len(done) == shard.count:
            self._write_manifest(tuple(done))
        return tuple(index for index, one in enumerate(every, 1) if one is None)

    def _write_manifest(self, done: tuple[ShardFile, ...]) -> None:
        manifest = Manifest(
            snapshot=self.snapshot,
            coverage=done[0].coverage,
            started_at=min(one.started_at for one in done),
            finished_at=max(one.finished_at for one in done),
            numbers=sum(one.numbers for one in done),
            accounts=sum(one.accounts for one in done),
            incomplete_accounts=sum(one.incomplete_accounts for one in done),
            rejected=sum(one.rejected for one in done),
            shards=done,
        )
        with replace_atomically(self.path / MANIFEST) as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        for left in self.path.glob(".shard-*.part"):  # of processes that were killed
            left.unlink(missing_ok=True)


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
        for line in msgspec.json.decode(b"[" + b",".join(raw.splitlines()) + b"]", type=list[_AccountLine]):
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


def _report_of(line: _AccountLine, error: InventoryError | None) -> AccountReport:
    return AccountReport(
        outcome=line.outcome,
        numbers=line.numbers,
        pages=line.pages,
        rejected=line.rejected,
        duplicates=line.duplicates,
        error=error,
    )


def _account_lines(report: SweepReport) -> list[_AccountLine]:
    lines = [
        _AccountLine(
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
        _AccountLine(backend=one.provider, account="", outcome=Outcome.FAILED, error=str(one.error))
        for one in lists
    ]
