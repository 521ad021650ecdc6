"""Findings and alerts of a watch: each once, across restarts, and nothing that is unknown."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Forbidden, InvalidArgument, PhoneSystem
from phonesys.inventory import (
    AlertEvent,
    Alerts,
    Change,
    FindingEvent,
    Inventory,
    SweepEvent,
    Watch,
)
from phonesys.inventory.audit import Severity, make_inventory_rule, make_rule
from phonesys.inventory.audit.rule import Problem
from phonesys.inventory.store import watching
from phonesys.inventory.store.watch_rows import Alert
from phonesys.inventory.watch import alerts as alerts_module
from phonesys.inventory.watch.messages import fold, message_of
from tests.inventory.alert_server import SECRET, AlertServer, alert_server
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from phonesys.inventory import WatchEvent
    from phonesys.inventory.audit import AuditContext, Rule
    from phonesys.inventory.record import AccountKey
    from phonesys.record import NumberRecord

UNREAD = (
    "The sweep was incomplete: 1 of 2 accounts were not read completely. "
    "Their numbers do not count as removed."
)
BROKEN = Forbidden("no", status=403)


@make_rule("odd", Severity.CRITICAL, advice="Make it even.")
def odd(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is odd."""
    return f"it ends in {record.number[-1]}" if int(record.number[-1]) % 2 else None


class Days(Memory):
    """A backend that is in the next state at every sweep, and stays in the last one."""

    def __init__(self, days: Iterable[dict[str, list[Any]]], **options: Any) -> None:
        self.days = iter(days)
        super().__init__({}, **options)

    async def accounts(self) -> AsyncIterator[str]:
        self.pages = next(self.days, self.pages)
        async for account in super().accounts():
            yield account


@pytest.fixture
async def server() -> AsyncIterator[AlertServer]:
    async with alert_server() as running:
        yield running


async def watched(
    where: str | Path,
    days: list[dict[str, list[Any]]],
    *,
    rules: Iterable[Rule] = (odd,),
    kind: type[Days] = Days,
    **options: Any,
) -> list[WatchEvent]:
    """Return the events of a watch of as many sweeps as there are states."""
    seen: list[WatchEvent] = []
    async with (
        PhoneSystem(kind(days)) as phones,
        Inventory(where) as store,
        Watch(phones, interval=0.001, store=store, audit=tuple(rules), **options) as watch,
        aclosing(watch.events()) as events,
    ):
        async for event in events:
            seen.append(event)
            if sum(isinstance(one, SweepEvent) for one in seen) == len(days):
                break
    return seen


def findings(events: Iterable[WatchEvent]) -> list[tuple[str, str | None]]:
    return [(e.state.value, e.finding.number) for e in events if isinstance(e, FindingEvent)]


def changes(events: Iterable[WatchEvent], kind: str) -> list[str | None]:
    return [e.number for e in events if isinstance(e, Change) and e.kind == kind]


def one(index: int, account: str = "a") -> str:
    return number(index, account).number


# Findings


async def test_a_finding_is_new_once(where: str) -> None:
    """Neither the next sweep nor the next watch reports it again. One that ended and is back is new."""
    bad, good = {"a": [[number(1)]]}, {"a": [[number(2)]]}
    assert findings(await watched(where, [bad, bad])) == [("new", one(1))]
    assert findings(await watched(where, [bad])) == []
    assert findings(await watched(where, [good, bad])) == [("resolved", one(1)), ("new", one(1))]
    async with Inventory(where) as store:
        (found,) = await store.open_findings()
    assert (found.finding.code, found.finding.number) == ("odd", one(1))


