"""The conformance kit: what every backend must keep, as a class of tests to subclass."""

# ruff: noqa: S101 -- tests assert

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import re
import traceback
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import pytest

from phonesys.changes import ChangeOutcome, Risk
from phonesys.changes.values import COLUMNS, to_write
from phonesys.errors import CallError, PhonesysError, UsageError
from phonesys.model import Capabilities, NumberKind, NumberStatus, Page, PhoneNumber
from phonesys.provider import ChangesNumbers, GetsNumbers, NumberProvider, OverlapsPages
from phonesys.record import NumberRecord
from phonesys.sweep import Outcome
from phonesys.system import PhoneSystem
from phonesys.testing.backend import FailureMode
from phonesys.writes import CLOCK_SKEW, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from phonesys.change_rules import ChangeRules
    from phonesys.changes import Plan
    from phonesys.model import Cursor
    from phonesys.testing.backend import BackendUnderTest
    from phonesys.writes import Write

Self_ = TypeVar("Self_", bound="ProviderConformance")
AnyPage: TypeAlias = Page[PhoneNumber]

E164 = re.compile(r"\+[1-9]\d{6,14}")
HOSTILE = (
    "", " ", ".", "..", "../..", "../oauth/token", "a/b", "a\\b", "a?b=c", "a#b", "a%2F..%2Fb", "%2e%2e",
    "a;b", "a b", "a\tb", "a\nb", "a\r\nX-Evil: 1", "a\x00b", "é", "\u202e", "\ud800", "//evil.example/a",
    "http://evil.example", "a&b=c", "x" * 5000,
)  # fmt: skip
"""Account ids that no vendor gives out, and that users do."""
_LONGEST = 60.0
_MOMENT = 1.0
_MOST_PAGES = 10_000
_MAX_REPR = 500


def in_a_loop(test: Callable[[Self_], Awaitable[None]]) -> Callable[[Self_], None]:
    """Run a test in an event loop of its own, whatever plugins there are, and see that it ends clean."""

    @wraps(test)
    def run(self: Self_) -> None:
        async def main() -> None:
            async with asyncio.timeout(_LONGEST):
                await test(self)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left running: {left}"

        asyncio.run(main())

    return run


