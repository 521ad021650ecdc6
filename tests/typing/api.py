"""The typed public API: type-checked, never run. What no longer checks here breaks somebody's program."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type

import msgspec

from phonesys import (
    Agent,
    AgentNumber,
    AgentNumbers,
    ApiKey,
    Auth,
    Bearer,
    Capabilities,
    ChangeRequest,
    ChangeResult,
    Cursor,
    HttpOptions,
    LeadConnector,
    LeadConnectorNumber,
    LeadConnectorPage,
    Leadping,
    LeadpingNumber,
    LeadpingRow,
    ListOptions,
    NumberKind,
    NumberPool,
    NumberProvider,
    NumberStatus,
    Outcome,
    OutcomeUnknown,
    Page,
    PerAccount,
    PhoneNumber,
    PhonesysError,
    PhoneSystem,
    Plan,
    RateLimit,
    Reconciled,
    Secret,
    Sweep,
    SweepReport,
    Write,
    WriteOutcome,
)
from phonesys.http import (
    Call,
    HttpClient,
    RateLimitHeaders,
    Transport,
    encode_json,
    encode_query,
    encode_segment,
    json_decoder,
)
from phonesys.provider import (
    AccountsWithNames,
    AssignsNumbers,
    CreatesNumbers,
    DeletesNumbers,
    GetsNumbers,
    HasPools,
    ListsAgents,
    ReconcilesWrites,
    SearchesNumbers,
    UpdatesNumbers,
    require,
)
from phonesys.testing import MockTransport, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping

    import aiohttp

    from phonesys.inventory import Inventory


def each_backend_is_a_provider(lc: LeadConnector, lp: Leadping, an: AgentNumbers) -> list[NumberProvider]:
    return [lc, lp, an]


def each_backend_has_its_abilities(lc: LeadConnector, lp: Leadping, an: AgentNumbers) -> None:
    _names: list[AccountsWithNames] = [lc]
    _search: list[SearchesNumbers] = [lc, lp]
    _get: list[GetsNumbers] = [lp, an]
    _create: list[CreatesNumbers] = [lp]
    _assign: list[AssignsNumbers] = [an]
    _update: list[UpdatesNumbers] = [lp, an]
    _delete: list[DeletesNumbers] = [lp, an]
    _reconcile: list[ReconcilesWrites] = [lp, an]
    _agents: list[ListsAgents] = [an]


def each_struct_is_a_phone_number(
    a: LeadConnectorNumber, b: LeadpingRow, c: LeadpingNumber, d: AgentNumber
) -> list[PhoneNumber]:
    return [a, b, c, d]


def every_credential_is_an_auth() -> list[Auth]:
    return [
        Bearer("pit-…"),
        ApiKey(Secret("…"), header="X-Key"),
        PerAccount({"loc_1": "pit-…", "b": Bearer("…")}),
    ]


def numbers_are_typed(number: PhoneNumber) -> None:
    assert_type(number.provider, str)
    assert_type(number.account, str)
    assert_type(number.id, str)
    assert_type(number.number, str)
    assert_type(number.label, str | None)
    assert_type(number.country, str | None)
    assert_type(number.kind, NumberKind)
    assert_type(number.capabilities, Capabilities)
    assert_type(number.capabilities.sms, bool | None)
    assert_type(number.status, NumberStatus)
    assert_type(number.assignee, str | None)
    assert_type(number.created_at, datetime | None)
    assert_type(number.updated_at, datetime | None)


def made_with_everything(session: aiohttp.ClientSession) -> list[NumberProvider]:
    http = HttpOptions(timeout=10.0, deadline=60.0, retries=2, max_body=2**20)
    return [
        LeadConnector(
            token="pit-…",
            base_url="https://services.leadconnectorhq.com",
            version="v3",
            page_size=500,
            include_pooled=False,
            with_pools=True,
            limit=RateLimit(100, per=10),
            name="agency",
            http=http,
            session=session,
        ),
        Leadping(
            api_key=Secret("sk_…"), options=ListOptions(search="+91"), limit=None, http=http, session=session
        ),
        AgentNumbers(auth=ApiKey("…"), page_size=50, status="ACTIVE", http=http, session=session),
    ]


async def leadconnector_is_typed(lc: LeadConnector) -> None:
    async with lc as opened:
        assert_type(opened, LeadConnector)
    page = await lc.page("loc_1")
    assert_type(page, LeadConnectorPage)
    assert_type(page.numbers, tuple[LeadConnectorNumber, ...])
    assert_type(page.next, tuple[Cursor, ...])
    assert_type(page.total, int | None)
    assert_type(page.account_status, str | None)
    assert_type(page.numbers[0].linked_user, str | None)
    assert_type(page.numbers[0].pool, NumberPool | None)
    assert_type(await lc.search("loc_1", "+14155552671"), LeadConnectorPage)
    assert_type(await lc.pools("loc_1"), tuple[NumberPool, ...])
    _general: Page[PhoneNumber] = page
    async for account in lc.accounts():
        assert_type(account, str)


async def leadping_is_typed(lp: Leadping) -> None:
    page = await lp.page("default")
    assert_type(page, Page[LeadpingRow])
    assert_type(page.numbers[0].is_demo, bool | None)
    assert_type(await lp.search("default", "+14155552671"), Page[LeadpingRow])
    made = await lp.create(name="Line", number="+14155552671", organization_id="org_1", enabled=True)
    assert_type(made, LeadpingNumber)
    assert_type(made.warmup_health_score, int | None)
    assert_type(made.inventory_state, str | None)
    assert_type(await lp.get("pn_1"), LeadpingNumber)
    assert_type(await lp.update("pn_1", name="Line"), LeadpingNumber)
    status = await lp.status("+14155552671", window_days=7)
    assert_type(status.messages_possible, int | None)
    await lp.delete("pn_1")


async def agent_numbers_are_typed(an: AgentNumbers) -> None:
    assert_type(await an.page("default"), Page[AgentNumber])
    made = await an.assign(phone_number="+14155552671", agent_id="agent_9", friendly_name="Desk")
    assert_type(made, AgentNumber)
    assert_type(made.agent_id, str | None)
    assert_type(await an.get("num_1"), AgentNumber)
    assert_type(await an.update("num_1", agent_id="agent_9"), AgentNumber)
    assert_type(await an.of_agent("agent_9"), tuple[AgentNumber, ...])
    assert_type(await an.agents(), tuple[Agent, ...])
    await an.delete("num_1")


async def lost_writes_are_typed(lp: Leadping, an: AgentNumbers, lost: OutcomeUnknown) -> None:
    found = await lost.reconcile(grace_period=30.0, clock_skew=5.0)
    assert_type(found, Reconciled[Any])
    assert_type(found.outcome, WriteOutcome)
    assert_type(found.reason, str)
    assert_type(lost.write, Write | None)
    assert_type(await lp.reconcile(lost), Reconciled[LeadpingNumber])
    facts = Write(kind="assign", account="default", number="+14155552671", wanted={"agent_id": "agent_9"})
    known = await an.reconcile(facts)
    assert_type(known.number, AgentNumber | None)
    assert_type(known.candidates, tuple[AgentNumber, ...])


async def a_program_reads_like_this(location_ids: list[str], number_id: str) -> None:
    async with PhoneSystem(
        LeadConnector(token="pit-…"), Leadping(api_key="sk_…"), AgentNumbers("…")
    ) as phones:
        assert_type(phones, PhoneSystem)
        async with phones.sweep(leadconnector=location_ids, concurrency=64) as sweep:
            assert_type(sweep, Sweep)
            async for page in sweep:
                assert_type(page, Page[PhoneNumber])
                for number in page.numbers:
                    assert_type(number, PhoneNumber)
        assert_type(sweep.report, SweepReport)
        assert_type(sweep.report.accounts["leadping", "default"].outcome, Outcome)
        assert_type(sweep.report.accounts["leadping", "default"].error, PhonesysError | None)
        assert_type(sweep.report.numbers, int)
        assert_type(sweep.report.elapsed, float)
        assert_type(await phones.find("+14155552671"), list[PhoneNumber])
        assert_type(await phones.numbers(leadping=["default"]), list[PhoneNumber])
        await phones["agents"].update(number_id, agent_id="agent_9")


def accounts_come_in_any_iterable(
    phones: PhoneSystem,
    some: Iterable[str],
    later: AsyncIterable[str],
    endless: AsyncIterator[str],
    mapping: Mapping[str, list[str]],
) -> list[Sweep]:
    return [
        phones.sweep(),
        phones.sweep(leadconnector=some, leadping=later, agents=endless),
        phones.sweep(leadconnector={"loc_1": "x"}.keys(), only=["leadconnector"]),
        phones.sweep(mapping, on_error="raise", keep_done=False, deadline=60.0),
    ]


async def abilities_have_a_type(provider: NumberProvider, phones: PhoneSystem) -> None:
    assert_type(await require(provider, HasPools).pools("loc_1"), tuple[NumberPool, ...])
    number = await require(provider, GetsNumbers).get("num_1")
    assert_type(number, PhoneNumber)
    assert_type(phones["agents"], Any)
    assert_type(phones.get(LeadConnector), LeadConnector)
    assert_type(phones.get(Leadping, "west"), Leadping)
    assert_type(PhoneSystem.from_config("phonesys.toml", only=["leadping"]), PhoneSystem)
    assert_type(PhoneSystem.from_env({}), PhoneSystem)
    async with phones.sweep() as sweep:
        async for number in sweep.numbers():
            assert_type(number, PhoneNumber)
            assert_type(number.to_dict(), dict[str, Any])


async def plans_and_results_are_typed(phones: PhoneSystem, inventory: Inventory) -> None:
    plan = await phones.plan([ChangeRequest(id="num_1", fields={"label": "Desk"})])
    assert_type(plan, Plan)
    assert_type(Plan.from_jsonl(plan.to_jsonl()), Plan)
    async with phones.apply(plan, journal=inventory, allow=["unroute"]) as run:
        async for result in run:
            assert_type(result, ChangeResult)
    assert_type(run.undo(), Plan)
    assert_type(await phones.plan([], snapshot=await inventory.snapshot()), Plan)


class Mine:
    """A backend of somebody else's, that inherits nothing."""

    name = "mine"

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[AgentNumber]:
        return Page(account=account, numbers=(AgentNumber(number="+14155552671"),), next=("more", 2))


def mine_is_a_provider() -> PhoneSystem:
    provider: NumberProvider = Mine()
    return PhoneSystem(provider, Mine())


class Line(msgspec.Struct):
    number: str


def a_backend_of_ones_own_describes_its_calls(number_id: str) -> Call[Line]:
    call = Call(
        operation="get_line",
        method="GET",
        target=f"/lines/{encode_segment(number_id, 'number_id')}{encode_query({'full': True})}",
        decode=json_decoder(Line),
        body=encode_json({"a": 1}),
    )
    assert_type(call, Call[Line])
    return call


async def and_sends_them(client: HttpClient, call: Call[Line], clearing: Call[None]) -> None:
    assert_type(await client.send(call), Line)
    assert_type(await client.send(clearing), None)


def a_transport_is_a_protocol_of_one_method() -> HttpClient:
    transport: Transport = MockTransport(lambda call: json_response({"number": call.target}))
    return HttpClient(
        "https://api.acme.example",
        backend="acme",
        auth=Bearer("token"),
        limit=RateLimit(100, per=10),
        limit_headers=RateLimitHeaders(limit="X-Limit", reset="X-Reset", reset_unit="unix_seconds"),
        transport=transport,
    )