async def test_nothing_is_resolved_that_was_not_read(tmp_path: Path) -> None:
    """Findings of accounts that fail, wholly or in part, stay as they are, and so do those of a lost list."""

    class Unlisted(Days):
        async def accounts(self) -> AsyncIterator[str]:
            async for account in super().accounts():
                yield account
            if self.pages.keys() == {"none"}:
                raise BROKEN

    bad = {"a": [[number(1)]], "b": [[number(3, "b")]]}
    events = await watched(
        tmp_path / "i.db",
        [bad, {"a": [BROKEN], "b": [[]]}, {"b": [[]], "a": [[], BROKEN]}, {"a": [[]], "b": [[]]}],
    )
    assert findings(events) == [
        ("new", one(1)),
        ("new", one(3)),
        ("resolved", one(3)),
        ("resolved", one(1)),
    ]
    sweeps = [event for event in events if isinstance(event, SweepEvent)]
    assert [sweep.complete for sweep in sweeps] == [True, False, False, True]
    assert [sweep.open_findings for sweep in sweeps] == [2, 1, 1, 0]
    assert sweeps[1].unread[0].account == "a"
    assert changes(events[: events.index(sweeps[2])], "removed") == [one(3)]

    seen = await watched(tmp_path / "j.db", [bad, {"none": [[]]}], kind=Unlisted)
    assert findings(seen) == [("new", one(1)), ("new", one(3))]


async def test_findings_of_an_account_that_is_gone_are_resolved(tmp_path: Path) -> None:
    """The vendor no longer lists the account, so that nothing in it is open."""
    events = await watched(tmp_path / "i.db", [{"a": [[number(1)]], "b": [[]]}, {"b": [[]]}])
    assert findings(events) == [("new", one(1)), ("resolved", one(1))]


async def test_a_rule_between_accounts_needs_all_of_them(tmp_path: Path) -> None:
    """Without an account, the rule finds less than there is, unless its problems name all that they need."""

    def pairs(code: str, *, within_accounts: bool) -> Rule:
        class Pair:
            """Two accounts hold numbers."""

            def __init__(self, context: AuditContext) -> None:
                self.accounts: dict[AccountKey, None] = {}

            def add(self, record: NumberRecord, /) -> None:
                self.accounts[record.backend, record.account] = None

            def problems(self) -> Iterable[Problem]:
                if len(self.accounts) > 1:
                    yield Problem(None, tuple(self.accounts)[:1], "two")

        return make_inventory_rule(code, Severity.NOTICE, advice="", within_accounts=within_accounts)(Pair)

    both = {"a": [[number(2)]], "b": [[number(4, "b")]]}
    events = await watched(
        tmp_path / "i.db",
        [both, {"a": [[number(2)]], "b": [BROKEN]}],
        rules=[pairs("between", within_accounts=False), pairs("within", within_accounts=True)],
    )
    assert [(e.state.value, e.finding.code) for e in events if isinstance(e, FindingEvent)] == [
        ("new", "between"),
        ("new", "within"),
        ("resolved", "within"),
    ]


async def test_findings_of_other_rules_and_backends_are_left_alone(tmp_path: Path) -> None:
    """A watch of one backend, or without a rule, resolves nothing that it cannot find."""
    where = tmp_path / "i.db"
    await watched(where, [{"a": [[number(1)]]}])

    async with PhoneSystem(Memory({"a": [[]]}, name="other")) as phones, Inventory(where) as store:
        async with Watch(phones, interval=1, store=store, audit=(odd,)) as watch:
            assert (await _first_sweep(watch)).open_findings == 1
    assert findings(await watched(where, [{"a": [[]]}], rules=())) == []
    assert findings(await watched(where, [{"a": [[]]}])) == [("resolved", one(1))]


async def _first_sweep(watch: Watch) -> SweepEvent:
    async with aclosing(watch.events()) as events:
        async for event in events:
            if isinstance(event, SweepEvent):
                return event
    raise AssertionError("a watch never ends")


async def test_the_same_finding_twice_in_a_sweep_is_two(tmp_path: Path) -> None:
    """Two rows with one number in one account are two findings, and the end of one leaves the other."""
    row, other = number(1), number(1)
    other.row_id = "another"
    events = await watched(tmp_path / "i.db", [{"a": [[row, other]]}, {"a": [[row]]}])
    assert findings(events) == [("new", one(1)), ("new", one(1)), ("resolved", one(1))]


async def test_changes_are_compared_with_the_last_sweep_that_was_recorded(tmp_path: Path) -> None:
    """Changes of a sweep that ended before it was recorded are found by the next watch."""
    where = tmp_path / "i.db"
    await watched(where, [{"a": [[number(2)]]}])
    async with PhoneSystem(Memory({"a": [[number(2), number(4)]]})) as phones, Inventory(where) as store:
        await store.collect(phones)  # as a watch that is killed at the end of its sweep
    events = await watched(where, [{"a": [[number(2), number(4)]]}])
    assert changes(events, "added") == [one(4)]


