"""The sweep's dealings with its backends, its observers and its consumer, one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    BackendFault,
    CallError,
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    Outcome,
    Page,
    PhoneSystemMissing,
    SweepReport,
)
from phonesys.provider import NamedAccount
from phonesys.sweep import Source, Sweep
from phonesys.telemetry import AccountEnded, PageRead
from phonesys.telemetry.observers import Observers, SafeObserver
from tests.sweep.changing import Changing, Looking, Overlapping, insert, swept
from tests.sweep.memory import Memory, drained, number, page_at, simple, sweep_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phonesys import Cursor

    Run = Callable[[Any], Any]

pytestmark = pytest.mark.jumping


# Accounts


class Named(Memory):
    """Lists its accounts with names, if they have one."""

    async def accounts_with_names(self) -> AsyncIterator[NamedAccount]:
        for account in self.pages:
            yield NamedAccount(account, None if account == "acc_1" else account.upper())


async def test_names_of_accounts_are_in_the_report() -> None:
    """If the backend lists them, and unless nothing is kept of accounts that are done."""
    backend = Named(simple(3).pages)
    sweep = sweep_of(backend)
    assert len(await drained(sweep)) == 3
    assert sweep.report.account_names == {("memory", "acc_0"): "ACC_0", ("memory", "acc_2"): "ACC_2"}
    sweep = sweep_of(backend, keep_done=False)
    assert len(await drained(sweep)) == 3
    assert sweep.report.account_names == {}


@pytest.mark.parametrize("named", [True, False])
async def test_an_iterator_of_accounts_is_closed_with_its_sweep(named: bool) -> None:
    """It may hold a connection to the vendor."""
    closed = []

    class Listing(Memory):
        async def accounts(self) -> AsyncIterator[str]:
            try:
                for account in self.pages:
                    yield account
            finally:
                closed.append("accounts")

    class NamedListing(Listing):
        async def accounts_with_names(self) -> AsyncIterator[NamedAccount]:
            try:
                for account in self.pages:
                    yield NamedAccount(account, account)
            finally:
                closed.append("names")

    backend = (NamedListing if named else Listing)(simple(50).pages)
    async with sweep_of(backend, concurrency=1) as sweep:
        await anext(sweep)
    assert closed == ["names" if named else "accounts"]


@pytest.mark.parametrize("on_error", ["collect", "raise"])
async def test_accounts_that_cannot_be_listed_are_a_failure(on_error: str) -> None:
    """The error names the operation; there is no account to name."""

    class Unlisted(Memory):
        async def accounts(self) -> AsyncIterator[str]:
            yield "acc_0"
            raise Forbidden("no scope", status=403)

    sweep = sweep_of(Unlisted(simple(1).pages), on_error=on_error)
    with pytest.raises(Forbidden) if on_error == "raise" else nullcontext():
        await drained(sweep)
    (failure,) = sweep.report.failures
    assert (failure.provider, failure.account) == ("memory", None)
    assert isinstance(failure.error, Forbidden)
    assert failure.error.account == ""
    assert str(failure.error) == "memory accounts: 403 no scope"


async def test_the_rest_of_a_list_is_not_reached() -> None:
    """Its strings are; what could not be an account is none. Accounts of an iterator are not known."""
    accounts: list[Any] = [*simple(9).pages, None]
    for given in (accounts, iter(accounts)):
        sweep = sweep_of(simple(9), given, concurrency=1)
        async with sweep:
            await anext(sweep)
        read = sweep.report.outcomes[Outcome.DONE] + sweep.report.outcomes[Outcome.NOT_REACHED]
        assert (read == 9) is (given is accounts)
        assert sweep.report.accounts.keys() == {("memory", account) for account in accounts[:read]}


# Errors


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (KeyError("a bug"), "memory page a: KeyError: 'a bug'"),
        (Forbidden("no scope", status=403), "memory page a: 403 no scope"),
        (
            Forbidden("no scope", status=403).with_call(backend="mine", operation="list", account="b"),
            "mine list b: 403 no scope",
        ),
        (InvalidArgument("no such thing"), "no such thing"),
    ],
    ids=["a bug", "a failure", "a failure of a known call", "an error of another kind"],
)
async def test_a_failure_names_its_call(failure: Exception, text: str) -> None:
    """The backend's own words are kept, with its cause, and without the frames that hold its pages."""
    sweep = sweep_of(Memory({"a": [failure]}))
    await drained(sweep)
    (found,) = sweep.report.failures
    assert (found.provider, found.account, str(found.error)) == ("memory", "a", text)
    if isinstance(failure, KeyError):
        assert isinstance(found.error, BackendFault)
        assert found.error.__cause__ is failure
    else:
        assert found.error is failure
        assert failure.__traceback__ is None


