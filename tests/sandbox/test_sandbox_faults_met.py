"""What becomes of phonesys when each kind of fault happens to it, and when all of them do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

import phonesys
from phonesys import AgentNumbers, HttpOptions, LeadConnector, Leadping, Outcome, PhoneSystem
from phonesys.sandbox import Sandbox, faults
from phonesys.sandbox.faults import KINDS, FaultPlan, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.sandbox.faults import AnyRule
    from phonesys.sweep import SweepReport

pytestmark = pytest.mark.jumping  # time-outs are for the vendor, and not for a slow machine

ONCE_MORE = HttpOptions(timeout=0.15, retries=1, backoff=0, max_body=2**20)

FAILS: list[tuple[AnyRule, str]] = [
    (faults.Latency(seconds=1), "AttemptTimeout"),
    (faults.StalledHeaders(), "AttemptTimeout"),
    (faults.StalledBody(), "AttemptTimeout"),
    (faults.Drip(piece=10, pause=0.05), "AttemptTimeout"),
    (faults.Status(code=408), "RequestTimeout"),
    (faults.Status(code=429, retry_after=0), "RateLimited"),
    (faults.Status(code=429, retry_after="absurd"), "RateLimited"),
    (faults.Status(code=429, retry_after="negative"), "RateLimited"),
    (faults.Status(code=429, retry_after="past"), "RateLimited"),
    (faults.Status(code=429, retry_after="malformed"), "RateLimited"),
    *[(faults.Status(code=code), "ServerError") for code in (500, 502, 503, 504)],
    (faults.Html(), "ServerError"),
    (faults.Html(code=200), "NotJson"),
    (faults.Redirect(), "UnexpectedRedirect"),
    (faults.Refused(seconds=0.1), "ConnectError"),
    (faults.Reset(), "TransportError"),
    (faults.ResetBody(), "TransportError"),
    (faults.Truncated(), "TransportError"),
    (faults.LostAnswer(), "TransportError"),
    (faults.HugeHeaders(), "TransportError"),
    (faults.Charset(), "NotJson"),
    (faults.InvalidJson(), "NotJson"),
    (faults.Null(), "DecodeError"),
    (faults.EmptyObject(), "DecodeError"),
    (faults.GzipBomb(megabytes=8), "ResponseTooLarge"),
    (faults.WrongShape(), "DecodeError"),
]
SURVIVED: list[AnyRule] = [
    faults.ContentType(),
    faults.UnknownEnum(),
    faults.UnknownFields(),
    faults.MissingFields(),
    faults.BadRow(),
    faults.OddTypes(),
    faults.LiveSpelling(),
    faults.BrokenText(),
    faults.NoNumber(),
]
MOVES: list[AnyRule] = [
    faults.DuplicateRows(),
    faults.MovingRows(),
    faults.MovingRows(direction="earlier"),
]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for happens in this very loop
        await asyncio.sleep(0)


def named(value: object) -> str | None:
    return faults.kind_of(value) if isinstance(value, Rule) else None


def backends(
    sandbox: Sandbox, http: HttpOptions, speculate: int = 4
) -> tuple[LeadConnector, Leadping, AgentNumbers]:
    """All three, with pages so small that there are several."""
    return (
        LeadConnector(
            sandbox.leadconnector_token,
            base_url=sandbox.leadconnector_url,
            locations=sandbox.location_ids,
            page_size=6,
            speculate=speculate,
            http=http,
        ),
        Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url, page_size=25, http=http),
        AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, page_size=25, http=http),
    )


async def swept(
    sandbox: Sandbox, http: HttpOptions, *only: Any, concurrency: int = 8, speculate: int = 4
) -> tuple[SweepReport, dict[tuple[str, str], list[str]]]:
    found: dict[tuple[str, str], list[str]] = {}
    async with PhoneSystem(*(only or backends(sandbox, http, speculate))) as phones:
        async with phones.sweep(concurrency=concurrency) as sweep:
            async for page in sweep:
                numbers = [number.number for number in page.numbers]
                found.setdefault((page.provider, page.account), []).extend(numbers)
        return sweep.report, found


@pytest.mark.parametrize(("rule", "error"), FAILS, ids=named)
async def test_every_account_fails_with_a_reason(rule: AnyRule, error: str) -> None:
    """A fault that never ends fails the accounts of all backends with the error that names it, in time."""
    async with Sandbox(
        locations=1, numbers=9, leadping=30, agents=30, faults=FaultPlan((rule,)), enforce_limits=False
    ) as sandbox:
        report, _ = await swept(sandbox, ONCE_MORE)
    assert {type(failure.error).__name__ for failure in report.failures} == {error}
    assert len(report.failures) == 3
    assert report.elapsed < 5
    for failure in report.failures:
        assert isinstance(failure.error, phonesys.CallError)
        assert failure.error.backend == failure.provider


@pytest.mark.parametrize("rule", SURVIVED, ids=named)
async def test_every_number_is_found_in_spite_of_it(rule: AnyRule) -> None:
    """What is strange but readable costs nothing; a row that is not is counted, and no other is lost."""
    async with Sandbox(
        locations=2, numbers=20, leadping=60, agents=60, faults=FaultPlan((rule,)), enforce_limits=False
    ) as sandbox:
        before = {account: sandbox.truth[account] for account in sandbox.truth}
        report, found = await swept(sandbox, ONCE_MORE, speculate=1)
        assert not report.failures
        for account, listed in found.items():
            result, numbers = report.accounts[account], list(filter(None, listed))  # `no-number` clears some
            assert result.outcome is Outcome.DONE
            assert len(before[account] - set(numbers)) <= result.rejected + listed.count("")
            assert len(numbers) == len(set(numbers))
            assert set(numbers) <= sandbox.truth[account]
    assert (report.rejected > 0) is isinstance(rule, faults.BadRow)


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("rule", MOVES, ids=named)
async def test_rows_that_move_are_noticed(rule: AnyRule, times: int | None) -> None:
    """What moves once is read again and found; where rows never rest, nobody is done and short."""
    plan = FaultPlan((msgspec.structs.replace(rule, times=times),))
    async with Sandbox(
        locations=2, numbers=20, leadping=60, agents=60, faults=plan, enforce_limits=False
    ) as sandbox:
        before = {account: sandbox.truth[account] for account in sandbox.truth}
        report, found = await swept(sandbox, ONCE_MORE)
        for account, numbers in found.items():
            assert len(numbers) == len(set(numbers))
            if report.accounts[account].outcome is Outcome.DONE:
                assert before[account] & sandbox.truth[account] <= set(numbers), account
    assert {type(failure.error).__name__ for failure in report.failures} <= {"InconsistentListing"}
    if times is not None:
        assert not report.failures


async def test_a_repeated_token_is_noticed() -> None:
    """Paging that goes in a circle ends, as a failure."""
    async with Sandbox(leadping=60, faults=FaultPlan((faults.RepeatedToken(),))) as sandbox:
        report, _ = await swept(sandbox, ONCE_MORE, backends(sandbox, ONCE_MORE)[1])
    assert [type(failure.error).__name__ for failure in report.failures] == ["RepeatedPage"]


def test_every_kind_is_met() -> None:
    """None of the kinds is missing above."""
    met = [*(rule for rule, _ in FAILS), *SURVIVED, *MOVES, faults.RepeatedToken()]
    assert {faults.kind_of(rule) for rule in met} == KINDS.keys()


UNSURE: list[AnyRule] = [
    faults.LostAnswer(),
    faults.ResetBody(),
    faults.Truncated(),
    faults.StalledHeaders(),
    faults.StalledBody(),
    faults.Latency(seconds=1),
    faults.InvalidJson(),
    faults.Null(),
    faults.GzipBomb(megabytes=8),
    faults.HugeHeaders(),
    faults.Status(code=504, carry_out=True),
    faults.Reset(),
    faults.Status(code=502),
]


@pytest.mark.parametrize("rule", UNSURE, ids=named)
async def test_a_write_is_never_sent_twice(rule: AnyRule) -> None:
    """Whatever hides the answer, the number is created at most once, and the error says that nobody knows."""
    async with Sandbox(faults=FaultPlan((rule,))) as sandbox:
        async with backends(sandbox, ONCE_MORE)[1] as leadping:
            with pytest.raises(phonesys.OutcomeUnknown) as caught:
                await leadping.create(name="Once", number="+15005550006")
        await until(lambda: not sandbox.log.in_flight)
        assert caught.value.recovery_hint
        assert sum(served.route == "leadping.create" for served in sandbox.requests) == 1
        assert len(sandbox.created) <= 1


@pytest.mark.parametrize("code", [429])
async def test_a_write_that_was_refused_is_repeated(code: int) -> None:
    """A 429 proves that nothing was done."""
    rule = faults.Status(code=code, retry_after=0, times=1)
    async with Sandbox(faults=FaultPlan((rule,))) as sandbox:
        async with backends(sandbox, ONCE_MORE)[1] as leadping:
            await leadping.create(name="Once", number="+15005550006")
        assert len(sandbox.created) == 1


# Faults that no retry mends fail their account on purpose; here they would only hide the others.
EVERYTHING: list[Rule] = [
    faults.Latency(seconds=0.001, jitter=0.002, tail=0.0005, most=0.3),
    faults.StalledHeaders(),
    faults.StalledBody(),
    faults.Drip(piece=500, pause=0.001),
    *[faults.Status(code=code) for code in (408, 500, 502, 503, 504)],
    *[faults.Status(code=429, retry_after=wait) for wait in (0, "past", "negative", "malformed")],
    faults.Html(),
    faults.Html(code=200),
    faults.Reset(),
    faults.ResetBody(),
    faults.Truncated(),
    faults.LostAnswer(),
    faults.HugeHeaders(),
    faults.ContentType(),
    faults.Charset(),
    faults.InvalidJson(),
    faults.Null(),
    faults.EmptyObject(),
    faults.GzipBomb(megabytes=8),
    faults.Redirect(),
    faults.WrongShape(),
    faults.BadRow(),
    faults.UnknownEnum(),
    faults.UnknownFields(),
    faults.MissingFields(),
    faults.DuplicateRows(),
    faults.RepeatedToken(),
]
# A reader of several pages at once can miss a row that moves from one that is unread to one that was read.
IN_ORDER = faults.MovingRows(route="leadconnector.numbers")
# An outage costs many accounts at once, since a client has one budget for its retries.
OUTAGE = faults.Refused(seconds=0.02, times=1)


def mixed(rate: float, seed: int, *more: Rule) -> FaultPlan:
    """All of them, so that this share of requests meets one."""
    rules = [*EVERYTHING, *more]
    each = 1 - (1 - rate) ** (1 / len(rules))
    return FaultPlan(tuple(cast("AnyRule", msgspec.structs.replace(rule, rate=each)) for rule in rules), seed)


@pytest.mark.parametrize(
    ("seed", "speculate", "more", "least"),
    [
        (1, 4, (), 120),
        (2, 4, (), 120),
        (3, 1, (IN_ORDER,), 120),
        (4, 1, (IN_ORDER,), 120),
        (5, 4, (OUTAGE,), 10),
    ],
)
async def test_whoever_is_done_is_right(
    seed: int, speculate: int, more: tuple[Rule, ...], least: int
) -> None:
    """With every kind of fault at once, in a fifth of all requests, no account is done and wrong."""
    patient = HttpOptions(timeout=0.2, retries=6, backoff=0.01, max_body=2**20)
    async with Sandbox(
        locations=150,
        numbers=(0, 20),
        not_connected=5,
        leadping=120,
        agents=130,
        enforce_limits=False,
        faults=mixed(0.2, seed, *more),
        seed=seed,
    ) as sandbox:
        before = {account: sandbox.truth[account] for account in sandbox.truth}
        report, found = await swept(sandbox, patient, concurrency=32, speculate=speculate)
        after = {account: sandbox.truth[account] for account in sandbox.truth}
    assert len(report.accounts) == 152
    met = sum(served.fault is not None for served in sandbox.requests) / len(sandbox.requests)
    assert 0.15 < met < 0.25
    assert sum(report.outcomes[outcome] for outcome in (Outcome.DONE, Outcome.EMPTY)) >= least
    for account, result in report.accounts.items():
        numbers = found.get(account, [])
        blank = numbers.count("")
        numbers = [number for number in numbers if number]  # `no-number` clears some
        assert len(numbers) == len(set(numbers)), account
        assert set(numbers) <= after[account], account
        if result.outcome in {Outcome.DONE, Outcome.EMPTY}:
            assert len(before[account] - set(numbers)) <= result.rejected + blank, account
        elif result.outcome is Outcome.FAILED:
            assert isinstance(result.error, phonesys.PhonesysError)
        else:
            assert account[1] in sandbox.not_connected
