"""The record of a number, of every backend."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import (
    AccountReport,
    AgentNumbers,
    Capabilities,
    Failure,
    LeadConnector,
    Leadping,
    NotFound,
    NumberKind,
    NumberStatus,
    Outcome,
    Page,
    PhoneSystem,
    SweepReport,
)
from phonesys.backends.agents.wire import AgentNumber
from phonesys.backends.leadconnector import record as columns
from phonesys.backends.leadconnector.wire import LeadConnectorNumber
from phonesys.backends.leadping.wire import decode_listing, decode_number
from phonesys.cli.rows import NumberRow
from phonesys.inventory.record import account_outcomes, batches, page_records, sweep_records
from phonesys.model import InboundService, NumberPool
from phonesys.record import NumberRecord, to_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.sandbox import Sandbox

DATA = Path(__file__).parent.parent / "data"


def leadconnector(**fields: Any) -> NumberRecord:
    return to_record(LeadConnectorNumber(number="+14155552671", account="loc_1", **fields), "north")


def test_the_columns_of_the_command_line_are_fields_of_the_record() -> None:
    """In its order."""
    columns = NumberRow.__struct_fields__
    assert tuple(name for name in NumberRecord.__struct_fields__ if name in columns) == columns


def test_a_leadconnector_number_has_a_route() -> None:
    """A service takes precedence over forwarding, and forwarding over users."""
    ivr = InboundService(type="ivr", value="9")
    assert leadconnector(inbound=ivr, forwarding_number="+1415").inbound == "ivr:9"
    assert leadconnector(forwarding_number="+1415").inbound == "forward:+1415"
    assert leadconnector(linked_ring_all_users=("u1", "u2"), linked_user="u3").inbound == "users:u1 u2"
    assert leadconnector(linked_user="u3").inbound == "user:u3"
    assert leadconnector().inbound is None
    assert leadconnector().is_routed is False


def test_a_pool_routes_its_numbers() -> None:
    """A number without a route of its own is routed if its pool is."""
    pool = NumberPool(id="p1", name="Ads", forwarding_number="+1415", is_active=False)
    record = leadconnector(pool=pool)
    assert (record.pool, record.pool_name, record.pool_active) == ("p1", "Ads", False)
    assert (record.inbound, record.pool_route, record.is_routed) == (None, "forward:+1415", True)


def test_a_full_leadping_number_has_billing_warm_up_and_registration() -> None:
    """Both generations of the API fill in the fields that audits use."""
    record = to_record(decode_number((DATA / "leadping" / "number-2025.json").read_bytes()), "leadping")
    assert record.ten_dlc_registered is True
    assert record.ten_dlc_status == "Approved"
    assert record.billed is not None
    assert record.warmup_state is not None
    newer = to_record(decode_number((DATA / "leadping" / "number-2026.json").read_bytes()), "leadping")
    assert newer.warmup_state is not None
    assert newer.billed is None


def test_a_leadping_row_has_fewer_fields() -> None:
    """Rows have the status of the campaign and a routing summary, but no billing."""
    first, second, *_ = (
        to_record(row, "lp") for row in decode_listing((DATA / "leadping" / "list.json").read_bytes()).rows
    )
    assert (first.ten_dlc_registered, first.ten_dlc_status) == (True, "Approved")
    assert second.ten_dlc_registered is False
    assert (first.routing_summary, first.is_routed, first.billed) == ("SMS and voice", True, None)


@pytest.mark.parametrize(
    ("amount", "written", "billed"),
    [
        ("2.50", "2.50", True),
        (2.5, "2.5", True),
        ("0.00", "0.00", False),
        ("1E+3", "1000", True),
        ("1.23456789", "1.234568", True),
        ("free", None, None),
        ("NaN", None, None),
        ("1e99", None, None),
        ("1e999999999", None, None),
        ("1e-999999999", "0.000000", True),
    ],
)
def test_amounts_are_exact_decimals_or_none(amount: Any, written: str | None, billed: bool | None) -> None:
    """A decimal keeps the vendor's digits. Any other value is dropped alone."""
    body = f'{{"number": "+14155552671", "billing": {{"monthlyAmount": {amount!r}}}}}'.replace("'", '"')
    record = to_record(decode_number(body.encode()), "leadping")
    assert (record.monthly_amount, record.billed or None) == (written, billed or None)


def test_an_agent_routes_its_number() -> None:
    """A number without an agent has no route."""
    assert to_record(AgentNumber(number="+1", agent_id="a1"), "agents").inbound == "agent:a1"
    assert to_record(AgentNumber(number="+1"), "agents").is_routed is False


WORDS = st.none() | st.sampled_from(["", "local", "toll-free", "active", "suspended", "x"])
TIMES = st.sampled_from(
    [None, "2024-03-01T10:00:00Z", "2024-03-01T10:00:00.5+05:30", "2024-03-01T10:00:00", "never", "\ud83d", 5]
)
SERVICES = st.none() | st.builds(InboundService, type=WORDS, value=WORDS)
POOLS = st.none() | st.builds(
    NumberPool, id=st.sampled_from("pq"), inbound=SERVICES, forwarding_number=WORDS, name=WORDS
)
SWITCH = st.none() | st.booleans()
NUMBERS = st.builds(
    LeadConnectorNumber, number=st.sampled_from(["+1", "+2"]), sid=WORDS, label=WORDS, type=WORDS,
    capability_flags=st.none() | st.builds(Capabilities, voice=SWITCH, fax=SWITCH), is_default=SWITCH,
    linked_user=WORDS,
    linked_ring_all_users=st.none() | st.sampled_from([(), ("u1",), ("u1", "u2")]), inbound=SERVICES,
    forwarding_number=WORDS, date_added=TIMES, date_updated=TIMES, date_created=TIMES, origin=WORDS,
    account=st.sampled_from("ab"), account_status=WORDS, pool=POOLS,
)  # fmt: skip


