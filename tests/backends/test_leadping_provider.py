from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from phonesys import (
    BadRequest,
    InvalidArgument,
    Leadping,
    LeadpingNumber,
    ListOptions,
    NotFound,
    NumberStatus,
    OutcomeUnknown,
    PerAccount,
    PhoneSystem,
    UsageError,
)
from phonesys.backends.leadping import ExactMatch, OrderBy, Range
from phonesys.sandbox import Sandbox, drop_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import Cursor, LeadpingRow

FRESH = "+15005550006"


@pytest.fixture
async def vendor() -> AsyncIterator[Sandbox]:
    async with Sandbox(locations=0, leadping=230, agents=0, enforce_limits=False) as sandbox:
        yield sandbox


@asynccontextmanager
async def opened(vendor: Sandbox, **options: Any) -> AsyncIterator[Leadping]:
    async with Leadping(vendor.leadping_key, base_url=vendor.leadping_url, **options) as provider:
        yield provider


async def whole(provider: Leadping, account: str = "default") -> list[LeadpingRow]:
    cursor: Cursor | None = None
    rows: list[LeadpingRow] = []
    while True:
        page = await provider.page(account, cursor)
        rows.extend(page.numbers)
        if not page.next:
            return rows
        (cursor,) = page.next


@pytest.mark.parametrize("page_size", [100, 99, 1])
async def test_tokens_lead_through_all_pages(page_size: int) -> None:
    """One page names the next, until there is none; pages say whose they are and where they began."""
    async with Sandbox(locations=0, leadping=110, agents=0, enforce_limits=False) as vendor:
        async with opened(vendor, page_size=page_size, name="lp", account="acme") as lp:
            rows = await whole(lp, "acme")
            first = await lp.page("acme")
            second = await lp.page("acme", first.next[0])
        assert sorted(row.number for row in rows) == sorted(vendor.truth["leadping", "default"])
    assert {(row.account, row.provider) for row in rows} == {("acme", "leadping")}
    assert (first.provider, first.account, first.cursor) == ("lp", "acme", None)
    assert second.cursor == first.next[0]
    assert isinstance(second.cursor, str)


async def test_options_narrow_and_order_the_list(vendor: Sandbox) -> None:
    """Search, filters, ranges, order and count travel with every page."""
    options = ListOptions(
        filters=(ExactMatch("enabled", value=True),),
        range_filters=(Range(field="warmup.healthScore", greater_than_or_equal=20),),
        order_by=(OrderBy("warmup.healthScore", "desc"),),
        include_count=True,
    )
    async with opened(vendor, options=options, page_size=40) as lp:
        first = await lp.page("default")
        rows = await whole(lp)
    scores = [row.warmup.health_score for row in rows if row.warmup and row.warmup.health_score is not None]
    assert first.total == len(rows) == len(scores) > 40
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 20
    assert {row.enabled for row in rows} == {True}


async def test_one_key_is_one_account(vendor: Sandbox) -> None:
    """The account is `default` unless named; `PerAccount` opens several accounts with several keys."""
    async with opened(vendor) as lp:
        assert [account async for account in lp.accounts()] == ["default"]
    async with opened(vendor, account="acme") as lp:
        assert [account async for account in lp.accounts()] == ["acme"]
    auth = PerAccount({"acme": vendor.leadping_key, "other": "sk_wrong"})
    async with Leadping(auth=auth, base_url=vendor.leadping_url) as lp:
        assert [account async for account in lp.accounts()] == ["acme", "other"]
        assert (await lp.page("acme")).numbers
        assert (await lp.get(next(iter(vendor.state.leadping)), account="acme")).account == "acme"


async def test_search_asks_the_vendor(vendor: Sandbox) -> None:
    """The search is on the number field only, with any options; also through the facade."""
    wanted = min(vendor.truth["leadping", "default"])
    async with opened(vendor, options=ListOptions(search="nothing has this")) as lp:
        assert [row.number for row in (await lp.search("default", wanted)).numbers] == [wanted]
        assert [row.number for row in (await lp.search("default", wanted[2:])).numbers] == [wanted]
        with pytest.raises(InvalidArgument, match=r"E\.164 or digits"):
            await lp.search("default", "415-555-2671")
    async with PhoneSystem(Leadping(vendor.leadping_key, base_url=vendor.leadping_url)) as phones:
        assert [row.number for row in await phones.find(wanted)] == [wanted]


@pytest.mark.parametrize("schema", ["2025", "2026"])
async def test_the_life_of_a_number(schema: Any) -> None:
    """Created, read, changed, warmed up and deleted, in both generations of the vendor's schema."""
    async with Sandbox(
        locations=0, leadping=3, agents=0, enforce_limits=False, leadping_schema=schema
    ) as vendor:
        async with opened(vendor, account="acme") as lp:
            made = await lp.create(name="Line", number=FRESH, enabled=True)
            assert isinstance(made, LeadpingNumber)
            assert (made.number, made.label, made.enabled, made.account) == (FRESH, "Line", True, "acme")
            assert [(c.id, c.number) for c in vendor.created] == [(made.id, FRESH)]
            assert (await lp.get(made.id)).number == FRESH
            changed = await lp.update(made.id, name="Other line")
            assert (changed.label, changed.number, changed.account) == ("Other line", FRESH, "acme")
            assert changed.updated_at is not None
            by_number = await lp.status(FRESH, window_days=7)
            by_id = await lp.warmup(made.id, start_date=date(2026, 1, 1), end_date=date(2026, 1, 5))
            assert (by_number.number, by_id.number) == (FRESH, FRESH)
            assert by_number.opt_out_metrics is not None
            assert by_id.opt_out_metrics is not None
            assert by_number.opt_out_metrics["windowDays"] == 7
            assert by_id.opt_out_metrics["windowDays"] == 5
            await lp.delete(made.id)
            for ask in (lp.get(made.id), lp.delete(made.id), lp.update(made.id, name="Gone")):
                with pytest.raises(NotFound):
                    await ask
        assert FRESH not in vendor.truth["leadping", "default"]