class ProviderConformance:
    """Subclass it, say how to set your backend up, and pytest runs what follows.

    ::

        class TestAcme(ProviderConformance):
            @asynccontextmanager
            async def bench(self):
                async with StandIn() as vendor:
                    yield BackendUnderTest(lambda: Acme("key", base_url=vendor.url), truth=vendor.truth)
    """

    hostile: ClassVar[Sequence[str]] = HOSTILE

    def bench(self) -> AbstractAsyncContextManager[BackendUnderTest]:
        """Set the stand-in for the vendor up, for one test: yours to write."""
        raise NotImplementedError("override bench(): an async context manager that yields a BackendUnderTest")

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[tuple[BackendUnderTest, NumberProvider]]:
        """Set it up, and open one backend on it."""
        async with self.bench() as bench, open_backend(bench.make()) as provider:
            yield bench, provider

    # --- What it is ------------------------------------------------------------------------------------

    @in_a_loop
    async def test_it_is_a_provider(self) -> None:
        """It has a name that can be read, and the methods that a sweep needs."""
        async with self._open() as (_, provider):
            assert isinstance(provider, NumberProvider)
            assert isinstance(provider.name, str)
            assert provider.name
            assert provider.name.isprintable()

    @in_a_loop
    async def test_it_lists_its_accounts_once_each(self) -> None:
        """All that it has numbers in; or it says that it cannot know them."""
        async with self._open() as (bench, provider):
            try:
                accounts = [account async for account in provider.accounts()]
            except UsageError:
                pytest.skip("this backend is told its accounts by the sweep")
            assert len(accounts) == len(set(accounts))
            assert set(bench.truth) <= set(accounts)

    # --- Paging ----------------------------------------------------------------------------------------

    @in_a_loop
    async def test_pages_say_what_they_are(self) -> None:
        """Each bears its account, its backend's name, and where it began; what follows can be asked for."""
        async with self._open() as (bench, provider):
            for account in bench.truth:
                for cursor, page in await walk(provider, account):
                    assert page.account == account
                    assert page.provider == provider.name
                    assert page.cursor == cursor
                    assert isinstance(page.numbers, tuple)
                    assert all(isinstance(following, int | str) for following in page.next)

    @in_a_loop
    async def test_numbers_have_what_every_number_has(self) -> None:
        """E.164, an id that is unique in its account, the unified fields in their types, and plain JSON."""
        async with self._open() as (bench, provider):
            for account in bench.truth:
                numbers = [n for _, page in await walk(provider, account) for n in page.numbers]
                assert len({number.id for number in numbers}) == len(numbers)
                for number in numbers:
                    check_number(number, account)

    @in_a_loop
    async def test_every_number_comes_exactly_once(self) -> None:
        """Page after page, in the order in which they are named."""
        async with self._open() as (bench, provider):
            for account, truth in bench.truth.items():
                check_complete(await walk(provider, account), truth)

    @in_a_loop
    async def test_pages_may_be_read_in_any_order(self) -> None:
        """The last page that was named first: a sweep promises no order."""
        async with self._open() as (bench, provider):
            for account, truth in bench.truth.items():
                check_complete(await walk(provider, account, last_first=True), truth)

    @in_a_loop
    async def test_overlapping_pages_hold_the_same_rows(self) -> None:
        """Neighbours agree on the rows that they share, and all pages together hold every number once."""
        async with self._open() as (bench, provider):
            if not isinstance(provider, OverlapsPages):
                pytest.skip("this backend has no pages that overlap: overlapping_page()")
            for account, truth in bench.truth.items():
                rows: list[str] = []
                for page in await overlapping(provider, account):
                    numbers = [number.number for number in page.numbers]
                    assert page.offset is not None, f"{account}: a page does not state its offset"
                    assert page.offset + page.overlap <= len(rows), (
                        f"{account}: there is a hole between pages"
                    )
                    assert rows[page.offset :] == numbers[: len(rows) - page.offset]
                    rows += numbers[len(rows) - page.offset :]
                assert sorted(rows) == sorted(truth)

    @in_a_loop
    async def test_a_page_is_safe_to_repeat(self) -> None:
        """Asked twice, it is the same, and so is what follows it."""
        async with self._open() as (bench, provider):
            for account in bench.truth:
                for cursor, page in (await walk(provider, account))[:5]:
                    again = await provider.page(account, cursor)
                    assert [n.id for n in again.numbers] == [n.id for n in page.numbers]
                    assert len(again.next) == len(page.next)

    # --- Sweeping --------------------------------------------------------------------------------------

    @in_a_loop
    async def test_a_sweep_finds_everything(self) -> None:
        """Many accounts at once, each number once, and a report without failures."""
        async with self.bench() as bench, PhoneSystem(provider := bench.make()) as phones:
            found: dict[str, list[str]] = {account: [] for account in bench.truth}
            async with phones.sweep({provider.name: list(bench.truth)}) as sweep:
                async for page in sweep:
                    found[page.account] += [number.number for number in page.numbers]
            assert sweep.report.complete
            for account, truth in bench.truth.items():
                assert sorted(found[account]) == sorted(truth)
                outcome = sweep.report.accounts[provider.name, account].outcome
                assert outcome in {Outcome.DONE, Outcome.EMPTY}

    @in_a_loop
    async def test_a_number_can_be_found(self) -> None:
        """`find` returns the account that holds a number, and nothing for an unknown number."""
        async with self.bench() as bench, PhoneSystem(provider := bench.make()) as phones:
            account, number = next((a, n) for a, truth in bench.truth.items() for n in truth)
            accounts = {provider.name: list(bench.truth)}
            found = await phones.find(number, accounts)
            assert account in {hit.account for hit in found}
            assert {hit.number for hit in found} == {number}
            assert await phones.find("+99999999999", accounts) == []

    # --- Changing --------------------------------------------------------------------------------------

    @in_a_loop
    async def test_its_changes_are_stated_consistently(self) -> None:
        """Every field that it mentions is described, and every other column is refused in a sentence."""
        async with self._open() as (_, provider):
            rules = change_rules(provider)
            new = [rule for rule in (rules.create, rules.buy) if rule is not None]
            named = {*rules.update, *rules.follows.values(), *(name for rule in new for name in rule.fields)}
            assert named <= rules.fields.keys(), f"not in fields: {named - rules.fields.keys()}"
            assert all(set(rule.required) <= set(rule.fields) for rule in new)
            assert {rules.route, rules.switch} - {None} <= set(rules.update)
            assert (rules.switch is None) == (rules.switched_off is None)
            own = {name for name, rule in rules.fields.items() if rule.attribute is not None}
            assert rules.fields.keys() <= {*COLUMNS, *own}, "a field is neither a column nor has an attribute"
            assert all(rules.refusal(column) for column in COLUMNS - set(rules.update))
            if rules.update or rules.deletes:
                assert isinstance(provider, GetsNumbers)

    @in_a_loop
    async def test_planned_changes_are_carried_out(self) -> None:
        """They can be looked up before and after, and are made once."""
        async with self.bench() as bench, PhoneSystem(provider := bench.make()) as phones:
            rules = change_rules(provider)
            if not bench.changes:
                pytest.skip("the bench names no changes: changes=")
            accounts = {provider.name: list(bench.truth)}
            plan = await phones.plan(bench.changes, accounts=accounts)
            assert plan.changes, "the changes change nothing"
            writes = [to_write(change, rules) for change in plan.changes]
            for write in writes:
                before = await look_up(provider, write)
                assert before is not WriteOutcome.DONE, f"{write} is found done before it was sent"
            await check_applied(phones, plan, written=True)
            for write in writes:
                after = await look_up(provider, write)
                assert after is not WriteOutcome.NOT_DONE, f"{write} is found not done after it was sent"
            await check_applied(phones, plan, written=False)

    # --- Errors ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "trouble", [trouble for trouble in FailureMode if trouble is not FailureMode.SLOW]
    )
    def test_trouble_is_a_clear_error(self, trouble: FailureMode) -> None:
        """It says which backend, operation and account it was, survives pickling, and then all is well."""

        async def main() -> None:
            async with self._open() as (bench, provider):
                error = await fail_page(bench, provider, trouble)
                check_error(error, provider.name, next(iter(bench.truth)))
                check_hidden(bench.secrets, error_texts(error))
                await provider.page(next(iter(bench.truth)))

        asyncio.run(main())

    @in_a_loop
    async def test_an_unknown_account_is_no_crash(self) -> None:
        """It is a PhonesysError, or a page where a key is good for whatever it is called."""
        async with self._open() as (bench, provider):
            await fetch_page_or_error(provider, "no-such-account-0123456789")
            await provider.page(next(iter(bench.truth)))

    @in_a_loop
    async def test_a_strange_cursor_is_no_crash(self) -> None:
        """Cursors are stored by users, and come back from other backends and versions."""
        async with self._open() as (bench, provider):
            for cursor in ("", "../..", "\ud800", "💥", -1, 10**30, 0):
                await fetch_page_or_error(provider, next(iter(bench.truth)), cursor)

    @in_a_loop
    async def test_no_account_leaves_its_path(self) -> None:
        """No account id makes the backend request another path, and errors are PhonesysErrors."""
        async with self._open() as (bench, provider):
            for account in self.hostile:
                await fetch_page_or_error(provider, account)
            if bench.requested_paths is None or bench.paths is None:
                pytest.skip("the bench does not say which paths were asked for: requested_paths=, paths=")
            strangers = [path for path in bench.requested_paths() if not re.fullmatch(bench.paths, path)]
            assert strangers == []

    # --- Cancellation ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
    def test_cancelling_leaves_nothing(self, turns: int) -> None:
        """At any point: the cancellation comes out, no task is left, and the next page can be had."""

        async def main() -> None:
            async with self.bench() as bench:
                before = asyncio.all_tasks()
                async with open_backend(bench.make()) as provider:
                    await cancelled(bench, provider, turns)
                    await provider.page(next(iter(bench.truth)))
                await only(before)

        asyncio.run(main())

    @in_a_loop
    async def test_a_sweep_can_be_left_at_any_page(self) -> None:
        """`break` ends everything that it started."""
        async with self.bench() as bench:
            before, provider = asyncio.all_tasks(), bench.make()
            async with (
                PhoneSystem(provider) as phones,
                phones.sweep({provider.name: list(bench.truth)}) as sweep,
            ):
                async for _ in sweep:
                    break
            await only(before)

    # --- Secrets ---------------------------------------------------------------------------------------

    @in_a_loop
    async def test_secrets_are_never_shown(self) -> None:
        """Not by the backend, its pages, or the log, however much it says."""
        async with self._open() as (bench, provider):
            if not bench.secrets:
                pytest.skip("the bench names no secrets: secrets=")
            lines: list[str] = []
            with listening(lines):
                pages = [await provider.page(account) for account in bench.truth]
            texts = [repr(provider), str(provider), repr(pages[:1]), *lines]
            check_hidden(bench.secrets, texts)

    @in_a_loop
    async def test_what_is_closed_says_so(self) -> None:
        """A backend that is opened with `async with` is not used beyond it."""
        async with self.bench() as bench:
            provider = bench.make()
            if not isinstance(provider, AbstractAsyncContextManager):
                pytest.skip("this backend is neither opened nor closed")
            async with provider:
                await provider.page(next(iter(bench.truth)))
            with pytest.raises(PhonesysError):
                await provider.page(next(iter(bench.truth)))


