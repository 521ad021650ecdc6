"""What programs and notebooks use beside pages: numbers, tables, configurations, types, and displays."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

from phonesys import (
    AgentNumber,
    AgentNumbers,
    ConfigError,
    InvalidArgument,
    LeadConnector,
    Leadping,
    Page,
    PhoneSystem,
    SweepIncomplete,
    UnknownProvider,
    UsageError,
)
from phonesys._extras import MissingExtra
from phonesys.changes import Plan, PlannedChange, Reading
from phonesys.inventory import ChangeKind, Inventory
from phonesys.inventory.diff import Change, Comparison, FieldChange
from phonesys.inventory.export import COLUMNS, arrow_table, export
from phonesys.model import UnreadableRow
from phonesys.provider import NumberProvider
from phonesys.writes import Action
from tests.cli.vendors import toml
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from phonesys.sandbox import Sandbox

HOSTILE = "<script>alert(1)</script>\x00 & \"'"
SECRET = "planted-4f1c0b7a"
COLUMN_NAMES = [column.name for column in COLUMNS]


def memory(**options: Any) -> Memory:
    return Memory({"a": [[number(1), number(2)], [number(3)]], "b": [[number(4, "b")]]}, **options)


# Single numbers


async def test_numbers_come_one_by_one() -> None:
    """Those of every page of every account, while the report is kept as for pages."""
    async with PhoneSystem(memory()) as phones, phones.sweep() as sweep:
        found = [one.number async for one in sweep.numbers()]
    assert sorted(found) == sorted(f"+1415555{index:04}" for index in (1, 2, 3, 4))
    assert sweep.report.complete
    assert sweep.report.numbers == len(found)


async def test_leaving_the_numbers_early_ends_the_sweep() -> None:
    """As with pages, the rest is not reached once the block ends."""
    async with PhoneSystem(memory()) as phones, phones.sweep() as sweep:
        async for _ in sweep.numbers():
            break
    assert not sweep.report.complete


async def test_a_stored_sweep_yields_numbers_too(tmp_path: Path) -> None:
    """Each is in the database by then, and the sweep becomes a snapshot."""
    async with Inventory(tmp_path / "store.db") as inventory, PhoneSystem(memory()) as phones:
        async with inventory.sweep(phones) as sweep:
            found = {one.number async for one in sweep.numbers()}
        snapshot = await inventory.snapshot()
        assert {record.number async for record in snapshot.records()} == found
        assert (await snapshot.table()).num_rows == len(found) == snapshot.numbers


# Tables and exports


async def test_a_table_has_the_columns_of_an_export() -> None:
    """A row a number, also of no numbers, and polars takes it."""
    async with PhoneSystem(memory()) as phones:
        table = await phones.table()
        numbers = await phones.numbers()
        empty = await phones.table({"memory": []})
    frame = pl.DataFrame(pl.from_arrow(table))
    assert frame.columns == table.column_names == empty.column_names == COLUMN_NAMES
    assert sorted(frame["number"]) == sorted(one.number for one in numbers)
    assert frame["backend"].unique().to_list() == ["memory"]
    assert empty.num_rows == 0
    assert arrow_table(numbers).num_rows == table.num_rows


async def test_an_incomplete_table_is_an_error() -> None:
    """With the numbers that were found, as for `numbers`."""
    failing = Memory({"a": [[number(1)]], "b": [RuntimeError("broken")]})
    async with PhoneSystem(failing) as phones:
        with pytest.raises(SweepIncomplete) as caught:
            await phones.table()
    assert [one.number for one in caught.value.numbers] == ["+14155550001"]


async def test_without_pyarrow_the_extra_is_named_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of thousands of accounts does not end with a missing package."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    backend = memory()
    async with PhoneSystem(backend) as phones:
        with pytest.raises(MissingExtra, match=r"phonesys\[export\]"):
            await phones.table()
    assert not backend.asked


async def test_export_takes_what_numbers_gives(tmp_path: Path) -> None:
    """A list of numbers, and the numbers of a sweep as they arrive."""
    async with PhoneSystem(memory()) as phones:
        assert await export(tmp_path / "list.csv", await phones.numbers()) == 4
        async with phones.sweep() as sweep:
            assert await export(tmp_path / "sweep.csv", sweep.numbers()) == 4
    written, streamed = ((tmp_path / name).read_text().splitlines() for name in ("list.csv", "sweep.csv"))
    assert sorted(written) == sorted(streamed)
    assert written[0] == ",".join(COLUMN_NAMES)


# Configuration


async def test_a_system_comes_from_the_configuration_of_the_command_line(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """With the accounts that it lists; others can be named, and backends left out."""
    accounts = sandbox.location_ids[:2]
    file = tmp_path / "phonesys.toml"
    file.write_text(toml(sandbox, tuple(accounts)))
    async with PhoneSystem.from_config(file) as phones:
        async with phones.sweep() as sweep:
            _ = [page async for page in sweep]
        assert {account for backend, account in sweep.report.accounts if backend == "leadconnector"} == {
            *accounts
        }
        other = sandbox.location_ids[2]
        async with phones.sweep(leadconnector=[other], only="leadconnector") as sweep:
            _ = [page async for page in sweep]
        assert list(sweep.report.accounts) == [("leadconnector", other)]
    assert list(PhoneSystem.from_config(str(file), only=["leadping"])) == ["leadping"]


async def test_configured_accounts_are_named_accounts_in_a_store(sandbox: Sandbox, tmp_path: Path) -> None:
    """A snapshot of some accounts is not taken for one of all that the backend lists."""
    file = tmp_path / "phonesys.toml"
    file.write_text(toml(sandbox, (sandbox.location_ids[0],)))
    async with PhoneSystem.from_config(file) as phones, Inventory(tmp_path / "store.db") as inventory:
        await inventory.collect(phones, only=["leadconnector", "agents"])
        snapshot = await inventory.snapshot()
    assert snapshot.coverage == {"leadconnector": "named", "agents": "named"}


def test_a_file_that_is_merely_found_sends_no_credential_to_its_own_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line's rule holds for programs: only a file that is named may choose the host."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHONESYS_CONFIG", raising=False)
    monkeypatch.setenv("KEY", SECRET)
    Path("phonesys.toml").write_text('[agents]\napi_key_env = "KEY"\nbase_url = "https://evil.example"\n')
    with pytest.raises(ConfigError, match="base_url"):
        PhoneSystem.from_config()
    assert list(PhoneSystem.from_config("phonesys.toml")) == ["agents"]


def test_a_system_comes_from_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of credentials, and of no file, even if one is there."""
    monkeypatch.chdir(tmp_path)
    Path("phonesys.toml").write_text(f'[leadping]\napi_key = "{SECRET}"\n')
    phones = PhoneSystem.from_env({"PHONESYS_AGENTS_API_KEY": SECRET})
    assert list(phones) == ["agents"]
    assert SECRET not in repr(phones)
    monkeypatch.setenv("PHONESYS_LEADPING_API_KEY", SECRET)
    assert "leadping" in PhoneSystem.from_env()
    with pytest.raises(ConfigError, match="PHONESYS_LEADPING_API_KEY"):
        PhoneSystem.from_env({})


