"""Each rule of the audit: the problems that it finds, and those that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phonesys.inventory.audit import AuditContext, Finding, Severity, all_rules, findings
from phonesys.inventory.record import AccountOutcome
from phonesys.model import NumberKind, NumberPool, NumberStatus
from phonesys.record import NumberRecord

DOCS = Path(__file__).parent.parent.parent / "docs" / "guides" / "audit.md"


def number(digits: str = "+14155552671", **fields: Any) -> NumberRecord:
    usual: dict[str, Any] = {
        "provider": "leadconnector",
        "backend": "north",
        "account": "loc_1",
        "id": f"id{digits}",
        "status": NumberStatus.ACTIVE,
    }
    return NumberRecord(number=digits, **(usual | fields))


async def found(code: str, *records: NumberRecord, **options: Any) -> list[Finding]:
    """Audit with this rule only."""
    return await findings(records, rules=[all_rules()[code]], **options)


def test_every_rule_is_documented_and_tested() -> None:
    """Each rule has a line in the documentation and a test in this file."""
    documented, tested = DOCS.read_text(), Path(__file__).read_text()
    for code, rule in all_rules().items():
        assert f"`{code}`" in documented
        assert f'"{code}"' in tested
        assert rule.summary
        assert rule.advice


async def test_no_inbound_route() -> None:
    """A number is found if the vendor says that no route answers, but not if it says nothing."""
    lost = number(is_routed=False)
    (finding,) = await found("no-inbound-route", lost, number("+14155552672"), number(is_routed=True))
    assert finding.severity is Severity.CRITICAL
    assert (finding.number, finding.id) == (lost.number, lost.id)
    assert finding.accounts == (("north", "loc_1"),)
    assert "release" in finding.advice


async def test_the_context_names_pools_of_numbers() -> None:
    """Pools of the context are used for records that name no pool."""
    lost = number(is_routed=False)
    answering = NumberPool(id="p", account="loc_1", numbers=(lost.number,), forwarding_number="+14155550000")
    silent = NumberPool(id="p", name="Ads", account="loc_1", numbers=(lost.number,))
    assert not await found("no-inbound-route", lost, context=AuditContext(pools=[answering]))
    (finding,) = await found("no-inbound-route", lost, context=AuditContext(pools=[silent]))
    assert "Ads" in finding.evidence


async def test_forwards_to_itself() -> None:
    """A number that forwards to itself is found in any spelling."""
    itself = number(inbound="forward:+1 (415) 555-2671")
    service = number(inbound="ivr:1", forwarding_number="+14155552671")
    assert len(await found("forwards-to-itself", itself, service)) == 1


async def test_forwards_in_circle() -> None:
    """Numbers in a circle are found, and so are numbers that forward to one."""
    a, b, c = (f"+1415555000{n}" for n in (1, 2, 3))
    records = [
        number(a, inbound=f"forward:{b}"),
        number(b, inbound=f"forward:{c}", account="loc_2"),
        number(c, inbound=f"forward:{b}", account="loc_2"),
        number("+14155550004", inbound="forward:+14155550005"),
        number("+14155550005", inbound="user:u"),
    ]
    circles = await found("forwards-in-circle", *records)
    assert {finding.number for finding in circles} == {a, b, c}
    assert next(one.evidence for one in circles if one.number == a) == f"{a} → {b} → {c} → {b}"


async def test_forwarding_with_an_exit_is_no_circle() -> None:
    """A number that two accounts forward differently is found only if both ways end in a circle."""
    a, b = "+14155550001", "+14155550002"
    out = number(a, inbound="forward:+442079460000", account="loc_2")
    assert (
        len(
            await found(
                "forwards-in-circle", number(a, inbound=f"forward:{b}"), number(b, inbound=f"forward:{a}")
            )
        )
        == 2
    )
    both = [number(a, inbound=f"forward:{b}"), out, number(b, inbound=f"forward:{a}")]
    assert len(await found("forwards-in-circle", *both)) == 2


async def test_a_long_chain_costs_no_recursion() -> None:
    """Ten thousand numbers in one circle are found, each with a readable line of evidence."""
    count = 10_000
    ring = [number(f"+1415{n:07}", inbound=f"forward:+1415{(n + 1) % count:07}") for n in range(count)]
    circles = await found("forwards-in-circle", *ring)
    assert len(circles) == count
    assert max(len(finding.evidence) for finding in circles) < 150


async def test_held_twice() -> None:
    """The same digits in several accounts are one finding that names all accounts."""
    again = [
        number(),
        number("+1 415 555 2671", backend="agents", account="default"),
        number(account="loc_2"),
        number(id="another row of the same account"),
        number("+14155552672"),
    ]
    (finding,) = await found("held-twice", *again)
    assert finding.accounts == (("north", "loc_1"), ("agents", "default"), ("north", "loc_2"))


async def test_an_agents_number_may_be_held_by_a_carrier() -> None:
    """A carrier and an agent on one number are ordinary. Two carriers, or two agents, are not."""
    agent = {"provider": "agents", "backend": "bots", "account": "default"}
    assert not await found("held-twice", number(), number("14155552671", **agent))
    carriers = await found("held-twice", number(), number(**agent), number(account="loc_2"))
    assert [one.accounts for one in carriers] == [(("north", "loc_1"), ("north", "loc_2"))]
    agents = await found("held-twice", number(**agent), number(), number(**{**agent, "account": "other"}))
    assert [one.accounts for one in agents] == [(("bots", "default"), ("bots", "other"))]


async def test_not_held() -> None:
    """An agent's number that no carrier holds is found, if all carriers' accounts were read."""
    agent = {"provider": "agents", "backend": "bots", "account": "default"}
    lost, fine = number("+14155552672", **agent), number("14155552671", **agent)
    records = [lost, fine, number(), number("", **agent)]
    (finding,) = await found("not-held", *records)
    assert (finding.number, finding.accounts) == (lost.number, (("bots", "default"),))
    assert finding.evidence == "not among the numbers of north"
    assert not await found("not-held", lost)
    for backend, count in (("north", 0), ("bots", 1)):
        incomplete = AccountOutcome(backend, "x", "failed", "401")
        assert len(await found("not-held", *records, accounts=[incomplete])) == count
    assert not await found("not-held", *records, context=AuditContext(overlays=()))


async def test_listed_twice() -> None:
    """Two rows with the same digits in one account are found. One row in each of two accounts is not."""
    rows = [number(), number("14155552671", id="other"), number(account="loc_2"), number("+14155552672")]
    (finding,) = await found("listed-twice", *rows)
    assert (finding.accounts, finding.evidence) == ((("north", "loc_1"),), "2 rows with these digits")


async def test_a_context_can_be_used_again() -> None:
    """A second audit with the same context does not find the numbers of the first."""
    context = AuditContext()
    for _ in range(2):
        assert not await found("listed-twice", number(), context=context)


async def test_default_missing() -> None:
    """An account without a default is found, unless the vendor knows no defaults."""
    records = [number(is_default=False), number(account="loc_2", is_default=True), number(account="loc_3")]
    (finding,) = await found("default-missing", *records)
    assert (finding.number, finding.accounts) == (None, (("north", "loc_1"),))


async def test_nothing_is_missing_in_an_incomplete_account() -> None:
    """Its default may be among the numbers that were not read."""
    lost = [AccountOutcome("north", "loc_1", "failed", "401")]
    assert not await found("default-missing", number(is_default=False), accounts=lost)
    context = AuditContext(incomplete={("north", "loc_1"): "401"})
    assert not await found("default-missing", number(is_default=False), context=context)


async def test_incomplete_account() -> None:
    """Failed accounts, unreadable rows and unreadable lists of accounts are found, with their reasons."""
    outcomes = [
        AccountOutcome("north", "loc_1", "failed", "401 no"),
        AccountOutcome("north", "loc_2", "done", rejected=2),
        AccountOutcome("north", "loc_3", "not_reached"),
        AccountOutcome("south", "", "failed", "403 no"),
        AccountOutcome("north", "loc_4", "done"),
    ]
    incomplete = await found("incomplete-account", accounts=outcomes)
    assert [(one.accounts[0], one.evidence) for one in incomplete] == [
        (("north", "loc_1"), "401 no"),
        (("north", "loc_2"), "2 rows could not be read"),
        (("north", "loc_3"), "not reached"),
        (("south", ""), "its list of accounts could not be read: 403 no"),
    ]


async def test_default_doubled() -> None:
    """Two defaults in one account are found. One in each of two accounts is correct."""
    two = [number(is_default=True), number("+14155552672", is_default=True)]
    (finding,) = await found("default-doubled", *two, number(account="loc_2", is_default=True))
    assert finding.accounts == (("north", "loc_1"),)
    assert "+14155552672" in finding.evidence


async def test_pooled_but_inactive() -> None:
    """An inactive pool is found, and so is an inactive number in an active pool."""
    inactive = number(pool="p1", pool_name="Ads", pool_active=False)
    itself = number(pool="p2", pool_active=True, status=NumberStatus.INACTIVE)
    fine = number(pool="p2", pool_active=True)
    evidence = [one.evidence for one in await found("pooled-but-inactive", inactive, itself, fine, number())]
    assert evidence == ["pool 'Ads' is not active", "in pool p2, but it is inactive"]


@pytest.mark.parametrize("status", list(NumberStatus))
async def test_unusable_status(status: NumberStatus) -> None:
    """Suspended, restricted, failed and expired numbers are found, with the vendor's word as evidence."""
    bad = status in {"suspended", "restricted", "failed", "expired"}
    (*all_found,) = await found("unusable-status", number(status=status, vendor_status="FailedProvisioning"))
    assert len(all_found) == bad
    assert all("'FailedProvisioning'" in finding.evidence for finding in all_found)


