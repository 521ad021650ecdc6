"""Running an audit: its rules, its sources of records, and its cost."""

from __future__ import annotations

import sys
import tracemalloc
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import InvalidArgument, LeadConnector, PhoneSystem, UsageError
from phonesys._extras import MissingExtra
from phonesys.inventory.audit import (
    AuditContext,
    Problem,
    Rule,
    RuleFailed,
    Severity,
    all_rules,
    audit,
    findings,
    inventory_rule,
    make_rule,
    register,
    rule,
)
from phonesys.inventory.record import account_outcomes, sweep_records
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.sandbox import Sandbox

REGISTRY = sys.modules["phonesys.inventory.audit.registry"]


def number(n: int = 0, **fields: Any) -> NumberRecord:
    usual: dict[str, Any] = {"provider": "acme", "backend": "acme", "account": f"a{n % 50}", "id": str(n)}
    usual |= {"number": f"+1415{5550000 + n}", **fields}
    return NumberRecord(**usual)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTRY, "_registered", {})


@make_rule("no-label", Severity.NOTICE, advice="Name it.")
def no_label(record: NumberRecord, context: AuditContext) -> str | None:
    """The number has no name."""
    return None if record.label else "no label"


async def test_a_rule_can_be_passed_to_one_audit() -> None:
    """The rule is used for this audit only, and its docstring is its summary."""
    (finding,) = await findings([number(), number(1, label="x")], rules=[no_label])
    assert (finding.code, finding.severity, finding.advice) == ("no-label", "notice", "Name it.")
    assert no_label.summary == "The number has no name."
    assert "no-label" not in all_rules()


@pytest.mark.usefixtures("registry")
async def test_a_registered_rule_is_used_by_every_audit() -> None:
    """A rule between numbers sees all records, and yields its problems at the end."""
    rule("nameless", Severity.NOTICE, advice="Name it.")(lambda record, context: "none")

    @inventory_rule("too-many", Severity.NOTICE, advice="Release some.")
    class TooMany:
        """There are too many numbers."""

        def __init__(self, context: AuditContext) -> None:
            self.count = 0

        def add(self, record: NumberRecord, /) -> None:
            self.count += 1

        def problems(self) -> Iterator[Problem]:
            yield Problem(None, (), f"{self.count} numbers")

    codes = [finding.code async for finding in audit([number(), number(1)])]
    assert codes == ["nameless", "nameless", "too-many"]


@pytest.mark.usefixtures("registry")
def test_a_code_belongs_to_one_rule() -> None:
    """A second rule with the same code is refused, and so is a malformed code."""
    register(no_label)
    for taken in (
        msgspec.structs.replace(no_label, advice="x"),
        msgspec.structs.replace(no_label, code="not-e164"),
    ):
        with pytest.raises(UsageError, match="another rule"):
            register(taken)
    with pytest.raises(InvalidArgument, match="no-owner"):
        make_rule("No Label", Severity.NOTICE, advice="")(lambda record, context: None)


def test_installed_rules_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers a rule under `phonesys.audit` adds it to every audit."""
    groups = []

    def installed(group: str) -> list[EntryPoint]:
        groups.append(group)
        return [EntryPoint("acme", f"{__name__}:no_label", group)]

    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(REGISTRY, "entry_points", installed)
    monkeypatch.setattr(EntryPoint, "load", lambda self: no_label)
    assert all_rules()["no-label"] is no_label
    assert groups == ["phonesys.audit"]
    monkeypatch.setattr(EntryPoint, "load", lambda self: print)
    with pytest.raises(UsageError, match="no Rule"):
        all_rules()


async def test_rules_can_be_ignored() -> None:
    """`ignore` names rules by their codes. An unknown code is an error."""
    assert await findings([number(is_routed=False)], ignore=["no-inbound-route", "invalid-number"]) == []
    with pytest.raises(InvalidArgument, match="unknown rule 'nope'"):
        await findings([], ignore=["nope"])


async def test_a_rule_that_raises_is_named() -> None:
    """The error is RuleFailed, and its cause is the exception of the rule."""

    def broken(record: NumberRecord, context: AuditContext) -> str | None:
        raise KeyError(record.number)

    at_fault = Rule(code="broken", severity=Severity.NOTICE, summary="", advice="", check_number=broken)
    with pytest.raises(RuleFailed, match=r"'broken' failed at '\+14155550000'") as caught:
        await findings([number()], rules=[at_fault])
    assert isinstance(caught.value.__cause__, KeyError)


async def test_the_worst_comes_first() -> None:
    """`findings` sorts by severity. `audit` yields findings in the order of the records."""
    records = [number(0, number="+1 415"), number(1, is_routed=False)]
    ignore = ["invalid-number"]
    assert [one.code for one in await findings(records, ignore=ignore)] == ["no-inbound-route", "not-e164"]
    assert [one.code async for one in audit(records, ignore=ignore)] == ["not-e164", "no-inbound-route"]


async def test_without_phonenumbers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two rules need phonenumbers. Without them an audit runs without it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    numbers_of_none = [number(number="+14155559999")]
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[audit\]'"):
        await findings(numbers_of_none)
    assert await findings(numbers_of_none, ignore=["invalid-number", "country-mismatch"]) == []


async def test_a_running_sweep_can_be_audited(sandbox: Sandbox) -> None:
    """Records come from the running sweep, and outcomes are read at its end."""
    lc = LeadConnector(token=sandbox.leadconnector_token, base_url=sandbox.leadconnector_url, with_pools=True)
    async with PhoneSystem(lc) as phones, phones.sweep(leadconnector=sandbox.location_ids) as sweep:
        found = await findings(sweep_records(sweep), accounts=account_outcomes(sweep.report))
    assert sweep.report.complete
    assert {finding.accounts[0][0] for finding in found} == {"leadconnector"}


async def test_an_audit_needs_little_memory() -> None:
    """Rules between numbers cost some 100 bytes per number, and keep no record."""
    count = 20_000
    ignore = ["invalid-number", "country-mismatch"]
    tracemalloc.start()
    try:
        records = (number(n, label=f"label {n}", is_routed=n % 100 != 0) for n in range(count))
        found = sum([1 async for _ in audit(records, ignore=ignore)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == count // 100
    assert peak / count < 250
