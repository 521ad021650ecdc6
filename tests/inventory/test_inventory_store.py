"""The store: records come back, unchanged pages are not rewritten, and old databases are migrated."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from sqlalchemy import text

from phonesys import (
    AgentNumbers,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NumberKind,
    NumberPool,
    PhoneSystem,
)
from phonesys.backends.agents import AgentNumber
from phonesys.backends.leadconnector import LeadConnectorNumber
from phonesys.inventory import Inventory, InventoryError, NoSnapshot, NumberRecord, SchemaTooNew, to_record
from phonesys.inventory.store import migrations, rows
from phonesys.inventory.store.database import Database, _engine, connect
from phonesys.inventory.store.urls import parse_url
from phonesys.model import Capabilities, InboundService, NumberStatus, Page
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from pathlib import Path

    from phonesys.sandbox import Sandbox


def vendors(world: Sandbox, **options: Any) -> PhoneSystem:
    return PhoneSystem(
        LeadConnector(
            world.leadconnector_token,
            base_url=world.leadconnector_url,
            locations=world.location_ids,
            with_pools=True,
            **options,
        ),
        Leadping(world.leadping_key, base_url=world.leadping_url),
        AgentNumbers(world.agents_key, base_url=world.agents_url),
    )


async def count(inventory: Inventory, table: str) -> int:
    async with inventory._database.reading() as connection:
        found = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608
    return int(found)


async def test_stored_records_come_back(where: str, sandbox: Sandbox) -> None:
    """Every record of three vendors comes back with equal fields, from either database."""
    async with vendors(sandbox, page_size=3) as phones, Inventory(where) as inventory:
        found: list[NumberRecord] = []
        async with inventory.sweep(phones) as sweep:
            async for page in sweep:
                found += [to_record(one, page.provider) for one in page.numbers]
        snapshot = await inventory.snapshot()
        kept = [record async for record in snapshot.records()]
        by_place = sorted(found, key=lambda record: (record.backend, record.account, record.id))
        assert sorted(kept, key=lambda record: (record.backend, record.account, record.id)) == by_place
        assert snapshot.numbers == len(found) == sweep.report.numbers
        assert snapshot.id == sweep.id
        assert snapshot.finished_at is not None
        assert snapshot.started_at < snapshot.finished_at
        accounts = {(row[0], row[1]): row[2] async for row in snapshot.accounts()}
        assert accounts == {key: result.outcome.value for key, result in sweep.report.accounts.items()}
        one = [record async for record in snapshot.records(backend="agents", account="default")]
        assert one == [record for record in kept if record.backend == "agents"]


async def test_pools_come_back(where: str, sandbox: Sandbox) -> None:
    """Every pool of a number comes back once and complete."""
    async with vendors(sandbox, page_size=3) as phones, Inventory(where) as inventory:
        pools: dict[tuple[str, str], NumberPool] = {}
        async with inventory.sweep(phones) as sweep:
            async for page in sweep:
                for one in page.numbers:
                    if isinstance(pool := getattr(one, "pool", None), NumberPool):
                        pools[page.account, pool.id] = pool
        kept = [pool async for _, pool in (await inventory.snapshot()).pools()]
        assert len(kept) == len(pools) > 0
        assert {(pool.account, pool.id): pool for pool in kept} == pools


async def test_an_unchanged_page_is_not_written_again(where: str) -> None:
    """A second sweep refers to the unchanged pages of the first."""
    backend = Memory({f"a{i}": [[number(j, f"a{i}") for j in range(5)]] for i in range(20)})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        assert await count(inventory, "numbers") == 100
        backend.pages = {**backend.pages, "a7": [[number(j, "a7") for j in range(6)]]}
        await inventory.collect(phones)
        assert await count(inventory, "numbers") == 106
        assert await count(inventory, "pages") == 21
        assert await count(inventory, "inventory") == 201
        assert [snapshot.numbers for snapshot in await inventory.snapshots()] == [101, 100]


async def test_prune_deletes_only_unreferenced_pages(where: str) -> None:
    """Pages that a newer snapshot refers to are kept."""
    backend = Memory({"a": [[number(1)]], "b": [[number(2, "b")]]})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        for index in range(3):
            backend.pages = {**backend.pages, "b": [[number(2 + index, "b")]]}
            await inventory.collect(phones)
        assert await inventory.prune(keep=1) == 2
        assert await count(inventory, "numbers") == 2
        kept = [record.number async for record in (await inventory.snapshot()).records()]
        assert kept == ["+14155550001", "+14155550004"]
        assert await inventory.prune(keep=0) == 1
        assert [await count(inventory, table) for table in ("numbers", "pages", "accounts", "sweeps")] == [
            0
        ] * 4


def full(**fields: Any) -> LeadConnectorNumber:
    pool = NumberPool(
        id="p1", name="Pool", account="a", numbers=("+14155550100",), inbound=InboundService("ivr", "x")
    )
    known: dict[str, Any] = {
        "number": "+14155550100",
        "sid": "PN1",
        "label": "Line",
        "country_code": "US",
        "type": "mobile",
        "capability_flags": Capabilities(True, False, None, True),
        "inbound": InboundService("voice_ai", "68e3"),
        "date_added": "2024-02-29T23:59:59.123456+05:30",
        "pool": pool,
        "account": "a",
        "is_default": True,
    }
    return LeadConnectorNumber(**{**known, **fields})


@pytest.mark.parametrize("label", ["", "é 🙂 '\";--", "\0", "a\0b", "x" * 100_000, "\\u0000", "line\nbreak"])
async def test_any_text_can_be_stored(where: str, label: str) -> None:
    """NUL, which PostgreSQL cannot store, is replaced in both databases. All other text is unchanged."""
    one = full(label=label)
    async with PhoneSystem(Memory({"a": [[one]]})) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        (record,) = [record async for record in (await inventory.snapshot()).records()]
    expected = msgspec.structs.replace(
        to_record(one, "memory"), label=label.replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
    assert record == expected
    assert record.created_at == datetime(
        2024, 2, 29, 23, 59, 59, 123456, timezone(timedelta(hours=5, minutes=30))
    ).astimezone(UTC)


class Plain:
    """A number of another backend that is no struct and has fields of wrong types."""

    provider, account, label, country = "plain", "a", "half \ud83d", None
    kind, status, capabilities = NumberKind.LOCAL, NumberStatus.ACTIVE, Capabilities(voice=cast("Any", 1))
    assignee, created_at, updated_at = 7, None, None

    def __init__(self, index: int) -> None:
        self.id = str(index)
        self.number = f"+1415555{index:04}"


async def test_any_backends_numbers_can_be_stored(where: str) -> None:
    """Numbers that are no structs, hold half of a surrogate pair, or have wrong types are stored."""
    backend = Memory({"a": [[Plain(1), Plain(2)]]})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        await inventory.collect(phones)
        records = [record async for record in (await inventory.snapshot()).records()]
        assert await count(inventory, "numbers") == 2
    assert [record.number for record in records] == ["+14155550001", "+14155550002"]
    assert {record.label for record in records} == {"half ?"}
    assert {(record.voice, record.assignee) for record in records} == {(True, "7")}


def test_a_digest_tells_pages_apart() -> None:
    """Every field counts, including those without a column."""
    pages = [
        Page(account="a", numbers=(one,))
        for one in (full(), full(label="x"), full(address_sid="AD1"), AgentNumber(number="+1", account="a"))
    ]
    assert len({rows.digest(page) for page in pages}) == 4
    assert rows.digest(pages[0]) == rows.digest(Page(account="b", numbers=(full(),)))


def test_a_digest_accepts_integers_of_any_size() -> None:
    """An integer beyond 64 bits does not end a sweep."""
    odd = AgentNumber(number="+14155550100", account="a", row_id=2**70)
    assert rows.digest(Page(account="a", numbers=(odd,))) != rows.digest(
        Page(account="a", numbers=(AgentNumber(number="+14155550100", account="a", row_id=2**71),))
    )


@pytest.mark.parametrize("sizes", [(1,), (999, 1), (1000,), (1001, 2999), (7,) * 300])
async def test_pages_of_any_size_come_back_in_their_order(where: str, sizes: tuple[int, ...]) -> None:
    """Pages that span statements keep the order of their numbers."""
    pages = [[number(i, f"a{place}") for i in range(size)] for place, size in enumerate(sizes)]
    backend = Memory({f"a{place}": [page] for place, page in enumerate(pages)})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        kept: dict[str, list[str]] = {}
        async for record in (await inventory.snapshot()).records():
            kept.setdefault(record.account, []).append(record.id)
    assert kept == {f"a{place}": [one.id for one in page] for place, page in enumerate(pages)}


async def test_the_view_shows_every_field_of_a_record(where: str) -> None:
    """The view `inventory` has a typed column for every field."""
    rows_ = [
        full(),
        full(
            number="+14155550101",
            sid="PN2",
            date_added="2024-02-29T18:29:59Z",
            label='it\'s "x"',
            capability_flags=None,
        ),
        full(number="+14155550102", sid="PN3", date_added="2024-02-29T18:29:59.5Z", forwarding_number="+1"),
        full(number="+14155550103", sid="PN4", pool=None, inbound=None, linked_user="u1"),
    ]
    async with PhoneSystem(Memory({"a": [rows_]})) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        records = {record.id: record async for record in (await inventory.snapshot()).records()}
        async with inventory._database.reading() as connection:
            found = (await connection.execute(text("SELECT * FROM inventory ORDER BY created_at, id"))).all()
    assert [row.id for row in found] == ["PN2", "PN1", "PN4", "PN3"]
    for row in found:
        shown = {name: getattr(row, name) for name in NumberRecord.__struct_fields__}
        assert msgspec.convert(shown, NumberRecord, strict=False) == records[row.id]


async def test_a_time_out_of_range_is_dropped_alone(where: str) -> None:
    """A time that UTC cannot represent is dropped, and the other fields are stored."""
    one = full(date_added="0001-01-01T00:00:00+05:30", date_updated="9999-12-31T23:59:59-08:00")
    async with PhoneSystem(Memory({"a": [[one]]})) as phones, Inventory(where) as inventory:
        await inventory.collect(phones)
        (record,) = [record async for record in (await inventory.snapshot()).records()]
    assert (record.id, record.created_at, record.updated_at) == ("PN1", None, None)


# The schema


async def test_an_older_database_is_migrated_with_its_data(where: str) -> None:
    """Each migration runs once, in order, and keeps the data."""
    database = Database(await _engine(parse_url(where), read_only=False, poolclass=None), "old")
    async with database.writing() as connection:
        await migrations.migrate(connection, migrations.MIGRATIONS[:1])
        await connection.execute(
            text(
                "INSERT INTO sweeps (scope, writer, started_at, finished_at, numbers)"
                " VALUES ('{}', '', '2024-01-01T00:00:00+00:00', '2024-01-01T00:00:00+00:00', 7)"
            )
        )
    await database.close()
    for _ in range(2):
        async with Inventory(where) as inventory:
            assert (await inventory.snapshot()).numbers == 7
            assert await count(inventory, "inventory") == 0
            assert (
                await count(inventory, f"phonesys_schema WHERE version = {len(migrations.MIGRATIONS)}") == 1
            )


async def test_a_migration_is_all_or_nothing(where: str) -> None:
    """A failing migration leaves the database unchanged."""
    database = await connect(where)
    with pytest.raises(InventoryError):
        async with database.writing() as connection:
            await migrations.migrate(
                connection, (*migrations.MIGRATIONS, ("CREATE TABLE more (x INTEGER)", "nonsense"))
            )
    async with database.reading() as connection:
        version = (await connection.execute(text("SELECT version FROM phonesys_schema"))).scalar_one()
        assert version == len(migrations.MIGRATIONS)
    with pytest.raises(InventoryError, match="more"):
        async with database.reading() as connection:
            await connection.execute(text("SELECT * FROM more"))
    await database.close()


async def test_a_newer_database_is_refused(where: str) -> None:
    """The error names the newer version."""
    database = await connect(where)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE phonesys_schema SET version = 99"))
    await database.close()
    with pytest.raises(SchemaTooNew, match="99"):
        async with Inventory(where):
            pass


# Where


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("inventory.db", "sqlite+aiosqlite:///inventory.db"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+asyncpg://u@h/d"),
    ],
)
def test_a_path_or_a_url_says_where(given: str, url: str) -> None:
    """A path or a URL is accepted, with or without a driver."""
    assert parse_url(given).render_as_string() == url


def test_a_file_wherever_it_is(tmp_path: Path) -> None:
    """A Path may contain characters that a URL could not."""
    assert parse_url(tmp_path / "a?b#c d.db").database == str(tmp_path / "a?b#c d.db")


@pytest.mark.parametrize("where", ["mysql://x", "://", "http://[::1", ":memory:", "sqlite://"])
async def test_other_databases_are_refused(where: str) -> None:
    """Databases other than files and PostgreSQL are InvalidArgument."""
    with pytest.raises(InvalidArgument, match="store: expected"):
        async with Inventory(where):
            pass


async def test_a_database_that_cannot_be_opened_is_an_inventory_error(tmp_path: Path) -> None:
    """The error does not contain the password of the URL."""
    with pytest.raises(InventoryError):
        async with Inventory(tmp_path / "no" / "such" / "folder.db"):
            pass
    with pytest.raises(InventoryError, match="cannot be reached") as caught:
        async with Inventory(f"postgresql://me:secret@/d?host={tmp_path}"):
            pass
    assert "secret" not in str(caught.value)


async def test_a_missing_snapshot_is_an_error(where: str) -> None:
    """NoSnapshot names the missing snapshot."""
    async with PhoneSystem(simple(1)) as phones, Inventory(where) as inventory:
        with pytest.raises(NoSnapshot, match="no snapshot in the store"):
            await inventory.snapshot()
        await inventory.collect(phones)
        with pytest.raises(NoSnapshot, match="99"):
            await inventory.snapshot(99)
        with pytest.raises(NoSnapshot, match="before"):
            _ = [change async for change in inventory.diff()]


def test_importing_the_inventory_needs_no_extra() -> None:
    """Opening an inventory without its extra names the extra."""
    program = (
        "import sys\n"
        "for name in ('sqlalchemy', 'aiosqlite', 'asyncpg', 'greenlet'): sys.modules[name] = None\n"
        "import asyncio, phonesys, phonesys.inventory as i\n"
        "async def main():\n"
        "    async with i.Inventory('x.db'): pass\n"
        "try: asyncio.run(main())\n"
        "except phonesys.UsageError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert "pip install 'phonesys[inventory]'" in done.stdout