@given(st.lists(NUMBERS, max_size=4))
def test_the_records_of_a_page_are_those_of_its_numbers(numbers: list[LeadConnectorNumber]) -> None:
    """Records by column and one by one are equal, and agree with the number's properties."""
    records = page_records(Page(account="a", provider="north", numbers=tuple(numbers)))
    assert records == [to_record(number, "north") for number in numbers]
    for number, record in zip(numbers, records, strict=True):
        can = number.capabilities
        assert (record.voice, record.sms, record.mms, record.fax) == (can.voice, can.sms, can.mms, can.fax)
        same = (
            "provider",
            "account",
            "id",
            "label",
            "kind",
            "status",
            "assignee",
            "created_at",
            "updated_at",
        )
        assert [getattr(record, name) for name in same] == [getattr(number, name) for name in same]


def test_a_page_may_hold_numbers_of_several_kinds() -> None:
    """A backend that wraps others may mix numbers on a page."""
    both = (LeadConnectorNumber(number="+1", account="a"), AgentNumber(number="+2", account="a"))
    page: Page[Any] = Page(account="a", provider="both", numbers=both)
    assert page_records(page) == [to_record(number, "both") for number in both]


def test_unknown_words_use_bounded_memory() -> None:
    """The cache of the vendor's words has a limit."""
    numbers = tuple(LeadConnectorNumber(number="+1", type=f"type {i}") for i in range(1000))
    assert {record.kind for record in page_records(Page(account="a", numbers=numbers))} == {
        NumberKind.UNKNOWN
    }
    assert len(columns._KINDS) <= 256


class Theirs:
    """A number of another backend, with plain strings, a naive time and a field of its own."""

    provider, account, id, number, label, country = "acme", "a", "1", "+14155552671", None, "US"
    kind, status, assignee = "mobile", "suspended", None
    capabilities = Capabilities(voice=True)
    created_at = datetime(2024, 1, 1)  # noqa: DTZ001 -- what others may hand over
    updated_at = datetime(2024, 1, 1, tzinfo=UTC)
    is_default = True
    inbound = InboundService(type="ivr")  # not the text that a record has there
    monthly_amount = 4


def test_any_backends_numbers_have_records() -> None:
    """Attributes with the names and types of record fields are used. A naive time is dropped."""
    theirs: Any = Theirs()
    record = to_record(theirs, "acme-eu")
    assert (record.provider, record.backend) == ("acme", "acme-eu")
    assert (record.kind, record.status) == (NumberKind.MOBILE, NumberStatus.SUSPENDED)
    assert (record.is_default, record.inbound, record.monthly_amount, record.billed) == (
        True,
        None,
        "4",
        True,
    )
    assert (record.created_at, record.updated_at) == (None, Theirs.updated_at)


async def test_a_sweep_becomes_records(sandbox: Sandbox) -> None:
    """Every number has one record, with the name of its backend."""
    async with PhoneSystem(
        LeadConnector(token=sandbox.leadconnector_token, base_url=sandbox.leadconnector_url, name="north"),
        Leadping(api_key=sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(api_key=sandbox.agents_key, base_url=sandbox.agents_url),
    ) as phones:
        async with phones.sweep(north=sandbox.location_ids) as sweep:
            records = [record async for record in sweep_records(sweep)]
    assert len(records) == sweep.report.numbers
    assert {record.backend for record in records} == {"north", "leadping", "agents"}


async def test_outcomes_are_read_at_the_end() -> None:
    """Outcomes may be created before the sweep, and name backends whose accounts could not be listed."""
    report = SweepReport()
    outcomes = account_outcomes(report)
    report.record("a", "1", AccountReport(outcome=Outcome.DONE))
    report.record("a", "2", AccountReport(outcome=Outcome.FAILED, error=NotFound("gone", status=404)))
    report.failures.append(Failure("b", None, NotFound("no list", status=404)))
    assert [one async for one in outcomes] == [
        ("a", "1", "done", None, 0, None),
        ("a", "2", "failed", "404 gone", 0, None),
        ("b", "", "failed", "404 no list", 0, None),
    ]


async def test_batches_close_their_generator() -> None:
    """A reader that stops early leaves no open generator behind."""
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    reading = batches(numbers(), 10)
    assert await anext(reading) == list(range(10))
    await reading.aclose()
    assert closed == [True]


def test_importing_phonesys_loads_no_extra() -> None:
    """Optional dependencies are imported on use."""
    program = (
        "import sys, phonesys.inventory.record, phonesys.inventory.audit, phonesys.inventory.export\n"
        "import phonesys.inventory.report, phonesys.inventory.export.dlt\n"
        "print([m for m in ('phonenumbers', 'pyarrow', 'dlt', 'jinja2', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 -- the program is above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