async def test_an_account_is_not_connected_only_before_its_first_page() -> None:
    """Later, the same response is a failure: pages were read."""
    missing = PhoneSystemMissing("Phone system is not connected", status=404)
    pages: dict[str, list[Any]] = {"bare": [missing], "half": [[number(1, "half")], missing]}
    sweep = sweep_of(Memory(pages))
    await drained(sweep)
    outcomes = {account: entry.outcome for (_, account), entry in sweep.report.accounts.items()}
    assert outcomes == {"bare": Outcome.NOT_CONNECTED, "half": Outcome.FAILED}
    assert [failure.account for failure in sweep.report.failures] == ["half"]


async def test_pages_of_an_account_that_has_failed_are_not_handed_on() -> None:
    """They were fetched before the failure, and the consumer had not asked for them yet."""
    backend = Memory({"a": [[number(1)], [number(2)], KeyError("a bug")]})
    async with sweep_of(backend) as sweep:
        await asyncio.sleep(1)
        assert [page async for page in sweep] == []
    assert sweep.report.numbers == 0


@pytest.mark.parametrize("first", [0, 1])
def test_the_error_that_is_raised_is_the_first(jumping: Run, first: int) -> None:
    """Others may follow before the loop ends."""
    errors = [Forbidden("one", status=403), Forbidden("two", status=403)]

    class Failing(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            await asyncio.sleep(1 if int(account) == first else 2)
            raise errors[int(account)]

    async def main() -> None:
        async with sweep_of(Failing({"0": [], "1": []}), on_error="raise", deadline=3) as sweep:
            await asyncio.sleep(10)
            with pytest.raises(Forbidden) as raised:
                await anext(sweep)
            assert raised.value is errors[first]

    jumping(main())


# Time


def test_a_deadline_is_named_in_its_error(jumping: Run) -> None:
    """With the time that was given."""

    async def main() -> None:
        with pytest.raises(DeadlineExceeded) as raised:
            await drained(sweep_of(simple(9, delay=1), concurrency=1, deadline=2.5, on_error="raise"))
        assert str(raised.value) == "the sweep took longer than 2.5 s"

    jumping(main())


def test_a_sweep_that_has_ended_meets_no_deadline(jumping: Run) -> None:
    """Nor does its time go on after its last page, or after its block."""

    async def main() -> None:
        async with sweep_of(simple(4, delay=1), concurrency=2, deadline=60) as sweep:
            await asyncio.sleep(1)
            assert len([page async for page in sweep]) == 4
            assert sweep.report.elapsed == pytest.approx(2)
            await asyncio.sleep(1)
        assert sweep.report.elapsed == pytest.approx(3)
        await asyncio.sleep(100)
        assert [page async for page in sweep] == []
        assert sweep.report.elapsed == pytest.approx(3)
        assert not sweep.report.timed_out
        assert sweep.report.complete

    jumping(main())


# Observers


async def test_observers_hear_of_pages_and_accounts() -> None:
    """Each page as it is handed on, and each account with its result."""
    refusal = Forbidden("no scope", status=403)
    events: list[Any] = []
    pages: dict[str, list[Any]] = {"a": [[number(1)], [number(2), number(3)]], "b": [refusal]}
    backend = Memory(pages)
    sweep = sweep_of(backend, ["a", "b"], concurrency=1, observers=Observers([SafeObserver(events.append)]))
    await drained(sweep)
    assert [event for event in events if isinstance(event, PageRead)] == [
        PageRead(backend="memory", account="a", numbers=1, rejected=0),
        PageRead(backend="memory", account="a", numbers=2, rejected=0),
    ]
    ended = {event.account: event for event in events if isinstance(event, AccountEnded)}
    assert ended == {
        "a": AccountEnded(
            backend="memory", account="a", outcome="done", numbers=3, pages=2, passes=1, error=None
        ),
        "b": AccountEnded(
            backend="memory", account="b", outcome="failed", numbers=0, pages=0, passes=1, error=refusal
        ),
    }


async def test_observers_hear_of_rows_that_could_not_be_read() -> None:
    """And of accounts that were not reached."""

    class Odd(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            place = int(cursor or 0)
            following = () if place else (3,)
            return page_at(place, [place], unreadable=(f"{place}".encode(), b"x"), following=following)

    events: list[Any] = []
    async with sweep_of(
        Odd({}), ["a", "b"], concurrency=1, observers=Observers([SafeObserver(events.append)])
    ) as sweep:
        for _ in range(2):
            await anext(sweep)
        entry = sweep.report.accounts["memory", "a"]
    assert (entry.numbers, entry.rejected, entry.outcome) == (2, 4, Outcome.DONE)
    read = PageRead(backend="memory", account="a", numbers=1, rejected=2)
    assert events[:2] == [read, read]
    assert [(event.account, event.outcome) for event in events[2:]] == [("a", "done"), ("b", "not_reached")]
    assert sweep.report.numbers_by_provider == {"memory": 2}


# A search for one number


class Searching(Memory):
    """Can search for a number, and sends others that are like it."""

    def __init__(self) -> None:
        super().__init__({"a": [[number(1), number(2)], [number(3), number(4)]]})
        self.searched: list[tuple[str, str, Any]] = []

    async def search(self, account: str, text: str, cursor: Cursor | None = None) -> Page[Any]:
        self.searched.append((account, text, cursor))
        return self._page(account, cursor)


async def test_a_sweep_for_one_number_searches_for_it() -> None:
    """The vendor is asked where it can search, and the rows that it sends are compared."""
    backend = Searching()
    found = await drained(sweep_of(backend, match="(415) 555-0002"))
    assert found == ["a-2"]
    assert backend.searched == [("a", "4155550002", None), ("a", "4155550002", 1)]
    assert not backend.asked


@pytest.mark.parametrize("match", ["12345", "Sender"])
async def test_what_no_vendor_can_search_for_is_looked_for_in_lists(match: str) -> None:
    """Short codes and senders are compared here."""
    backend = Searching()
    assert await drained(sweep_of(backend, match=match)) == []
    assert not backend.searched
    assert backend.asked.total() == 2


async def test_a_backend_without_a_search_is_read_whole() -> None:
    """Its pages are handed on with the rows that match."""
    sweep = sweep_of(Memory(Searching().pages), match=number(3).number)
    async with sweep:
        assert [[row.id for row in page.numbers] async for page in sweep] == [[], ["a-3"]]


class Overlapped(Overlapping):
    """Can search as well, and records the accounts and cursors of either kind of request."""

    def __init__(self) -> None:
        super().__init__(9, {}, size=5)
        self.asked: Counter[tuple[str, str]] = Counter()

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        self.asked["overlapping", account] += 1
        return await super().overlapping_page(account, cursor)

    async def search(self, account: str, text: str, cursor: Cursor | None = None) -> Page[Any]:
        self.asked["search", account] += 1
        return page_at(0, [int(text[-4:])])


def test_the_pages_of_a_search_do_not_overlap() -> None:
    """Those of a list do, where the vendor can."""
    backend = Overlapped()
    found, report = swept(backend)
    assert len(found) == 9
    assert backend.asked == {("overlapping", "a"): report.pages}
    found, report = swept(Overlapped(), match=number(3).number)
    assert found == ["a-3"]
    assert report.pages == 1


# Pages that are named at once


@pytest.mark.parametrize("pages", [3, 6])
@pytest.mark.parametrize("idle", [0, 9])
def test_pages_that_are_named_at_once_are_fetched_at_once(jumping: Run, pages: int, idle: int) -> None:
    """By workers that wait already, or by new ones."""

    class Slow(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            await asyncio.sleep(0 if account.startswith("acc") else 1)
            return await super().page(account, cursor)

    async def main() -> None:
        deep = [[number(place, "deep")] for place in range(pages)]
        backend = Slow({"deep": deep, **simple(idle).pages}, at_once=True)
        sweep = sweep_of(backend, concurrency=9)
        assert len(await drained(sweep)) == pages + idle
        assert sweep.report.elapsed == pytest.approx(2)

    jumping(main())


async def test_pages_that_are_named_one_by_one_start_no_worker() -> None:
    """The worker that has fetched one goes on with the next."""
    tasks: list[int] = []

    class Counting(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            tasks.append(len(asyncio.all_tasks()))
            return await super().page(account, cursor)

    backend = Counting({"a": [[number(place)] for place in range(9)]}, delay=1)
    assert len(await drained(sweep_of(backend, ["a"]))) == 9
    assert tasks[1:] == [2] * 8


async def test_a_sweep_that_was_left_holds_no_page() -> None:
    """Pages that were fetched before its block ended are of accounts that were not reached."""
    sweep = sweep_of(simple(30), concurrency=5)
    async with sweep:
        await anext(sweep)
        await asyncio.sleep(1)
    assert [page async for page in sweep] == []
    assert sweep.report.numbers == sweep.report.outcomes[Outcome.DONE] == 1


# Second looks


class Recording(Looking):
    """Records what it is asked to look at again, and may refuse it."""

    def __init__(self, rows: int, error: Exception | None = None, **options: Any) -> None:
        super().__init__(rows, {}, **options)
        self.error = error
        self.looks: list[tuple[str, Any, str]] = []
        self.pages: list[tuple[str, Any]] = []

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        self.pages.append((account, cursor))
        return await super().page(account, cursor)

    async def has_row_at(self, account: str, place: int, row: str) -> bool:
        self.looks.append((account, place, row))
        if self.error is not None:
            raise self.error
        return await super().has_row_at(account, place, row)


def test_second_looks_are_at_the_rows_where_pages_meet() -> None:
    """Of the same account, and at the page that was empty if one was."""
    backend = Recording(6, totals=False, ahead=2)
    _, report = swept(backend)
    assert report.complete
    assert sorted(backend.looks) == [("a", 2, "a-2"), ("a", 5, "a-5")]
    assert Counter(backend.pages) == Counter(("a", cursor) for cursor in (None, 3, 6, 6, 9))


def test_a_page_that_is_no_longer_empty_is_read_again() -> None:
    """A number was bought after it was read, so that others may have been missed as well."""
    backend = Looking(6, {4: insert(6, 6)}, totals=False, ahead=2)
    found, report = swept(backend)
    assert len(found) == 7
    assert report.accounts["changing", "a"].passes == 2
    assert report.complete


def test_an_empty_page_is_looked_at_in_the_same_way_as_before() -> None:
    """Where pages should overlap, the windows of some rows only meet."""

    class Windows(Overlapping):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            raise AssertionError

    backend = Windows(12, {}, size=4, totals=False, ahead=2)
    found, report = swept(backend)
    assert len(found) == 12
    assert report.accounts["changing", "a"].passes == 1
    assert report.complete
    assert backend.requests > report.pages


def test_a_second_look_that_fails_fails_the_account() -> None:
    """Rows may have moved there."""
    refusal = Forbidden("no scope", status=403)
    _, report = swept(Recording(6, refusal))
    (failure,) = report.failures
    assert failure.error is refusal
    assert isinstance(failure.error, CallError)
    assert (failure.error.backend, failure.error.account) == ("changing", "a")


@pytest.mark.parametrize("kind", [Looking, Overlapping])
@pytest.mark.parametrize("totals", [True, False])
def test_without_verifying_no_second_look_is_taken(kind: type[Changing], *, totals: bool) -> None:
    """Every request is for a page."""
    backend = kind(9, {}, totals=totals, ahead=2)
    _, report = swept(backend, verify=False)
    assert backend.requests == report.pages


# The sweep itself


async def test_a_sweep_describes_itself() -> None:
    """By its backends, and how far it is."""
    sweep = Sweep([Source("one", simple(2, name="one")), Source("two", simple(1, name="two"))])
    assert repr(sweep) == "<Sweep of one, two: not started>"
    await drained(sweep)
    assert repr(sweep) == "<Sweep of one, two: 3 numbers in 3 accounts>"
    assert repr(Sweep([])) == "<Sweep of nothing: not started>"


async def test_a_sweep_has_sixty_four_requests_under_way() -> None:
    """Unless told otherwise."""
    backend = simple(200, delay=1)
    await drained(sweep_of(backend))
    assert backend.most_under_way == 64


async def test_a_sweep_may_be_short() -> None:
    """A deadline is any time, and a report may be given to be filled."""
    report = SweepReport()
    sweep = sweep_of(simple(9, delay=1), concurrency=1, deadline=0.5, report=report)
    assert await drained(sweep) == []
    assert sweep.report is report
    assert report.timed_out


async def test_a_sweep_logs_its_accounts(caplog: pytest.LogCaptureFixture) -> None:
    """If the log is enabled for it."""
    with caplog.at_level(logging.DEBUG, "phonesys"):
        await drained(sweep_of(simple(1)))
    assert any("acc_0" in record.getMessage() for record in caplog.records)


async def test_numbers_of_a_sweep_are_those_of_its_pages() -> None:
    """One after the other."""
    async with sweep_of(simple(3, numbers=2)) as sweep:
        assert len([found async for found in sweep.numbers()]) == 6
    async with Sweep([]) as sweep:
        assert [found async for found in sweep.numbers()] == []