async def test_a_pruned_baseline_is_replaced_by_a_later_one(tmp_path: Path) -> None:
    """If the last sweep that was recorded is gone, a watch starts from the newest one."""
    where = tmp_path / "i.db"
    await watched(where, [{"a": [[number(2)]]}])
    async with PhoneSystem(Memory({"a": [[number(4)]]})) as phones, Inventory(where) as store:
        await store.collect(phones)
        await store.prune(keep=1)
    events = await watched(where, [{"a": [[number(4), number(6)]]}])
    assert changes(events, "added") == [one(6)]
    assert changes(events, "removed") == []


async def test_old_snapshots_are_deleted(tmp_path: Path) -> None:
    """Only the newest are kept, and the sweep says how many were deleted."""
    events = await watched(tmp_path / "i.db", [{"a": [[number(2 * i)]]} for i in range(4)], keep=2)
    assert [event.pruned for event in events if isinstance(event, SweepEvent)] == [0, 0, 1, 1]
    async with Inventory(tmp_path / "i.db") as store:
        assert len(await store.snapshots()) == 2


# Alerts


async def test_a_sweep_is_one_message(where: str, server: AlertServer) -> None:
    """It lists the worst first, within its limits, and says how many it leaves out."""
    rows = [number(i) for i in range(1, 80, 2)]
    more = [*rows, number(100), number(101)]
    events = await watched(
        where,
        [
            {"a": [rows]},
            {"a": [more]},
            {"a": [more]},
        ],
        alerts=Alerts({"ops": server.url}, max_items=3),
    )
    assert [m["title"] for m in server.messages] == [
        "phonesys: 40 new findings",
        "phonesys: 1 new finding, 2 changes",
    ]
    first, second = (body.splitlines() for body in server.bodies)
    assert first[-1] == "and 37 more"
    assert first[0] == f"critical odd: {one(1)} in memory a: it ends in 1"
    assert [line.split()[0] for line in second] == ["critical", "added", "added"]
    sent = [(e.destination, e.sent, e.items) for e in events if isinstance(e, AlertEvent)]
    assert sent == [("ops", True, 40), ("ops", True, 3)]


async def test_no_finding_is_sent_twice(where: str, server: AlertServer) -> None:
    """Not after a restart either. A finding that is resolved and comes back is sent again."""
    bad, good = {"a": [[number(1)]]}, {"a": [[number(2)]]}
    for days in ([bad], [bad, bad], [good], [bad]):
        await watched(where, days, alerts=Alerts({"ops": server.url}, changes=False))
    assert server.bodies == [f"critical odd: {one(1)} in memory a: it ends in 1"] * 2


async def test_resolved_findings_are_sent_if_wanted(tmp_path: Path, server: AlertServer) -> None:
    """Their line is that of the finding."""
    await watched(
        tmp_path / "i.db",
        [{"a": [[number(1)]]}, {"a": [[]]}],
        alerts=Alerts({"ops": server.url}, changes=False, resolved=True),
    )
    assert server.bodies[1] == f"resolved critical odd: {one(1)} in memory a: it ends in 1"


async def test_a_message_that_is_not_sent_is_sent_later(where: str, server: AlertServer) -> None:
    """Every sweep tries again, together with what it found, and every attempt is an event."""
    server.statuses = [500, 503]
    events = await watched(
        where,
        [{"a": [[number(1)]]}, {"a": [[number(1), number(3)]]}, {"a": [[number(1), number(3)]]}],
        alerts=Alerts({"ops": server.url}, changes=False),
    )
    attempts = [(e.sent, e.items) for e in events if isinstance(e, AlertEvent)]
    assert attempts == [(False, 1), (False, 2), (True, 2)]
    assert len(server.messages) == 1
    (problem, _) = [e.problem or "" for e in events if isinstance(e, AlertEvent) and not e.sent]
    assert "500" in problem
    assert SECRET not in problem


