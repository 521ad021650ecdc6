"""The changes between two snapshots, and never more than is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import Forbidden, PhoneSystem, PhoneSystemMissing
from phonesys.backends.leadconnector import LeadConnectorNumber
from phonesys.inventory import TOPICS, Change, ChangeKind, Inventory, NumberRecord
from phonesys.inventory.diff import MoveDetector, compare
from phonesys.model import Capabilities, InboundService
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDED, REMOVED, MOVED, CHANGED, UNKNOWN = ChangeKind


def short(change: Change) -> tuple[Any, ...]:
    place = (change.account,) if change.from_account is None else (change.from_account, change.account)
    return (change.kind, change.number or "", *place)


class Day:
    """One inventory, swept day by day with other contents."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    async def sweep(self, pages: Mapping[str, list[Any]], *, listed: Any = None, named: Any = None) -> None:
        backend = Memory(pages, listed=listed)
        async with PhoneSystem(backend) as phones:
            await self.inventory.collect(phones, **({} if named is None else {"memory": named}))

    async def diff(self) -> list[Change]:
        return [change async for change in self.inventory.diff()]

    async def summary(self) -> list[tuple[Any, ...]]:
        return sorted(map(short, await self.diff()))


def one(index: int, account: str = "a", **fields: Any) -> LeadConnectorNumber:
    return LeadConnectorNumber(number=f"+1415555{index:04}", sid=f"PN{index}", account=account, **fields)


async def test_every_kind_of_change_is_yielded(where: str) -> None:
    """Each change is yielded once, with the records before and after."""
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1), one(2)], [one(3)]], "b": [[one(4, "b")]], "c": [[one(9, "c")]]})
        await day.sweep(
            {"a": [[one(1, label="new")], [one(3)]], "b": [[one(2, "b"), one(5, "b")]], "c": [[one(9, "c")]]}
        )
        changes = {change.number: change for change in await day.diff()}
    assert sorted(map(short, changes.values())) == [
        (ADDED, "+14155550005", "b"),
        (CHANGED, "+14155550001", "a"),
        (MOVED, "+14155550002", "a", "b"),
        (REMOVED, "+14155550004", "b"),
    ]
    renamed = changes["+14155550001"]
    assert [(field.field, field.old, field.new) for field in renamed.fields] == [("label", None, "new")]
    assert renamed.topics == ("label",)
    assert renamed.old is not None
    assert renamed.new is not None
    assert renamed.new.label == "new"
    assert changes["+14155550004"].new is None
    assert changes["+14155550005"].old is None
    assert changes["+14155550002"].fields == ()


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("status", {"account_status": "suspended"}),
        ("routing", {"inbound": InboundService("voice_ai", "68e3")}),
        ("routing", {"forwarding_number": "+14155550199"}),
        ("label", {"label": "Front desk"}),
        ("capabilities", {"capability_flags": Capabilities(voice=True)}),
        ("assignee", {"linked_user": "usr_1"}),
    ],
)
async def test_a_change_has_topics(tmp_path: Any, topic: str, fields: dict[str, Any]) -> None:
    """Changed fields belong to the topics status, routing, label, capabilities and assignee."""
    async with Inventory(tmp_path / "i.db") as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1)]]})
        await day.sweep({"a": [[one(1, **fields)]]})
        (change,) = await day.diff()
    assert change.kind is CHANGED
    assert topic in change.topics


async def test_a_vendors_timestamp_is_no_change(tmp_path: Any) -> None:
    """A different `updated_at` alone is no change of the number."""
    async with Inventory(tmp_path / "i.db") as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1)]]})
        await day.sweep({"a": [[one(1, date_updated="2024-01-01T00:00:00Z")]]})
        assert await day.diff() == []


async def test_an_account_that_failed_is_unknown(where: str) -> None:
    """A failed account on either side is unknown. Its numbers are neither added nor removed."""
    failed: dict[str, list[Any]] = {"a": [[one(1)], Forbidden("no", status=403)], "b": [[one(3, "b")]]}
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1)], [one(2)]], "b": [[one(3, "b")]]})
        await day.sweep(failed)
        (change,) = await day.diff()
        assert short(change) == (UNKNOWN, "", "a")
        assert "403" in str(change.reason)
        await day.sweep({"a": [[one(1)], [one(2)]], "b": [[one(3, "b")]]})
        assert await day.summary() == [(UNKNOWN, "", "a")]


