"""Lookups of lost writes while other clients write at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import AgentNumbers, InvalidArgument, Leadping, Reconciled, Write, WriteOutcome
from phonesys.backends.reconcile import OutcomeEvaluator
from phonesys.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phonesys.http.call import Call

DONE, NOT_DONE, UNCLEAR = WriteOutcome.DONE, WriteOutcome.NOT_DONE, WriteOutcome.UNCLEAR
NUMBER, OTHER = "+14155552671", "+14155552672"
START = datetime.now(UTC).replace(microsecond=345_678) - timedelta(hours=1)
SKEW = 60.0
OURS, THEIRS = "ours", "theirs"


@dataclass
class Row:
    """A number at the vendor's, and who made or changed it."""

    id: str
    number: str
    name: str
    agent: str
    made_by: str
    created: float
    updated: float | None = None
    enabled: bool = True
    changed_by: set[str] = field(default_factory=set[str])


Step = tuple[Any, ...]


@dataclass
class World:
    """A vendor's numbers, on its own clock, while others write; times count from our write's start."""

    ahead: float = 0.0
    """Seconds by which the vendor's clock is ahead of ours."""
    digits: int = 3
    """Decimal places of the seconds that the vendor writes; no times at all if negative."""
    rows: list[Row] = field(default_factory=list[Row])
    steps: list[Step] = field(default_factory=list[Step])
    """Writes of others during the lookup: one before each response."""
    made: int = 0

    def add(self, number: str, name: str, agent: str, by: str, at: float, *, front: bool = False) -> Row:
        self.made += 1
        row = Row(f"id_{self.made}", number, name, agent, by, at)
        self.rows.insert(0 if front else len(self.rows), row)
        return row

    def act(self, step: Step, at: float) -> None:
        """Perform a write of another client."""
        what, which, *rest = step
        if what == "add":
            number, name, agent, front = rest
            self.add(number, name, agent, THEIRS, at, front=front)
        elif self.rows:
            row = self.rows[which % len(self.rows)]
            if what == "remove":
                self.rows.remove(row)
            else:
                row.name, row.agent = rest
                row.updated = at
                row.changed_by.add(THEIRS)

    def written(self, at: float | None) -> str | None:
        """Write a time as this vendor does."""
        if at is None or self.digits < 0:
            return None
        moment = START + timedelta(seconds=at + self.ahead)
        kept = 10 ** (6 - self.digits)
        moment = moment.replace(microsecond=moment.microsecond // kept * kept)
        return moment.isoformat().replace("+00:00", "Z")

    def of(self, row_id: str) -> Row | None:
        return next((row for row in self.rows if row.id == row_id), None)

    def answer(self, body: Any) -> bytes:
        raw = msgspec.json.encode(body)
        if self.steps:
            self.act(self.steps.pop(0), 10.0)
        return raw


class FakeLeadping(Leadping):
    """A backend that asks a world instead of the network."""

    def __init__(self, world: World) -> None:
        super().__init__("sk_1")
        self.world = world

    async def send(self, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        if call.operation == "list_numbers":
            asked = msgspec.json.decode(call.body or b"{}")
            (name,) = asked["searchFields"]
            rows = [row for row in self.world.rows if asked["search"] in getattr(row, name)]
            items = [{"id": r.id, "number": r.number, "name": r.name, "enabled": r.enabled} for r in rows]
            return call.decode(self.world.answer({"items": items, "pageSize": 100}))
        row = self.world.of(call.target.rpartition("/")[2])
        if row is None:
            raise NotFound("gone", status=404)
        full = {
            "id": row.id, "number": row.number, "name": row.name, "enabled": row.enabled,
            "createdAt": self.world.written(row.created), "modifiedAt": self.world.written(row.updated),
        }  # fmt: skip
        return call.decode(self.world.answer(full))


class FakeAgents(AgentNumbers):
    """The same for agent numbers, with pages of three rows."""

    def __init__(self, world: World) -> None:
        super().__init__("key_1", page_size=3)
        self.world = world

    async def send(self, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        if call.operation == "get_number":
            row = self.world.of(call.target.rpartition("/")[2])
            if row is None:
                raise NotFound("gone", status=404)
            return call.decode(self.world.answer(self._row(row)))
        if call.operation == "numbers_of_agent":
            rows = [self._row(row) for row in self.world.rows if row.agent == call.target.split("/")[2]]
            return call.decode(self.world.answer({"data": rows}))
        page = int(call.target.split("page=")[1].split("&")[0])
        rows = [self._row(row) for row in self.world.rows[3 * page - 3 : 3 * page]]
        return call.decode(self.world.answer({"data": rows}))

    def _row(self, row: Row) -> dict[str, Any]:
        return {
            "id": row.id, "phoneNumber": row.number, "friendlyName": row.name, "agentId": row.agent,
            "createdAt": self.world.written(row.created), "updatedAt": self.world.written(row.updated),
        }  # fmt: skip


RUNNERS: list[asyncio.Runner] = []  # at most one: making a loop takes longer than most examples


@pytest.fixture(autouse=True, scope="module")
def _runner() -> Iterator[None]:
    """Run this module's lookups in one loop; a worker may begin and end the module several times."""
    with asyncio.Runner() as runner:
        RUNNERS.append(runner)
        yield
        RUNNERS.remove(runner)


def look(backend: FakeLeadping | FakeAgents, write: Write, skew: float = SKEW) -> Reconciled[Any]:
    return RUNNERS[-1].run(backend.reconcile(write, grace_period=0.0, clock_skew=skew))


def creation(number: str | None = NUMBER) -> Write:
    return Write(
        kind="create",
        account="default",
        number=number,
        wanted={"name": "Line"},
        started_at=START,
        ended_at=START,
    )


ASSIGNMENT = Write(
    kind="assign",
    account="default",
    number=NUMBER,
    wanted={"agent_id": "a", "friendly_name": "Line"},
    started_at=START,
    ended_at=START,
)
UPDATE = Write(
    kind="update",
    account="default",
    number_id="id_1",
    wanted={"name": "Line"},
    started_at=START,
    ended_at=START,
)


# Whatever others do.

NAMES = st.sampled_from(["Line", "Line 2", "Desk"])
AGENTS = st.sampled_from(["a", "b"])
STEPS = st.one_of(
    st.tuples(st.just("add"), st.just(0), st.sampled_from([NUMBER, OTHER]), NAMES, AGENTS, st.booleans()),
    st.tuples(st.just("remove"), st.integers(0, 20)),
    st.tuples(st.just("change"), st.integers(0, 20), NAMES, AGENTS),
)
WORLDS = st.builds(
    World, ahead=st.integers(-6000, 6000).map(lambda n: n / 100), digits=st.sampled_from([-1, 0, 3, 6])
)
BEFORE = st.lists(st.tuples(st.integers(-20_000, -1).map(lambda n: n / 100), STEPS), max_size=8)
SINCE = st.lists(STEPS, max_size=3)
WHILE = st.lists(STEPS, max_size=12)


def played(
    world: World,
    before: Sequence[tuple[float, Step]],
    since: Sequence[Step],
    during: Sequence[Step],
    ours: Callable[[], object] | None,
) -> None:
    """Perform the others' writes before ours, then ours if it is executed, then the others' again."""
    for at, step in sorted(before, key=lambda one: one[0]):
        world.act(step, at)
    if ours is not None:
        ours()
    for place, step in enumerate(since):
        world.act(step, 1.0 + place)
    world.steps = list(during)


@settings(max_examples=400, deadline=None)
@given(WORLDS, BEFORE, SINCE, WHILE, st.booleans(), st.sampled_from([NUMBER, None]))
def test_a_creation_is_never_guessed(
    world: World, before: Any, since: Any, during: Any, carried_out: bool, number: str | None
) -> None:
    """Not done only where it is not there; done only with what is as it was asked for, made since."""
    ours = (lambda: world.add(NUMBER, "Line", "", OURS, 0.5)) if carried_out else None
    played(world, before, since, during, ours)
    found = look(FakeLeadping(world), creation(number))
    ours_still = [row for row in world.rows if row.made_by == OURS]
    if found.outcome is NOT_DONE:
        # Who renames what was created without a number hides it.
        assert [row for row in ours_still if number is not None or not row.changed_by] == []
    if found.outcome is DONE:
        assert found.number is not None
        assert found.number.number == NUMBER or number is None
        _is_ours_or_its_twin(world, found.number.id, found.number.label, ours_still)


@settings(max_examples=400, deadline=None)
@given(WORLDS, BEFORE, SINCE, WHILE, st.booleans())
def test_an_assignment_is_never_guessed(
    world: World, before: Any, since: Any, during: Any, carried_out: bool
) -> None:
    """The outcome is never wrong while rows move from page to page."""
    ours = (lambda: world.add(NUMBER, "Line", "a", OURS, 0.5)) if carried_out else None
    played(world, before, since, during, ours)
    found = look(FakeAgents(world), ASSIGNMENT)
    ours_still = [row for row in world.rows if row.made_by == OURS]
    if found.outcome is NOT_DONE:
        assert ours_still == []
    if found.outcome is DONE:
        assert found.number is not None
        assert (found.number.number, found.number.agent_id) == (NUMBER, "a")
        _is_ours_or_its_twin(world, found.number.id, found.number.label, ours_still)


def _is_ours_or_its_twin(world: World, row_id: str, label: str, ours: list[Row]) -> None:
    """No vendor says who wrote a row: one like ours in everything, made at the same time, passes for it."""
    assert label == "Line"
    row = world.of(row_id)
    if row is not None and row.made_by == THEIRS:
        assert row.created + world.ahead >= -1.0
        assert not [mine for mine in ours if mine.name == "Line" and not mine.changed_by]


@settings(max_examples=400, deadline=None)
@given(WORLDS, BEFORE, SINCE, WHILE, st.booleans(), st.booleans(), st.booleans())
def test_a_change_is_never_guessed(
    world: World, before: Any, since: Any, during: Any, carried_out: bool, fetched: bool, agents: bool
) -> None:
    """Not done only if it never was, even if others have undone it since; done only if it shows."""
    row = world.add(NUMBER, "Before", "a", THEIRS, -250.0)
    for at, step in sorted(before, key=lambda one: one[0]):
        world.act(step, at)
    version = world.written(row.created if row.updated is None else row.updated) if fetched else None

    def change() -> None:
        row.name, row.updated = "Line", 0.5

    if carried_out:
        change()
    for place, step in enumerate(since):
        world.act(step, 1.0 + place)
    world.steps = list(during)
    write = msgspec.structs.replace(
        UPDATE,
        wanted={"friendly_name": "Line"} if agents else {"name": "Line"},
        version=None if version is None else datetime.fromisoformat(version),
    )
    found = look(FakeAgents(world) if agents else FakeLeadping(world), write)
    assert not (found.outcome is NOT_DONE and carried_out)
    if found.outcome is DONE:
        assert found.number is not None
        assert found.number.label == "Line"


@settings(max_examples=300, deadline=None)
@given(WORLDS, SINCE, st.booleans())
def test_a_deletion_is_never_guessed(world: World, since: Any, carried_out: bool) -> None:
    """A number that does not exist is deleted, by any client."""
    world.add(NUMBER, "Line", "a", THEIRS, -250.0)
    played(world, (), since, (), world.rows.clear if carried_out else None)
    write = msgspec.structs.replace(UPDATE, kind="delete", wanted={})
    found = look(FakeAgents(world), write)
    assert (found.outcome is DONE) is (world.of("id_1") is None)


# Without other clients, the outcome is not merely true, but definite.


@pytest.mark.parametrize("digits", [0, 3, 6])
@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("kind", ["create", "unnumbered", "assign", "update", "delete"])
def test_alone_it_is_always_told(digits: int, carried_out: bool, kind: str) -> None:
    """Done with the number as it is, or not done, never unclear."""
    world = World(digits=digits)
    world.add(OTHER, "Desk", "b", THEIRS, -250.0)
    if carried_out:
        match kind:
            case "update":
                world.rows[0].name, world.rows[0].updated = "Line", 0.5
            case "delete":
                world.rows.clear()
            case _:
                world.add(NUMBER, "Line", "a", OURS, 0.5)
    write = {
        "create": creation(),
        "unnumbered": creation(None),
        "assign": ASSIGNMENT,
        "update": UPDATE,
        "delete": msgspec.structs.replace(UPDATE, kind="delete", wanted={}),
    }[kind]
    found = look(FakeAgents(world) if kind == "assign" else FakeLeadping(world), write)
    assert found.outcome is (DONE if carried_out else NOT_DONE)
    assert found.reason
    if carried_out and kind != "delete":
        assert found.number is not None
        assert found.number.label == "Line"
        assert found.number.account == "default"
    else:
        assert found.number is None


def test_a_number_that_was_there_before_is_not_ours() -> None:
    """An older number that stands in the way of ours is not ours."""
    world = World()
    world.add(NUMBER, "Line", "a", THEIRS, -250.0)
    for backend, write in ((FakeLeadping(world), creation()), (FakeAgents(world), ASSIGNMENT)):
        assert look(backend, write).outcome is NOT_DONE


def test_within_the_error_of_clocks_nothing_is_said() -> None:
    """A number that was made shortly before may be ours on a slow clock; who trusts the clocks says so."""
    world = World()
    world.add(NUMBER, "Line", "a", THEIRS, -10.0)
    found = look(FakeLeadping(world), creation())
    assert (found.outcome, [number.number for number in found.candidates]) == (UNCLEAR, [NUMBER])
    assert look(FakeLeadping(world), creation(), skew=5.0).outcome is NOT_DONE


def test_names_that_others_bear_tell_nothing() -> None:
    """Created without a number, several of one name are all candidates."""
    world = World()
    old = world.add(OTHER, "Line", "", THEIRS, -250.0)
    assert look(FakeLeadping(world), creation(None)).outcome is NOT_DONE
    new = world.add(NUMBER, "Line", "", OURS, 0.5)
    found = look(FakeLeadping(world), creation(None))
    assert (found.outcome, {number.id for number in found.candidates}) == (UNCLEAR, {old.id, new.id})
    for _ in range(20):
        world.add(OTHER, "Line", "", THEIRS, -250.0)
    assert look(FakeLeadping(world), creation(None)).outcome is UNCLEAR


def test_a_time_in_the_future_says_nothing() -> None:
    """A clock that is wrong by hours cannot tell before from since."""
    judge = OutcomeEvaluator(creation(), SKEW)
    assert judge.timing_of(datetime.now(UTC) + timedelta(hours=3)).name == "UNKNOWN"


@pytest.mark.parametrize(
    "options", [{"grace_period": -1.0}, {"grace_period": float("nan")}, {"clock_skew": -1.0}]
)
async def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    """The error is raised before any request."""
    with pytest.raises(InvalidArgument, match="expected seconds"):
        await FakeLeadping(World()).reconcile(creation(), **options)


def test_of_two_alike_neither_is_taken() -> None:
    """A number may be assigned twice, and either may be ours."""
    world = World()
    world.add(NUMBER, "Line", "a", OURS, 0.5)
    world.add(NUMBER, "Line", "a", THEIRS, 0.7)
    found = look(FakeAgents(world), ASSIGNMENT)
    assert (found.outcome, len(found.candidates)) == (UNCLEAR, 2)


def test_a_row_that_is_listed_twice_is_one() -> None:
    """Moving rows and repeated pages list a number twice."""
    world = World()
    row = world.add(NUMBER, "Line", "a", OURS, 0.5)
    world.rows.append(row)
    assert look(FakeAgents(world), ASSIGNMENT).outcome is DONE
    assert look(FakeLeadping(world), creation()).outcome is DONE


def test_an_old_number_that_was_changed_since_may_be_ours() -> None:
    """A vendor may assign by changing an existing row."""
    world = World()
    world.add(NUMBER, "Line", "a", THEIRS, -250.0).updated = 0.5
    assert look(FakeAgents(world), ASSIGNMENT).outcome is UNCLEAR


def test_what_was_made_again_may_have_been_deleted() -> None:
    """Its id may have been reused."""
    world = World()
    world.add(NUMBER, "Line", "a", THEIRS, 0.5)
    write = msgspec.structs.replace(UPDATE, kind="delete", wanted={})
    assert look(FakeLeadping(world), write).outcome is UNCLEAR


@pytest.mark.parametrize(("digits", "outcome"), [(0, UNCLEAR), (3, NOT_DONE)])
def test_a_version_tells_only_where_its_clock_is_fine_enough(digits: int, outcome: WriteOutcome) -> None:
    """With whole seconds, our change and another may fall into the second of the fetch."""
    world = World(digits=digits)
    row = world.add(NUMBER, "Before", "", THEIRS, -0.1)
    version = datetime.fromisoformat(world.written(row.created) or "")
    assert look(FakeLeadping(world), msgspec.structs.replace(UPDATE, version=version)).outcome is outcome


def test_not_every_number_of_a_common_name_is_fetched() -> None:
    """Fetching each would cost a request per number."""
    world = World()
    for _ in range(21):
        world.add(OTHER, "Line", "", THEIRS, -250.0)
    world.steps = [("add", 0, OTHER, "Desk", "", False)] * 3
    assert look(FakeLeadping(world), creation(None)).outcome is UNCLEAR
    assert len(world.steps) == 2  # one answer, the list


# Other spellings

TAILS = ["4155552671", "(415) 555-2671", "5552671", "0 415 555 2671", "0014155552671", ""]


@pytest.mark.parametrize("spelling", TAILS)
@pytest.mark.parametrize("backend", [FakeLeadping, FakeAgents])
def test_the_tail_of_the_number_may_be_the_number(
    backend: type[FakeLeadping | FakeAgents], spelling: str
) -> None:
    """National spellings, and numbers that have no digits yet, are for people to decide."""
    world = World()
    world.add(spelling, "Line", "a", OURS, 1.0)
    found = look(backend(world), creation() if backend is FakeLeadping else ASSIGNMENT)
    assert (found.outcome, [number.number for number in found.candidates]) == (UNCLEAR, [spelling])


@pytest.mark.parametrize("number", ["+1 415-555-2671", "tel:+14155552671", "14155552671"])
@pytest.mark.parametrize("backend", [FakeLeadping, FakeAgents])
def test_the_same_digits_are_the_same_number(backend: type[FakeLeadping | FakeAgents], number: str) -> None:
    """E.164 that was sent may come back in another spelling."""
    world = World()
    world.add(number, "Line", "a", OURS, 1.0)
    assert look(backend(world), creation() if backend is FakeLeadping else ASSIGNMENT).outcome is DONE


@pytest.mark.parametrize(("made", "outcome"), [(1.0, UNCLEAR), (-250.0, NOT_DONE)])
def test_a_new_number_of_the_name_may_be_ours(made: float, outcome: WriteOutcome) -> None:
    """A vendor may hand out another number than the requested one; an older one of the name is not ours."""
    world = World()
    world.add(OTHER, "Line", "a", OURS, made)
    assert look(FakeLeadping(world), creation()).outcome is outcome
    named = msgspec.structs.replace(ASSIGNMENT, wanted={"agent_id": "a", "friendly_name": "Line"})
    assert look(FakeAgents(world), named).outcome is outcome


@pytest.mark.parametrize("number", ["671", "+14155552672", "+4955552671", "5552672"])
def test_another_number_is_not_ours(number: str) -> None:
    """Neither its name nor its digits match."""
    world = World()
    world.add(number, "Desk", "a", THEIRS, 1.0)
    assert look(FakeLeadping(world), creation()).outcome is NOT_DONE
    assert look(FakeAgents(world), ASSIGNMENT).outcome is NOT_DONE