async def test_one_destination_does_not_wait_for_another(tmp_path: Path, server: AlertServer) -> None:
    """A destination that works gets each message once, however often another fails."""
    where = tmp_path / "i.db"
    dead = f"json://user:{SECRET}@127.0.0.1:1/{SECRET}"
    for _ in range(2):
        events = await watched(
            where, [{"a": [[number(1)]]}] * 2, alerts=Alerts({"dead": dead, "ops": server.url})
        )
        problems = {e.problem for e in events if isinstance(e, AlertEvent) and not e.sent}
        assert len(problems) == 1
        assert SECRET not in str(events)
    assert len(server.messages) == 1
    assert SECRET.encode() not in where.read_bytes()


async def test_a_quiet_period_groups_sweeps(
    where: str, server: AlertServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found meanwhile is in the next message. A clock that was set back ends the period."""
    days = [{"a": [[number(i) for i in range(1, 2 * count, 2)]]} for count in range(1, 4)]

    def alerts() -> Alerts:
        return Alerts({"ops": server.url}, changes=False, quiet_period=timedelta(hours=1))

    await watched(where, days, alerts=alerts())
    assert len(server.messages) == 1
    monkeypatch.setattr(alerts_module, "now", lambda: datetime.now(UTC) + timedelta(hours=2))
    await watched(where, days[2:], alerts=alerts())
    assert [body.count("critical") for body in server.bodies] == [1, 2]
    monkeypatch.setattr(alerts_module, "now", lambda: datetime.now(UTC) - timedelta(days=300))
    await watched(where, [{"a": [[number(7)]]}], alerts=alerts())
    assert len(server.messages) == 3


async def test_an_incomplete_sweep_is_said_in_its_message(tmp_path: Path, server: AlertServer) -> None:
    """The numbers of accounts that were not read are not removed, and the account is a finding."""
    await watched(
        tmp_path / "i.db",
        [{"a": [[number(2)]], "b": [[number(4, "b")]]}, {"a": [BROKEN], "b": [[]]}],
        rules=[],
        alerts=Alerts({"ops": server.url}),
    )
    (body,) = server.bodies
    assert body.splitlines() == [
        "unknown: memory a: memory page a: 403 no",
        f"removed {one(4)} in memory b",
        UNREAD,
    ]


async def test_a_message_that_may_have_been_sent_is_not_sent_again(where: str, server: AlertServer) -> None:
    """The next message, and its event, say how many items may not have arrived."""
    alerts = Alerts({"ops": server.url}, changes=False)
    server.statuses = [500]
    await watched(where, [{"a": [[number(1), number(3)]]}], alerts=alerts)
    async with Inventory(where) as store:  # as a program that is killed while it sends
        state = store.watch_state(["memory"])
        await state.begin_sending("ops", (await state.outbox("ops")).alerts[-1].id or 0)
    events = await watched(where, [{"a": [[number(1), number(3)]]}] * 2, alerts=alerts)
    assert not any(isinstance(event, AlertEvent) for event in events)
    events = await watched(where, [{"a": [[number(5)]]}, {"a": [[number(7)]]}], alerts=alerts)
    assert [e.uncertain for e in events if isinstance(e, AlertEvent)] == [2, 0]
    assert [("2 items may not have arrived" in body) for body in server.bodies] == [True, False]
    assert not any(one(1) in body for body in server.bodies)


async def test_a_new_destination_begins_now(tmp_path: Path, server: AlertServer) -> None:
    """It gets what is found from then on, also beside one that works."""
    where = tmp_path / "i.db"
    await watched(where, [{"a": [[number(1)]]}], alerts=Alerts({"a": server.url}))
    await watched(where, [{"a": [[number(1), number(3)]]}], alerts=Alerts({"a": server.url, "b": server.url}))
    assert len(server.messages) == 3
    assert sum(one(1) in body for body in server.bodies) == 1


async def test_a_dead_destination_fills_no_disk(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older alerts become one that counts them."""
    monkeypatch.setattr(watching, "MAX_ALERTS", 5)
    async with Inventory(where) as store:
        state = store.watch_state(["memory"])
        await state.register(["ops"])
        for i in range(4):
            lines = [Alert("change", f"{i} {j}") for j in range(3)]
            await state.record(i, new={}, found_at=datetime.now(UTC), lines=lines)
        outbox = await state.outbox("ops")
    assert [(alert.kind, alert.items) for alert in outbox.alerts] == [("old", 8), *[("change", 1)] * 4]
    message = message_of(outbox.alerts, None, 0, max_items=9, max_length=2000)
    assert message.title == "phonesys: 4 changes, 8 older items"
    assert message.body.splitlines()[-1] == "and 8 more"


def test_a_finding_that_ends_unheard_is_not_sent() -> None:
    """Within a quiet period it has come and gone. If it came back, it is sent."""
    new, gone = Alert("finding", "x", key="k", id=1), Alert("resolved", "x", key="k", id=2)
    assert fold([new, gone], with_resolved=True) == []
    back = Alert("finding", "x", key="k", id=3)
    assert fold([new, gone, back], with_resolved=True) == [back]
    assert fold([gone, back], with_resolved=True) == [gone, back]
    assert fold([gone, back], with_resolved=False) == [back]


async def test_vendors_text_is_harmless_in_a_message(tmp_path: Path, server: AlertServer) -> None:
    """It pings no channel, moves no cursor, and does not fill the message."""
    row, renamed = number(2), number(2)
    renamed.label = "@everyone <!here> \N{RIGHT-TO-LEFT OVERRIDE}\x1b[2J\n" + "x" * 5000
    await watched(tmp_path / "i.db", [{"a": [[row]]}, {"a": [[renamed]]}], alerts=Alerts({"ops": server.url}))
    (body,) = server.bodies
    assert len(body) < 250
    assert not set(body) & set("@<\n\x1b\N{RIGHT-TO-LEFT OVERRIDE}")


async def test_severity_decides_what_is_sent(tmp_path: Path, server: AlertServer) -> None:
    """Milder findings are events, and no alerts."""
    rule = make_rule("mild", Severity.NOTICE, advice="")(lambda record, context: "mild")
    for severity, count in ((Severity.WARNING, 0), ("notice", 1)):
        where = tmp_path / f"{severity}.db"
        alerts = Alerts({"ops": server.url}, severity=severity, changes=False)
        events = await watched(where, [{"a": [[number(2)]]}], rules=[rule], alerts=alerts)
        assert len(findings(events)) == 1
        assert len(server.messages) == count


async def test_a_test_message_reaches_every_destination(server: AlertServer) -> None:
    """Each result names its destination, and the reason of a failure."""
    dead = "json://127.0.0.1:1"
    works, fails = await Alerts({"ops": server.url, "dead": dead}).test()
    assert (works.destination, works.sent, works.problem) == ("ops", True, None)
    assert (fails.destination, fails.sent) == ("dead", False)
    assert fails.problem
    assert server.messages[0]["title"] == "phonesys: test"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"urls": {"ops": f"nonsense://{SECRET}"}}, "does not understand"),
        ({"urls": {"ops": ""}}, "expected a string"),
        ({"urls": {"o ps": "json://127.0.0.1"}}, "expected a name"),
        ({"urls": {}, "severity": "bad"}, "severity: expected critical, warning, notice"),
        ({"urls": {}, "quiet_period": -1}, "quiet_period"),
        ({"urls": {}, "max_items": 0}, "max_items"),
        ({"urls": {}, "max_length": 10}, "max_length"),
    ],
)
def test_wrong_alerts_are_one_line(arguments: dict[str, Any], why: str) -> None:
    """The error names the argument, and shows no address."""
    with pytest.raises(InvalidArgument, match=why) as error:
        Alerts(**arguments)
    assert SECRET not in str(error.value)


async def test_an_address_is_a_secret(server: AlertServer) -> None:
    """It is in no `repr`."""
    alerts = Alerts({"ops": server.url})
    assert repr(alerts) == "Alerts(ops)"
    assert SECRET not in str(vars(alerts))


async def test_a_store_is_needed(tmp_path: Path) -> None:
    """What is found is kept, so that a watch without a store refuses to look."""
    async with PhoneSystem(Memory({"a": [[]]})) as phones:
        for options in ({"audit": True}, {"alerts": Alerts({})}, {"keep": 3}):
            with pytest.raises(InvalidArgument, match="expected a store"):
                Watch(phones, interval=1, **options)
        async with Inventory(tmp_path / "i.db") as store:
            with pytest.raises(InvalidArgument, match="ignore: unknown rule"):
                Watch(phones, interval=1, store=store, audit=True, ignore=["nothing"])