async def test_all_fields_of_a_create_request_travel(vendor: Sandbox) -> None:
    """Both names of the organization, the switch and the id are sent."""
    async with opened(vendor) as lp:
        made = await lp.create(
            name="Line", number=FRESH, organization_id="org_9", enabled=False, number_id="my_id"
        )
        old = await lp.create(name="Line", number="+15005550007", business_id="biz_9")
    assert (made.id, made.enabled, made.status) == ("my_id", False, NumberStatus.INACTIVE)
    assert made.organization is not None
    assert old.organization is not None
    assert (made.organization.id, old.organization.id) == ("org_9", "biz_9")


async def test_an_update_keeps_what_is_not_given(vendor: Sandbox) -> None:
    """The vendor replaces the whole record: the rest is fetched first, and sent along."""
    async with opened(vendor) as lp:
        made = await lp.create(name="Line", number=FRESH, enabled=False)
        renamed = await lp.update(made.id, name="Renamed")
        assert (renamed.label, renamed.number, renamed.enabled) == ("Renamed", FRESH, False)
        switched = await lp.update(made.id, enabled=True)
        assert (switched.label, switched.number, switched.enabled) == ("Renamed", FRESH, True)
        assert vendor.served["leadping.get", 200] == 2
        everything: dict[str, Any] = {"name": "All", "number": FRESH, "organization_id": "org_1"}
        await lp.update(made.id, enabled=False, number_health_enabled=False, **everything)
        assert vendor.served["leadping.get", 200] == 2


async def test_what_is_fetched_before_an_update_is_what_is_sent() -> None:
    """Name, number and switch; a number without a name goes by its number; nothing else is made up."""
    sent: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PUT":
            sent.append(await request.json())
        return web.json_response({"id": "pn_1", "number": FRESH, "enabled": False, "name": ""})

    app = web.Application()
    app.router.add_route("*", "/phone-numbers/pn_1", answer)
    async with TestServer(app) as server:
        async with Leadping("sk_1", base_url=str(server.make_url("/"))) as lp:
            await lp.update("pn_1", business_id="biz_1")
    assert sent == [{"id": "pn_1", "name": FRESH, "number": FRESH, "enabled": False, "businessId": "biz_1"}]


async def test_refused_creation_changes_nothing(vendor: Sandbox) -> None:
    """A number that is held already is the vendor's 400, and proven not to be carried out."""
    taken = min(vendor.truth["leadping", "default"])
    async with opened(vendor) as lp:
        with pytest.raises(BadRequest, match="already holds") as caught:
            await lp.create(name="Line", number=taken)
    assert caught.value.not_executed
    assert not vendor.created


async def test_a_lost_answer_is_not_asked_for_again(vendor: Sandbox) -> None:
    """The number may be bought: the error says so, and how to find out; nothing is sent twice."""
    vendor.script("leadping.create", drop_after(), repeat=True)
    async with opened(vendor) as lp:
        with pytest.raises(OutcomeUnknown) as caught:
            await lp.create(name="Line", number=FRESH)
        assert caught.value.recovery_hint == f"find('{FRESH}')"
        assert [row.number for row in (await lp.search("default", FRESH)).numbers] == [FRESH]
    assert len(vendor.created) == 1


@pytest.mark.parametrize("cursor", [1, 0, "", b"token"])
async def test_cursors_are_its_own(vendor: Sandbox, cursor: Any) -> None:
    """Anything but a token is refused before any request; a forged one is the vendor's to refuse."""
    async with opened(vendor) as lp:
        with pytest.raises(InvalidArgument, match="continuation token"):
            await lp.page("default", cursor)
        assert not vendor.requests
        with pytest.raises(BadRequest):
            await lp.page("default", "forged")


async def test_what_no_vendor_could_take_is_refused_before_any_request(vendor: Sandbox) -> None:
    """Numbers that are not E.164, names that are too long and empty ids are refused."""
    async with opened(vendor) as lp:
        for attempt in (
            lp.create(name="Line", number="4155552671"),
            lp.create(name="x" * 256),
            lp.update("pn_1", name="x" * 256, number=FRESH, enabled=True),
            lp.status("pn_1"),
            lp.get(""),
            lp.delete(".."),
        ):
            with pytest.raises(InvalidArgument):
                await attempt
    assert not vendor.requests


def test_wrong_settings_are_refused() -> None:
    """The constructor raises: the vendor allows pages of 100, and there is one credential."""
    for size in (0, 101, "9", None):
        with pytest.raises(InvalidArgument, match="from 1 to 100"):
            Leadping("sk_1", page_size=size)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="either api_key= or auth="):
        Leadping()


async def test_bad_rows_reach_the_page() -> None:
    """Unreadable rows are kept beside the good ones, and the next page is known nevertheless."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer sk_1"
        assert request.headers["Content-Type"] == "application/json"
        assert msgspec.json.decode(await request.read()) == {"pageSize": 100}
        return web.json_response({"items": [{"number": FRESH}, {"name": "x"}], "continuationToken": "t"})

    app = web.Application()
    app.router.add_post("/phone-numbers/all/organization", answer)
    async with TestServer(app) as server:
        async with Leadping("sk_1", base_url=str(server.make_url("/"))) as lp:
            page = await lp.page("default")
    assert [row.number for row in page.numbers] == [FRESH]
    assert [rejected.raw for rejected in page.rejected] == [b'{"name": "x"}']
    assert page.next == ("t",)