# --- What the tests of changes are made of -------------------------------------------------------------


def change_rules(provider: NumberProvider) -> ChangeRules:
    """Return the changes that a backend can make; skip the test if it makes none."""
    if not isinstance(provider, ChangesNumbers):
        pytest.skip("this backend carries out no plans: change_rules, carry_out(), reconcile()")
    return provider.change_rules


async def look_up(provider: Any, write: Write) -> WriteOutcome:
    """Look up a write once."""
    found = await provider.reconcile(write, grace_period=0, clock_skew=CLOCK_SKEW)
    outcome: WriteOutcome = found.outcome
    return outcome


async def check_applied(phones: PhoneSystem, plan: Plan, *, written: bool) -> None:
    """Expect that every change is done, by a write or without one."""
    async with phones.apply(plan, allow=Risk, grace_period=0) as run:
        async for result in run:
            assert result.outcome is ChangeOutcome.DONE, result
            assert result.written is written, result


# --- What the tests are made of ------------------------------------------------------------------------


@asynccontextmanager
async def open_backend(provider: NumberProvider) -> AsyncGenerator[NumberProvider]:
    """Open a backend, if it is one that is opened."""
    async with AsyncExitStack() as stack:
        if isinstance(provider, AbstractAsyncContextManager):
            await stack.enter_async_context(provider)
        yield provider