async def test_ten_dlc_rejected() -> None:
    """A refused campaign is found by its status or by its reason."""
    bad = [number(ten_dlc_status="REJECTED"), number(ten_dlc_status="Pending", ten_dlc_failure="no website")]
    assert len(await found("ten-dlc-rejected", *bad, number(ten_dlc_status="Approved"), number())) == 2


async def test_ten_dlc_not_registered() -> None:
    """Unregistered local +1 numbers are found, if they can send messages."""
    missing = number(ten_dlc_registered=False)
    (finding,) = await found(
        "ten-dlc-not-registered",
        missing,
        number(),
        number(ten_dlc_registered=False, sms=False),
        number(ten_dlc_registered=False, kind=NumberKind.TOLL_FREE),
        number("+18885550100", ten_dlc_registered=False),
        number("+442079460000", ten_dlc_registered=False),
    )
    assert finding.id == missing.id


async def test_warmup_blocked() -> None:
    """A blocked state or health is found, with the vendor's reason as evidence."""
    blocked = number(warmup_state="Paused", warmup_health="Blocked", warmup_reason="opt-outs")
    (finding,) = await found("warmup-blocked", blocked, number(warmup_state="Ready"), number())
    assert finding.evidence == "warm-up health Blocked: opt-outs"


async def test_assigned_to_missing() -> None:
    """Unknown users and agents are found, if the context lists the known ones."""
    gone = number(assignee="u9", inbound="user:u9", ring_users="u1 u8")
    there = number("+14155552672", assignee="u1")
    agent = number("+14155552673", backend="agents", assignee="a9", inbound="agent:a9")
    assert not await found("assigned-to-missing", gone, there, agent)
    user, bot = await found(
        "assigned-to-missing",
        gone,
        there,
        agent,
        context=AuditContext(users={"north": ["u1"]}, agents=["a1"]),
    )
    assert (user.evidence, bot.evidence) == (
        "agent a9 is not among the 1 agents",
        "user u9, u8 is not among the 1 users",
    )