# Typed access, and typing errors


def test_a_backend_is_found_by_its_class() -> None:
    """The only one, or the one of that name; anything else is said."""
    first, second = LeadConnector(SECRET, name="east"), LeadConnector(SECRET, name="west")
    phones = PhoneSystem(first, second, Leadping(SECRET))
    assert phones.get(Leadping) is phones["leadping"]
    assert phones.get(LeadConnector, "west") is second
    with pytest.raises(UsageError, match="'east', 'west'; expected a name"):
        phones.get(LeadConnector)
    with pytest.raises(UnknownProvider, match="no backend is a AgentNumbers; 'east' is a LeadConnector"):
        phones.get(AgentNumbers)
    with pytest.raises(UnknownProvider, match="'leadping' is a Leadping"):
        phones.get(LeadConnector, "leadping")
    with pytest.raises(UnknownProvider, match="did you mean 'west'"):
        phones.get(LeadConnector, "wset")
    with pytest.raises(InvalidArgument, match="expected a class"):
        phones.get("leadping")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("concurency", "did you mean concurrency=?"),
        ("leadpign", "did you mean 'leadping'?"),
        ("zzz", "there are: agents, leadping"),
    ],
)
async def test_a_misspelt_keyword_is_told_before_any_request(keyword: str, hint: str, tmp_path: Path) -> None:
    """A keyword that is no backend's name may be a misspelt name or option."""
    phones = PhoneSystem(Leadping(SECRET), AgentNumbers(SECRET))
    options: dict[str, Any] = {keyword: 5}
    async with phones, Inventory(tmp_path / "store.db") as inventory:
        for call in (
            lambda: phones.sweep(**options),
            lambda: phones.watch(interval=1, **options),
            lambda: inventory.sweep(phones, **options),
        ):
            with pytest.raises(UnknownProvider) as caught:
                call()
            assert hint in str(caught.value)
        with pytest.raises(UnknownProvider, match="did you mean only="):
            await phones.find("+14155552671", onyl=["leadping"])
        with pytest.raises(UnknownProvider, match="did you mean resume="):
            inventory.sweep(phones, resum=False)