async def walk(
    provider: NumberProvider, account: str, *, last_first: bool = False
) -> list[tuple[Cursor | None, AnyPage]]:
    """Read all pages of an account; no cursor may be named twice."""
    waiting: list[Cursor | None] = [None]
    named: set[Cursor | None] = {None}
    pages: list[tuple[Cursor | None, AnyPage]] = []
    while waiting:
        cursor = waiting.pop(-1 if last_first else 0)
        page = await provider.page(account, cursor)
        pages.append((cursor, page))
        for following in page.next:
            assert following not in named, f"{account}: cursor {following!r} is named twice"
            named.add(following)
            waiting.append(following)
        assert len(pages) < _MOST_PAGES, f"{account}: the pages do not end"
    return pages


async def overlapping(provider: OverlapsPages, account: str) -> list[AnyPage]:
    """Read all overlapping pages of an account that hold rows, in the order of their offsets."""
    waiting: list[Cursor | None] = [None]
    pages: list[AnyPage] = []
    while waiting:
        page = await provider.overlapping_page(account, waiting.pop())
        pages.append(page)
        waiting += page.next
        assert len(pages) < _MOST_PAGES, f"{account}: the pages do not end"
    return sorted((page for page in pages if page.numbers), key=lambda page: page.offset or 0)


def check_complete(pages: Sequence[tuple[Cursor | None, AnyPage]], truth: Any) -> None:
    """Expect every number exactly once."""
    found = [number.number for _, page in pages for number in page.numbers]
    assert sorted(found) == sorted(truth)
    assert not any(page.rejected for _, page in pages)


def check_number(number: PhoneNumber, account: str) -> None:
    """Expect the unified fields, in their types."""
    assert isinstance(number, PhoneNumber)
    assert E164.fullmatch(number.number), number.number
    assert number.account == account
    assert number.provider
    assert isinstance(number.id, str)
    assert number.id
    assert isinstance(number.kind, NumberKind)
    assert isinstance(number.status, NumberStatus)
    assert isinstance(number.capabilities, Capabilities)
    assert number.country is None or re.fullmatch("[A-Z]{2}", number.country)
    for moment in (number.created_at, number.updated_at):
        assert moment is None or (isinstance(moment, datetime) and moment.tzinfo is not None)
    check_plain(number)