async def test_an_account_that_was_not_named_is_unknown(where: str) -> None:
    """An account that was not named in one of the sweeps is unknown."""
    pages = {"a": [[one(1)]], "b": [[one(2, "b")]]}
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep(pages, named=["a", "b"])
        await day.sweep(pages, named=["a"])
        assert await day.summary() == [(UNKNOWN, "", "b")]
        await day.sweep(pages, named=["b"])
        assert await day.summary() == [(UNKNOWN, "", "a"), (UNKNOWN, "", "b")]


async def test_an_account_that_is_no_longer_listed_is_removed(where: str) -> None:
    """The numbers of an account that its backend no longer lists are removed."""
    pages = {"a": [[one(1)]], "b": [[one(2, "b")]]}
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep(pages)
        await day.sweep(pages, listed=["a"])
        assert await day.summary() == [(REMOVED, "+14155550002", "b")]
        await day.sweep(pages)
        assert await day.summary() == [(ADDED, "+14155550002", "b")]


async def test_a_list_of_accounts_that_failed_makes_the_rest_unknown(where: str) -> None:
    """The list may have named any account."""
    pages = {"a": [[one(1)]], "b": [[one(2, "b")]]}

    class Broken(Memory):
        async def accounts(self) -> Any:
            yield "a"
            raise Forbidden("no list", status=403)

    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep(pages)
        async with PhoneSystem(Broken(pages)) as phones:
            await inventory.collect(phones)
        assert await day.summary() == [(UNKNOWN, "", "b")]
        lists = [row async for row in (await inventory.snapshot()).accounts() if not row[1]]
        assert [(row[0], row[2]) for row in lists] == [("memory", "failed")]


async def test_an_account_without_a_phone_system_is_complete(where: str) -> None:
    """The account holds no numbers, so its earlier numbers are removed."""
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1)]]})
        await day.sweep({"a": [PhoneSystemMissing("no phone system", status=404)]})
        assert await day.summary() == [(REMOVED, "+14155550001", "a")]


async def test_pages_in_another_order_are_no_change(where: str) -> None:
    """Numbers that move between pages of an account have not changed."""
    rows = [one(i) for i in range(60)]
    async with Inventory(where) as inventory:
        day = Day(inventory)
        await day.sweep({"a": [rows[:20], rows[20:40], rows[40:]]})
        await day.sweep({"a": [rows[:1], rows[1:41][::-1], rows[41:]]})
        assert await day.diff() == []


async def test_any_two_snapshots_are_compared(where: str) -> None:
    """The last two snapshots are compared by default, and others by id in any order."""
    async with Inventory(where) as inventory:
        day = Day(inventory)
        for count in (1, 2, 3):
            await day.sweep({"a": [[one(i) for i in range(count)]]})
        third, second, first = await inventory.snapshots()
        assert await day.summary() == [(ADDED, "+14155550002", "a")]
        assert len([change async for change in inventory.diff(first, third)]) == 2
        back = [change.kind async for change in inventory.diff(third.id, first.id)]
        assert back == [REMOVED, REMOVED]
        assert [change async for change in inventory.diff(second, second)] == []


async def test_sweeps_of_the_same_backends_are_compared_by_default(tmp_path: Any) -> None:
    """A sweep of another backend in between is skipped."""
    async with Inventory(tmp_path / "i.db") as inventory:
        day = Day(inventory)
        await day.sweep({"a": [[one(1)]]})
        async with PhoneSystem(Memory({"x": [[number(7)]]}, name="other")) as phones:
            await inventory.collect(phones)
        await day.sweep({"a": [[one(1), one(2)]]})
        assert await day.summary() == [(ADDED, "+14155550002", "a")]


# Without a database