# What is shown


async def test_objects_are_shown_in_one_short_line(tmp_path: Path) -> None:
    """Their state, and no secret."""
    backend = Leadping(SECRET)
    phones = PhoneSystem(backend)
    assert repr(phones) == "<PhoneSystem 'leadping', closed>"
    assert repr(PhoneSystem()) == "<PhoneSystem no backends, closed>"
    inventory = Inventory(f"postgresql://user:{SECRET}@db.example/phones?sslmode=require&password={SECRET}")
    assert repr(inventory) == "<Inventory 'postgresql://db.example/phones', closed>"
    page: Page[AgentNumber] = Page(
        account="a", provider="memory", numbers=(number(1),), next=(1,), rejected=(UnreadableRow(b"", ""),)
    )
    assert repr(page) == "<Page of memory 'a': 1 numbers, 1 rows not read, 1 pages follow>"
    async with PhoneSystem(memory()) as opened, Inventory(tmp_path / "store.db") as store:
        assert repr(opened) == "<PhoneSystem 'memory', open>"
        async with opened.sweep() as sweep:
            assert repr(sweep) == "<Sweep of memory: 0 numbers in 0 accounts>"
            assert len([page async for page in sweep]) == 3
        assert repr(sweep) == "<Sweep of memory: 4 numbers in 2 accounts>"
        assert repr(sweep.report) == "<SweepReport: complete, 4 numbers in 2 accounts>"
        assert repr(opened.sweep()) == "<Sweep of memory: not started>"
        async with store.sweep(opened) as stored:
            assert repr(stored).startswith("<StoredSweep 1: <Sweep of memory: 0 numbers")


def test_a_plan_is_shown_by_its_counts() -> None:
    """Not by every field of every change."""
    changes = tuple(
        PlannedChange(position=index, action=Action.UPDATE, backend="b", account="a", new={"label": "x" * 99})
        for index in range(1000)
    )
    plan = Plan(
        id="p1", created_at=datetime.now(UTC), reading=Reading(source="live", read_at=datetime.now(UTC))
    )
    assert repr(plan) == "<Plan p1: no changes>"
    assert repr(msgspec.structs.replace(plan, changes=changes)) == "<Plan p1: 1,000 update>"


class Text(HTMLParser):
    """Collects the tags and the text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


async def hostile_report() -> Any:
    failing = Memory({HOSTILE: [RuntimeError(HOSTILE)], "b": [[number(4, "b")]]}, name=HOSTILE)
    async with PhoneSystem(failing) as phones, phones.sweep() as sweep:
        _ = [page async for page in sweep]
    return sweep.report


async def test_notebooks_show_tables_of_escaped_text() -> None:
    """A report, a page and a comparison. What vendors and users wrote is text, never a tag."""
    page: Page[AgentNumber] = Page(
        account=HOSTILE, numbers=tuple(AgentNumber(number="+14155550001", label=HOSTILE) for _ in range(60))
    )
    change = Change(
        kind=ChangeKind.CHANGED,
        backend=HOSTILE,
        account=HOSTILE,
        number="+14155550001",
        fields=(FieldChange("label", None, HOSTILE),),
    )
    for shown, expected in (
        (await hostile_report(), "Incomplete: 1 numbers in 2 accounts, 1 failures"),
        (page, "and 10 more"),
        (Comparison([change]), "1 changed"),
    ):
        parsed = Text(shown._repr_html_())
        assert set(parsed.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
        assert HOSTILE.partition("\x00")[0] in parsed.text
        assert expected in parsed.text


def test_what_is_empty_is_a_sentence() -> None:
    """There is no table without rows."""
    assert Comparison()._repr_html_() == "<p>no changes</p>"
    assert repr(Comparison()) == "<Comparison: no changes>"


async def test_two_snapshots_are_compared_at_once(tmp_path: Path) -> None:
    """With the changes that `diff` yields, counted."""
    async with Inventory(tmp_path / "store.db") as inventory:
        for backend in (simple(1, 2), simple(1, 3)):
            async with PhoneSystem(backend) as phones:
                await inventory.collect(phones)
        found = await inventory.compare()
        assert found == [change async for change in inventory.diff()]
    assert repr(found) == "<Comparison: 1 added>"
    assert found.counts() == {ChangeKind.ADDED: 1}


def test_every_backend_of_ours_is_a_provider() -> None:
    """So that `get` with the protocol finds them all, and says so."""
    with pytest.raises(UsageError, match="several backends"):
        PhoneSystem(Leadping(SECRET), AgentNumbers(SECRET)).get(NumberProvider)  # type: ignore[type-abstract]