def check_plain(number: PhoneNumber) -> None:
    """Expect `to_dict` to return the fields of a record as JSON values, and a `repr` of one short line."""
    plain = number.to_dict()
    assert tuple(plain) == NumberRecord.__struct_fields__
    assert json.loads(json.dumps(plain)) == plain
    assert {name: plain[name] for name in ("account", "id", "number", "status")} == {
        "account": number.account,
        "id": number.id,
        "number": number.number,
        "status": number.status.value,
    }
    assert repr(number).isprintable()
    assert len(repr(number)) < _MAX_REPR


async def fetch_page_or_error(provider: NumberProvider, account: str, cursor: Cursor | None = None) -> None:
    """Request a page that may not exist; expects a page or a PhonesysError."""
    try:
        page = await provider.page(account, cursor)
    except PhonesysError:
        return
    assert isinstance(page, Page)


async def cancelled(bench: BackendUnderTest, provider: NumberProvider, turns: int) -> None:
    """Ask for a page, and cancel that after so many turns of the loop, unless it has come by then."""
    bench.failures.get(FailureMode.SLOW, lambda: None)()
    pending = asyncio.ensure_future(provider.page(next(iter(bench.truth))))
    for _ in range(turns):
        await asyncio.sleep(0)
    if not pending.done():
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
    bench.restore()


async def only(before: set[asyncio.Task[Any]]) -> None:
    """Wait a moment for the stand-in, which may live in this loop, to see that its client has gone."""
    clock = asyncio.get_running_loop().time
    until = clock() + _MOMENT
    while (left := asyncio.all_tasks() - before) and clock() < until:  # noqa: ASYNC110 -- tasks send no event
        await asyncio.sleep(0.005)
    assert not left, f"tasks are left running: {left}"


async def fail_page(bench: BackendUnderTest, provider: NumberProvider, trouble: FailureMode) -> PhonesysError:
    """Switch a failure on, request a page, and restore."""
    begin = bench.failures.get(trouble)
    if begin is None:
        pytest.skip(f"the bench cannot make this trouble: failures={{FailureMode.{trouble.name}: …}}")
    begin()
    try:
        await provider.page(next(iter(bench.truth)))
    except PhonesysError as error:
        return error
    finally:
        bench.restore()
    raise AssertionError(f"{trouble}: a page was returned")


def check_error(error: PhonesysError, backend: str, account: str) -> None:
    """Expect its facts, its sentence, and that it crosses processes."""
    assert isinstance(error, CallError)
    assert (error.backend, error.account) == (backend, account)
    assert error.operation
    assert error.attempts >= 1
    assert str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.backend, again.operation, again.account) == (backend, error.operation, account)


def error_texts(error: BaseException) -> list[str]:
    """Show an error in every way that loggers and debuggers do."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    causes: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in causes:
        causes.append(link)
        link = link.__cause__ or link.__context__
    # Locals of this kit's own frames hold the bench, whose business it is to know the secrets.
    frames = [line for line in whole.format() if "phonesys/testing" not in line]
    return [*frames, *map(str, causes), *map(repr, causes), *(repr(vars(c)) for c in causes)]


def check_hidden(secrets: Sequence[str], texts: Sequence[str]) -> None:
    """Expect no secret in any of them."""
    for secret in secrets:
        for text in texts:
            if secret in text:
                pytest.fail(f"a secret is shown: {text.replace(secret, '<SECRET>')[:500]}")


class listening(logging.Handler):  # noqa: N801 -- a context manager
    """Collect all that is logged, at every level."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines, self._root = lines, logging.getLogger()
        self._level = self._root.level

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with the arguments that it was made of."""
        self._lines.append(f"{record.getMessage()} {record.args!r}")

    def __enter__(self) -> None:
        self._root.addHandler(self)
        self._root.setLevel(logging.DEBUG)

    def __exit__(self, *_: object) -> None:
        self._root.removeHandler(self)
        self._root.setLevel(self._level)