INDEXES = st.sets(st.integers(0, 6), max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    old=st.dictionaries(st.sampled_from("abc"), INDEXES), new=st.dictionaries(st.sampled_from("abc"), INDEXES)
)
def test_changes_lead_from_the_old_state_to_the_new(
    old: dict[str, set[int]], new: dict[str, set[int]]
) -> None:
    """Applying the changes to the old state gives the new one, and no number changes twice."""
    moves = MoveDetector()
    for account in "abc":
        rows = [[record(i, account) for i in state.get(account, ())] for state in (old, new)]
        assert moves.add(compare(*rows)) == []
    state = {(account, f"n{i}") for account, held in old.items() for i in held}
    for change in moves.finish():
        if change.kind in {REMOVED, MOVED}:
            state.remove((change.from_account or change.account, str(change.number)))
        if change.kind in {ADDED, MOVED}:
            assert (change.account, change.number) not in state
            state.add((change.account, str(change.number)))
    assert state == {(account, f"n{i}") for account, held in new.items() for i in held}


def record(index: int, account: str, **fields: Any) -> NumberRecord:
    return NumberRecord(
        provider="p",
        backend="p",
        account=account,
        **{"id": f"{account}{index}", "number": f"n{index}", **fields},
    )


def test_the_same_number_under_another_id_has_changed() -> None:
    """The number is neither added nor removed."""
    difference = compare([record(1, "a")], [record(1, "a", id="other")])
    assert (difference.removed, difference.added) == ([], [])
    assert [field.field for field in difference.changed[0].fields] == ["id"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+14155552671", "14155552671"),
        ("+1 (415) 555-2671", "+14155552671"),
        ("0014155552671", "+14155552671"),
        ("tel:+14155552671", "+14155552671"),
        ("ACME", "Acme"),
    ],
)
@pytest.mark.parametrize("same_id", [True, False])
def test_another_spelling_is_a_changed_number(old: str, new: str, same_id: bool) -> None:
    """A number that lost its `+` has changed, with its id and without."""
    difference = compare(
        [record(1, "a", number=old)], [record(1, "a", number=new, id="a1" if same_id else new)]
    )
    assert (difference.removed, difference.added) == ([], [])
    (change,) = difference.changed
    fields = {field.field: (field.old, field.new) for field in change.fields}
    assert fields["number"] == (old, new)
    assert ("id" in fields) is not same_id


def test_the_same_id_is_the_same_number() -> None:
    """A row that keeps its id and gets another number has changed."""
    difference = compare([record(1, "a", number="")], [record(1, "a", number="n2")])
    assert (difference.removed, difference.added) == ([], [])
    assert [(one.field, one.old, one.new) for one in difference.changed[0].fields] == [("number", "", "n2")]


def test_rows_with_a_common_id_are_kept_apart() -> None:
    """Rows with one id and several numbers are compared one by one."""
    old = [record(index, "a", id="same") for index in (1, 2, 3)]
    new = [record(3, "a", id="same", label="new"), record(1, "a", id="same"), record(4, "b", id="other")]
    difference = compare(old, new)
    assert [(one.number, one.topics) for one in difference.changed] == [("n3", ("label",))]
    assert [one.number for one in difference.removed] == ["n2"]
    assert [one.number for one in difference.added] == ["n4"]


def test_numbers_without_digits_are_told_apart_by_id() -> None:
    """Two numbers that are being provisioned are not one number that moved."""
    moves = MoveDetector()
    moves.add(compare([record(1, "a", number="")], []))
    moves.add(compare([], [record(2, "b", number="")]))
    assert [change.kind for change in moves.finish()] == [ADDED, REMOVED]


def test_a_number_may_move_and_change_its_spelling() -> None:
    """A moved number in another spelling is a move with a changed number."""
    moves = MoveDetector()
    moves.add(compare([record(1, "a", number="+14155552671")], []))
    moves.add(compare([], [record(2, "b", number="14155552671")]))
    (move,) = moves.finish()
    assert (move.kind, [field.field for field in move.fields]) == (MOVED, ["number"])


def test_every_topic_names_fields_that_are_there() -> None:
    """Every field of a topic exists on NumberRecord."""
    fields = {field for topic in TOPICS.values() for field in topic}
    assert fields <= set(NumberRecord.__struct_fields__)
