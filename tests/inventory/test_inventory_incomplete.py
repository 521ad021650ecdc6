"""Unreadable rows and failed accounts: nothing that is incomplete looks complete."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import Cursor, Forbidden, Page, PhoneSystem
from phonesys.inventory import (
    AccountOutcome,
    ChangeKind,
    Inventory,
    Watch,
    account_outcomes,
    incomplete_accounts,
)
from phonesys.inventory.export import export
from phonesys.model import UnreadableRow
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[[Any], Any]


class Damaged(Memory):
    """A backend with one unreadable row on every page of the accounts in `damaged`."""

    damaged: frozenset[str] = frozenset()

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().page(account, cursor)
        row = UnreadableRow(b"{}", "no number")
        return msgspec.structs.replace(page, rejected=(row,)) if account in self.damaged else page


BOTH = {"a": [[number(1), number(2)]], "b": [[number(3, "b")]]}
LESS = {"a": [[number(1)]], "b": [[number(3, "b")]]}


@pytest.mark.parametrize("damaged_first", [True, False])
async def test_unreadable_rows_make_an_account_unknown(where: str, damaged_first: bool) -> None:
    """On either side of a diff, a number that may be among unreadable rows is neither added nor removed."""
    backend = Damaged(LESS if damaged_first else BOTH)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        for pages, is_damaged in ((backend.pages, damaged_first), (BOTH, not damaged_first)):
            backend.pages = pages if damaged_first or not is_damaged else LESS
            backend.damaged = frozenset("a" if is_damaged else "")
            await inventory.collect(phones)
        (change,) = [change async for change in inventory.diff()]
    when = "before" if damaged_first else "now"
    assert (change.kind, change.account) == (ChangeKind.UNKNOWN, "a")
    assert change.reason == f"1 row could not be read {when}"


def test_a_watch_removes_no_unreadable_number(jumping: Run) -> None:
    """An account with unreadable rows is unknown once, and is later compared with its last complete state."""

    async def main() -> None:
        backend = Damaged(BOTH)
        async with PhoneSystem(backend) as phones, Watch(phones, interval=10) as changes:
            await asyncio.sleep(5)
            backend.pages, backend.damaged = LESS, frozenset("a")
            unknown = await anext(changes)
            assert (unknown.kind, unknown.account) == (ChangeKind.UNKNOWN, "a")
            assert unknown.reason == "1 row could not be read"
            await asyncio.sleep(30)
            backend.damaged = frozenset()
            removed = await anext(changes)
            assert (removed.kind, removed.number) == (ChangeKind.REMOVED, "+14155550002")

    jumping(main())


async def test_a_snapshot_counts_what_is_missing(where: str) -> None:
    """A snapshot has the number of incomplete accounts and of unreadable rows, and names both."""
    backend = Damaged({**BOTH, "c": [Forbidden("no", status=403)]})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        backend.damaged = frozenset("ab")
        await inventory.collect(phones)
        damaged = await inventory.snapshot()
        backend.pages, backend.damaged = BOTH, frozenset()
        await inventory.collect(phones)
        assert [one.complete for one in await inventory.snapshots()] == [True, False]
        assert (damaged.incomplete_accounts, damaged.rejected, damaged.numbers) == (3, 2, 3)
        incomplete = await incomplete_accounts(damaged.accounts())
    assert [(one.account, one.outcome, one.rejected) for one in incomplete] == [
        ("a", "done", 1),
        ("b", "done", 1),
        ("c", "failed", 0),
    ]
    assert incomplete[0].problem == "1 row could not be read"
    assert "403" in str(incomplete[2].problem)


async def test_a_resumed_sweep_counts_earlier_unreadable_rows(where: str) -> None:
    """The report of a resumed sweep is incomplete if an earlier run could not read a row."""
    backend = Damaged({f"a{i}": [[number(i, f"a{i}")]] for i in range(30)})
    backend.damaged = frozenset(backend.pages)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, concurrency=1) as sweep:
            async for _ in sweep:
                if len(backend.asked) > 4:
                    break
        backend.damaged = frozenset()
        async with inventory.sweep(phones) as sweep:
            _ = [page async for page in sweep]
        assert sweep.report.rejected == sweep.resumed > 0
        assert not sweep.report.complete


async def test_outcomes_of_a_sweep_include_unreadable_rows() -> None:
    """A sweep and a snapshot describe incomplete accounts alike."""
    backend = Damaged(BOTH)
    backend.damaged = frozenset("b")
    async with PhoneSystem(backend) as phones, phones.sweep() as sweep:
        _ = [page async for page in sweep]
    (incomplete,) = await incomplete_accounts(account_outcomes(sweep.report))
    assert incomplete == AccountOutcome("memory", "b", "done", rejected=1)


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
async def test_typed_exports_name_incomplete_accounts(tmp_path: Path, format_: str) -> None:
    """Parquet and Arrow files hold the incomplete accounts and their reasons as metadata."""
    pytest.importorskip("pyarrow")
    for outcomes, complete in (
        ([AccountOutcome("acme", "a", "done", rejected=2), AccountOutcome("acme", "b", "done")], "false"),
        ([AccountOutcome("acme", "b", "done")], "true"),
    ):
        path = tmp_path / f"n.{format_}"
        await export(path, [], accounts=outcomes)
        metadata = _metadata(path)
        assert metadata[b"phonesys.complete"] == complete.encode()
        named = {one["account"]: one["problem"] for one in json.loads(metadata[b"phonesys.incomplete"])}
        assert named == ({"a": "2 rows could not be read"} if complete == "false" else {})


def _metadata(path: Path) -> dict[bytes, bytes]:
    if path.suffix == ".parquet":
        return dict(pytest.importorskip("pyarrow.parquet").read_metadata(path).metadata)
    with pytest.importorskip("pyarrow").ipc.open_file(path) as reader:
        last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        return dict(last.custom_metadata)