async def test_billed_but_unused() -> None:
    """A billed number is found if it is inactive, unrouted, or available at the vendor."""
    unused = [
        number(billed=True, monthly_amount="2.50", status=NumberStatus.INACTIVE),
        number("+14155552672", billed=True, is_routed=False),
        number("+14155552673", billed=True, inventory_state="Available"),
    ]
    used = [number(billed=True, is_routed=True), number(billed=True), number(is_routed=False)]
    evidence = [one.evidence for one in await found("billed-but-unused", *unused, *used)]
    assert len(evidence) == 3
    assert "billed 2.50 a month, but it is inactive" in evidence


@pytest.mark.parametrize(
    "bad", ["14155552671", "+1 415 555 2671", "+0123456789", "", "voip.ms", "+1415५५५2671"]
)
async def test_not_e164(bad: str) -> None:
    """A number that is not `+` and at most 15 digits is found by this rule only."""
    assert len(await found("not-e164", number(bad), number())) == 1
    assert not await found("invalid-number", number(bad))


@pytest.mark.parametrize(
    ("code", "text"), [("short-code", "12345"), ("short-code", "741741"), ("alphanumeric-sender", "Acme 24")]
)
async def test_short_codes_and_senders_get_their_own_advice(code: str, text: str) -> None:
    """A short code or a sender is a notice, and no number in need of a country code."""
    short_code, sender = "short-code", "alphanumeric-sender"
    (finding,) = await found(code, number(text), number())
    assert finding.severity is Severity.NOTICE
    assert "country code" not in finding.advice
    assert not await found(sender if code == short_code else short_code, number(text))
    assert not await found("not-e164", number(text))


async def test_invalid_number() -> None:
    """E.164 numbers of no country or of no numbering plan are found."""
    bad = [number("+9991234567"), number("+14150000000")]
    first, second = await found("invalid-number", *bad, number("+442079460000"), number("+80012345678"))
    assert "+1" in first.evidence + second.evidence
    assert "calling code" in first.evidence + second.evidence


async def test_country_mismatch() -> None:
    """A number of another country is found. Shared plans and aliases are no mismatch."""
    wrong = number("+442079460000", country="US")
    fine = [
        number("+442079460000", country="GB"),
        number("+442079460000", country="uk"),
        number("+442079460000"),
        number("+18004377950", country="CA"),
        number("+80012345678", country="US"),
        number("+999", country="US"),
    ]
    (finding,) = await found("country-mismatch", wrong, *fine)
    assert finding.evidence == "listed under US, but it is a number of GB"
