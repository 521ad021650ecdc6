"""Names of accounts: listed by a backend, stored, resumed, exported and reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from phonesys import PhoneSystem
from phonesys.inventory import Inventory, account_outcomes, sweep_records
from phonesys.inventory.export import export
from phonesys.inventory.report import write_report
from phonesys.provider import NamedAccount
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Named(Memory):
    """A backend that lists the names of some accounts."""

    names: dict[str, str]

    async def accounts_with_names(self) -> AsyncIterator[NamedAccount]:
        async for account in self.accounts():
            yield NamedAccount(account, self.names.get(account))


def backend(count: int = 3, **names: str) -> Named:
    made = Named({f"a{i}": [[number(i, f"a{i}")]] for i in range(count)})
    made.names = names or {"a0": "Front office", "a2": "Back <office>"}
    return made


async def test_a_sweep_reports_names_of_accounts() -> None:
    """The report, the records and the outcomes of a sweep have the names that the backend lists."""
    async with PhoneSystem(backend()) as phones, phones.sweep() as sweep:
        records = {record.account: record.account_name async for record in sweep_records(sweep)}
        outcomes = {one.account: one.name async for one in account_outcomes(sweep.report)}
    assert records == outcomes == {"a0": "Front office", "a1": None, "a2": "Back <office>"}


async def test_a_sweep_without_end_keeps_no_names() -> None:
    """Without `keep_done` the report does not grow with the accounts."""
    async with PhoneSystem(backend()) as phones, phones.sweep(keep_done=False) as sweep:
        assert len([page async for page in sweep]) == 3
    assert sweep.report.account_names == {}


async def test_names_are_stored(where: str) -> None:
    """Snapshots, records and the view have the names of accounts, and a new name is no change of a number."""
    async with Inventory(where) as inventory:
        for name in ("Front office", "Reception\0"):
            async with PhoneSystem(backend(a0=name)) as phones:
                await inventory.collect(phones)
        newest, oldest = await inventory.snapshots()
        for snapshot, name in ((newest, "Reception"), (oldest, "Front office")):
            outcomes = {one.account: one.name async for one in snapshot.accounts()}
            records = {record.account: record.account_name async for record in snapshot.records()}
            assert outcomes == records == {"a0": name, "a1": None, "a2": None}
        assert [change async for change in inventory.diff()] == []
        async with inventory._database.reading() as connection:
            query = text("SELECT account, account_name FROM inventory WHERE sweep_id = 1 ORDER BY account")
            rows = [tuple(row) for row in await connection.execute(query)]
    assert rows == [("a0", "Front office"), ("a1", None), ("a2", None)]


async def test_changes_have_names_of_accounts(where: str) -> None:
    """The records of a change name their accounts."""
    async with Inventory(where) as inventory:
        for count in (2, 3):
            async with PhoneSystem(backend(count)) as phones:
                await inventory.collect(phones)
        (added,) = [change async for change in inventory.diff()]
    assert added.new is not None
    assert added.new.account_name == "Back <office>"


async def test_a_resumed_sweep_knows_earlier_names(where: str) -> None:
    """Names of accounts that an earlier run read are in the report of the resumed sweep."""
    names = {f"a{i}": f"Office {i}" for i in range(30)}
    listing = backend(30, **names)
    async with PhoneSystem(listing) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, concurrency=1) as sweep:
            async for _ in sweep:
                if len(listing.asked) > 4:
                    break
        listing.names = {}
        async with inventory.sweep(phones) as sweep:
            _ = [page async for page in sweep]
            assert sweep.resumed > 0
            assert len(sweep.report.account_names) == sweep.resumed


async def test_names_are_exported_and_reported(tmp_path: Path) -> None:
    """The column `account_name`, and the page, show names as text."""
    pytest.importorskip("jinja2")
    pytest.importorskip("phonenumbers")
    async with PhoneSystem(backend()) as phones:
        async with phones.sweep() as sweep:
            await export(tmp_path / "n.jsonl", sweep_records(sweep))
        async with phones.sweep() as sweep:
            outcomes: Any = account_outcomes(sweep.report)
            await write_report(tmp_path / "n.html", sweep_records(sweep), accounts=outcomes)
    rows = map(json.loads, (tmp_path / "n.jsonl").read_text().splitlines())
    assert {row["account"]: row["account_name"] for row in rows}["a0"] == "Front office"
    page = (tmp_path / "n.html").read_text()
    assert '"a0","Front office",1,' in page
    assert r'"a2","Back \u003coffice\u003e",1,' in page
    assert "Back <office>" not in page
