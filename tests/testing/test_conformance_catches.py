"""The kit is worth something: it fails backends that break what it stands for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from _pytest.outcomes import Failed

from phonesys import ChangeRequest, Cursor, Page, Reconciled, Write, WriteOutcome
from phonesys.backends.agents import AgentNumber
from phonesys.change_rules import ChangeRules, FieldRule
from phonesys.errors import CallError
from phonesys.testing import BackendUnderTest, FailureMode, ProviderConformance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

SECRET = "key-0123456789"
NUMBERS = [f"+1415555{i:04}" for i in range(12)]


def number(text: str, **fields: Any) -> AgentNumber:
    return AgentNumber(**{"number": text, "row_id": text, "account": "a", **fields})


class Good:
    """Keeps everything, in memory, in pages of five."""

    name = "memory"

    def __init__(self) -> None:
        self.trouble = False

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        await asyncio.sleep(0)
        if self.trouble or account != "a":
            error = CallError("no").with_call(backend=self.name, operation="page", account=account)
            error.attempts = 1
            raise error
        start = cursor if isinstance(cursor, int) and 0 <= cursor < len(NUMBERS) else 0
        return self.make(account, cursor, start)

    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        following = (start + 5,) if start + 5 < len(NUMBERS) else ()
        rows = tuple(number(text) for text in NUMBERS[start : start + 5])
        return Page(account=account, provider=self.name, cursor=cursor, numbers=rows, next=following)


class LosesAPage(Good):
    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        page = super().make(account, cursor, start)
        return Page(account=account, provider=self.name, cursor=cursor, numbers=page.numbers)


class RepeatsARow(Good):
    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        page = super().make(account, cursor, start)
        rows = (number(NUMBERS[0]), *page.numbers) if start else page.numbers
        return Page(account=account, provider=self.name, cursor=cursor, numbers=rows, next=page.next)


class GoesInACircle(Good):
    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        page = super().make(account, cursor, start)
        return Page(
            account=account, provider=self.name, cursor=cursor, numbers=page.numbers, next=page.next or (5,)
        )


class WritesNumbersDifferently(Good):
    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        rows = (number("(415) 555-0000"),)
        return Page(account=account, provider=self.name, cursor=cursor, numbers=rows)


class _WithMoment(AgentNumber):
    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "created_at": datetime.now(UTC)}


class _WithOtherKeys(AgentNumber):
    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number}


class _WithALongRepr(AgentNumber):
    def __repr__(self) -> str:
        return super().__repr__() * 100


class GivesObjects(Good):
    kind: type[AgentNumber] = _WithMoment

    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        page = super().make(account, cursor, start)
        rows = tuple(self.kind(number=one.number, row_id=one.id, account="a") for one in page.numbers)
        return msgspec.structs.replace(page, numbers=rows)


class GivesOtherKeys(GivesObjects):
    kind = _WithOtherKeys


class ShowsTooMuch(GivesObjects):
    kind = _WithALongRepr


class CrashesOnStrangers(Good):
    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        return await super().page({"a": "a"}[account], cursor)


class ErrsWithoutFacts(Good):
    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        if self.trouble:
            raise CallError("something went wrong")
        return await super().page(account, cursor)


class CallsTroubleAnEmptyPage(Good):
    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        if self.trouble:
            return Page(account=account, provider=self.name, cursor=cursor, numbers=())
        return await super().page(account, cursor)


class ShowsItsKey(Good):
    def __repr__(self) -> str:
        return f"<ShowsItsKey {SECRET}>"


class LeavesTasks(Good):
    kept: list[asyncio.Task[None]]

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        self.kept = [asyncio.ensure_future(asyncio.sleep(30))]
        return await super().page(account, cursor)


class SwallowsCancellation(Good):
    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        try:
            return await super().page(account, cursor)
        except asyncio.CancelledError:
            return self.make(account, cursor, 0)


class Overlapping(Good):
    """Good, with pages of five that share a row each."""

    overlaps = True

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        start = int(cursor or 0)
        rows = tuple(number(text) for text in NUMBERS[start : start + 5])
        following = (start + 4,) if len(rows) == 5 else ()
        return self.state(
            Page(
                account=account,
                provider=self.name,
                numbers=rows,
                next=following,
                offset=start,
                overlap=min(start, 1),
            )
        )

    def state(self, page: Page[Any]) -> Page[Any]:
        return page


class StatesAnotherOffset(Overlapping):
    def state(self, page: Page[Any]) -> Page[Any]:
        return msgspec.structs.replace(page, offset=(page.offset or 0) // 2)


class StatesNoOffset(Overlapping):
    def state(self, page: Page[Any]) -> Page[Any]:
        return msgspec.structs.replace(page, offset=None)


class LeavesAHole(Overlapping):
    def state(self, page: Page[Any]) -> Page[Any]:
        return msgspec.structs.replace(page, numbers=page.numbers[:3])


class Renaming(Good):
    """Good, and can label its numbers."""

    change_rules = ChangeRules(
        vendor="Memory",
        fields={"label": FieldRule(parameter="label", nullable=True, clearable=True)},
        update=("label",),
    )

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, str | None] = {}

    def make(self, account: str, cursor: Cursor | None, start: int) -> Page[Any]:
        page = super().make(account, cursor, start)
        return msgspec.structs.replace(page, numbers=tuple(self.line(one.number) for one in page.numbers))

    def line(self, text: str) -> AgentNumber:
        return number(text, label=self.labels.get(text), backend=self.name)

    async def get(self, number_id: str, *, account: str) -> AgentNumber:
        return self.line(number_id)

    async def carry_out(self, write: Write, /) -> AgentNumber | None:
        self.labels[write.number_id or ""] = write.wanted["label"]
        return self.line(write.number_id or "")

    async def reconcile(self, write: Any, /, **_: float) -> Reconciled[Any]:
        done = self.labels.get(write.number_id) == write.wanted["label"]
        return Reconciled(outcome=WriteOutcome.DONE if done else WriteOutcome.NOT_DONE)


class MentionsAnotherField(Renaming):
    change_rules = msgspec.structs.replace(Renaming.change_rules, update=("label", "status"))


class SetsNoColumn(Renaming):
    change_rules = msgspec.structs.replace(
        Renaming.change_rules, fields={**Renaming.change_rules.fields, "colour": FieldRule(parameter="hue")}
    )


class ChangesNothing(Renaming):
    async def carry_out(self, write: Write, /) -> AgentNumber | None:
        return self.line(write.number_id or "")


class FindsEverythingDone(Renaming):
    async def reconcile(self, write: Any, /, **_: float) -> Reconciled[Any]:
        return Reconciled(outcome=WriteOutcome.DONE)


class FindsNothingDone(Renaming):
    async def reconcile(self, write: Any, /, **_: float) -> Reconciled[Any]:
        return Reconciled(outcome=WriteOutcome.NOT_DONE)


class Kit(ProviderConformance):
    __test__ = False
    backend: type[Good] = Good

    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[BackendUnderTest]:
        made = self.backend()
        yield BackendUnderTest(
            make=lambda: made,
            truth={"a": NUMBERS},
            secrets=[SECRET],
            failures={FailureMode.UNAVAILABLE: lambda: setattr(made, "trouble", True)},
            restore=lambda: setattr(made, "trouble", False),
            changes=[ChangeRequest(number=NUMBERS[0], fields={"label": "Desk"})],
        )


def attempt(backend: type[Good], test: str, *arguments: Any) -> None:
    kit = Kit()
    kit.backend = backend
    getattr(kit, test)(*arguments)


CASES: list[tuple[type[Good], str, tuple[Any, ...]]] = [
    (LosesAPage, "test_every_number_comes_exactly_once", ()),
    (LosesAPage, "test_a_sweep_finds_everything", ()),
    (RepeatsARow, "test_every_number_comes_exactly_once", ()),
    (RepeatsARow, "test_numbers_have_what_every_number_has", ()),
    (GoesInACircle, "test_pages_may_be_read_in_any_order", ()),
    (WritesNumbersDifferently, "test_numbers_have_what_every_number_has", ()),
    (GivesObjects, "test_numbers_have_what_every_number_has", ()),
    (GivesOtherKeys, "test_numbers_have_what_every_number_has", ()),
    (ShowsTooMuch, "test_numbers_have_what_every_number_has", ()),
    (CrashesOnStrangers, "test_an_unknown_account_is_no_crash", ()),
    (CrashesOnStrangers, "test_no_account_leaves_its_path", ()),
    (ErrsWithoutFacts, "test_trouble_is_a_clear_error", (FailureMode.UNAVAILABLE,)),
    (CallsTroubleAnEmptyPage, "test_trouble_is_a_clear_error", (FailureMode.UNAVAILABLE,)),
    (ShowsItsKey, "test_secrets_are_never_shown", ()),
    (LeavesTasks, "test_cancelling_leaves_nothing", (1,)),
    (SwallowsCancellation, "test_cancelling_leaves_nothing", (1,)),
    (StatesAnotherOffset, "test_overlapping_pages_hold_the_same_rows", ()),
    (StatesNoOffset, "test_overlapping_pages_hold_the_same_rows", ()),
    (LeavesAHole, "test_overlapping_pages_hold_the_same_rows", ()),
    (MentionsAnotherField, "test_its_changes_are_stated_consistently", ()),
    (SetsNoColumn, "test_its_changes_are_stated_consistently", ()),
    (ChangesNothing, "test_planned_changes_are_carried_out", ()),
    (FindsEverythingDone, "test_planned_changes_are_carried_out", ()),
    (FindsNothingDone, "test_planned_changes_are_carried_out", ()),
]


@pytest.mark.parametrize(
    ("backend", "test", "arguments"), CASES, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_broken_backend_fails(backend: type[Good], test: str, arguments: tuple[Any, ...]) -> None:
    """With the test that is about what it breaks, which a good one passes."""
    good = next(kind for kind in (Overlapping, Renaming, Good) if issubclass(backend, kind))
    if test == "test_no_account_leaves_its_path":
        with pytest.raises(pytest.skip.Exception):  # it does not say which paths were asked for
            attempt(good, test, *arguments)
    else:
        attempt(good, test, *arguments)
    with pytest.raises((AssertionError, Failed, KeyError, TypeError)):
        attempt(backend, test, *arguments)
