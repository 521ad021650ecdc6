"""The facade, over a sandbox that speaks for all three vendors."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import (
    AgentNumbers,
    Forbidden,
    InvalidArgument,
    LeadConnector,
    LeadConnectorNumber,
    Leadping,
    NotFound,
    Outcome,
    Page,
    PerAccount,
    PhoneSystem,
    RateLimit,
    SweepIncomplete,
    Unauthorized,
    UnknownProvider,
    Unsupported,
    UsageError,
)
from phonesys.model import UnreadableRow
from phonesys.provider import CreatesNumbers, require
from phonesys.sandbox import Sandbox, status
from tests.conftest import PATIENCE
from tests.sweep.memory import Memory, simple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys import Sweep


def system(sandbox: Sandbox, **leadconnector: Any) -> PhoneSystem:
    return PhoneSystem(
        LeadConnector(
            sandbox.leadconnector_token,
            base_url=sandbox.leadconnector_url,
            locations=sandbox.location_ids,
            **leadconnector,
        ),
        Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url),
    )


async def found_by(sweep: Sweep) -> Mapping[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    async with sweep:
        async for page in sweep:
            for number in page.numbers:
                key = number.provider, number.account
                assert number.number not in found[key]
                found[key].add(number.number)
    return found


def held(sandbox: Sandbox) -> Mapping[tuple[str, str], set[str]]:
    return {
        key: set(numbers)
        for key, numbers in sandbox.truth.items()
        if numbers and key[1] not in sandbox.not_connected
    }


@pytest.mark.parametrize(
    "options", [{}, {"page_size": 3}, {"page_size": 1, "speculate": 2}, {"version": "v3"}]
)
async def test_a_sweep_finds_what_the_sandbox_holds(sandbox: Sandbox, options: dict[str, Any]) -> None:
    """Every number of every account of every backend, pooled ones included, once; whatever the paging."""
    async with system(sandbox, **options) as phones:
        sweep = phones.sweep()
        assert await found_by(sweep) == held(sandbox)
    assert sweep.report.complete
    assert sweep.report.outcomes[Outcome.NOT_CONNECTED] == 1
    assert set(sweep.report.accounts) == set(sandbox.truth)


async def test_accounts_can_be_named_and_backends_chosen(sandbox: Sandbox) -> None:
    """Keywords and mappings name accounts; what is not named is swept whole; `only` leaves others out."""
    one = sandbox.location_ids[1]
    async with system(sandbox) as phones:
        by_keyword = phones.sweep(leadconnector=[one])
        await found_by(by_keyword)
        by_mapping = phones.sweep({"leadconnector": iter([one])}, only=["leadconnector"])
        await found_by(by_mapping)
    assert set(by_keyword.report.accounts) == {
        ("leadconnector", one), ("leadping", "default"), ("agents", "default")
    }  # fmt: skip
    assert set(by_mapping.report.accounts) == {("leadconnector", one)}


async def test_the_numbers_of_small_jobs_come_at_once(sandbox: Sandbox) -> None:
    """`numbers` is a list of everything."""
    async with system(sandbox) as phones:
        numbers = await phones.numbers()
    assert {number.number for number in numbers} == set().union(*held(sandbox).values())


async def test_numbers_that_are_not_all_there_raise_and_are_kept(sandbox: Sandbox) -> None:
    """The error of an incomplete list holds what was found, and says what failed."""
    broken = sandbox.location_ids[1]
    sandbox.script("leadconnector.numbers", status(403, b'{"message": "no scope"}'), account=broken)
    async with system(sandbox) as phones:
        with pytest.raises(SweepIncomplete, match=r"1 accounts could not be read: .*no scope") as error:
            await phones.numbers()
    assert {number.account for number in error.value.numbers} >= {"default"}
    assert error.value.report.accounts["leadconnector", broken].outcome is Outcome.FAILED


async def test_find_asks_every_backend(sandbox: Sandbox) -> None:
    """A number is found wherever it is held, by the vendors' own search where there is one."""
    async with system(sandbox) as phones:
        agents = await phones["agents"].agents()
        wanted = min(sandbox.truth["leadping", "default"])
        await phones["agents"].assign(phone_number=wanted, agent_id=str(agents[0].id))
        everywhere = await phones.find(wanted)
        assert {number.provider for number in everywhere} == {"leadping", "agents"}
        assert {number.number for number in everywhere} == {wanted}
        assert await phones.find("+19995550000") == []
    pages = [served for served in sandbox.requests if served.route == "leadping.list"]
    assert len(pages) == 2  # one search each, not the whole list


@pytest.mark.parametrize("backend", ["leadconnector", "leadping", "agents"])
async def test_find_accepts_any_spelling(sandbox: Sandbox, backend: str) -> None:
    """With or without the country code, as people write it, by the vendor's search or without."""
    account, numbers = next(item for item in held(sandbox).items() if item[0][0] == backend and item[1])
    wanted = next(number for number in sorted(numbers) if number.startswith("+1"))
    spellings = (
        wanted[1:],
        f"00{wanted[1:]}",
        f"tel:{wanted}",
        f"({wanted[2:5]}) {wanted[5:8]}-{wanted[8:]}",
        f"+1 {wanted[2:5]}.{wanted[5:8]}.{wanted[8:]}",
    )
    async with system(sandbox) as phones:
        for spelling in spellings:
            found = await phones.find(spelling, {backend: [account[1]]}, only=[backend])
            assert [number.number for number in found] == [wanted]


@pytest.mark.parametrize("arguments", [("numbers",), ("find", "+19995550000")])
async def test_unreadable_rows_are_incomplete(arguments: tuple[str, ...]) -> None:
    """A row that could not be read may be the one that was looked for."""

    class Unreadable(Memory):
        def _page(self, account: str, cursor: Any) -> Page[Any]:
            page = super()._page(account, cursor)
            return msgspec.structs.replace(page, rejected=(UnreadableRow(raw=b"{}", reason="no number"),))

    method, *rest = arguments
    async with PhoneSystem(Unreadable(simple(5).pages)) as phones:
        with pytest.raises(SweepIncomplete) as error:
            await getattr(phones, method)(*rest)
    assert str(error.value).startswith("5 rows could not be read: 1 in memory acc_0; 1 in memory ")
    assert str(error.value).endswith("; and 2 more")
    assert error.value.report.rejected == 5
    assert len(error.value.numbers) == (5 if method == "numbers" else 0)


async def test_pools_are_shown_on_numbers(sandbox: Sandbox) -> None:
    """With pools asked for, a number knows the pool it sits in."""
    async with system(sandbox, with_pools=True, page_size=4) as phones:
        pooled: set[tuple[str, str]] = set()
        async with phones.sweep(only=["leadconnector"]) as sweep:
            async for page in sweep:
                pooled |= {
                    (number.number, number.pool.id)
                    for number in page.numbers
                    if isinstance(number, LeadConnectorNumber) and number.pool is not None
                }
        expected: set[tuple[str, str]] = set()
        for location in sandbox.location_ids:
            for pool in await phones["leadconnector"].pools(location):
                expected |= {(number, pool.id) for number in pool.numbers}
    assert pooled == expected
    assert pooled


async def test_a_backend_that_cannot_is_clear_before_any_request(sandbox: Sandbox) -> None:
    """Missing abilities are errors that say what there is instead."""
    async with system(sandbox) as phones:
        with pytest.raises(Unsupported, match="'leadconnector' cannot create numbers; it can list numbers"):
            await phones["leadconnector"].create(name="x")
        with pytest.raises(Unsupported, match="cannot create numbers"):
            require(phones["agents"], CreatesNumbers)
        assert require(phones["leadping"], CreatesNumbers) is phones["leadping"]
        assert not hasattr(phones["agents"], "pools")
    assert not sandbox.requests


async def test_mistakes_are_named_before_any_request(sandbox: Sandbox) -> None:
    """Unknown names, strings instead of lists, numbers that are none, two backends of one name."""
    async with system(sandbox) as phones:
        with pytest.raises(UnknownProvider, match="'twilio'; there are: agents, leadconnector, leadping"):
            phones.sweep(twilio=["a"])
        with pytest.raises(UnknownProvider):
            phones.sweep(only=["twilio"])
        with pytest.raises(UnknownProvider):
            phones["twilio"]
        with pytest.raises(InvalidArgument, match="account ids in an iterable"):
            phones.sweep(leadconnector="loc_1")
        with pytest.raises(InvalidArgument, match="expected a phone number, a short code or a sender"):
            await phones.find(" ")
    with pytest.raises(UsageError, match="not open"):
        phones.sweep()
    with pytest.raises(UsageError, match="name="):
        PhoneSystem(AgentNumbers("k"), AgentNumbers("k"))
    with pytest.raises(InvalidArgument, match="expected a backend"):
        PhoneSystem("leadping")  # type: ignore[arg-type]
    assert not sandbox.requests


async def test_two_agencies_are_two_backends(sandbox: Sandbox) -> None:
    """`name=` tells them apart in the system, and the kind of backend stays on the number."""
    first, second = sandbox.location_ids[1:3]
    agencies = [
        LeadConnector(
            sandbox.leadconnector_token, base_url=sandbox.leadconnector_url, name=name, locations=[location]
        )
        for name, location in (("north", first), ("south", second))
    ]
    async with PhoneSystem(*agencies) as phones:
        assert list(phones) == ["north", "south"]
        names, kinds = set(), set()
        async with phones.sweep() as sweep:
            async for page in sweep:
                names.add(page.provider)
                kinds |= {number.provider for number in page.numbers}
    assert names == {"north", "south"}
    assert kinds == {"leadconnector"}
    assert set(sweep.report.accounts) == {("north", first), ("south", second)}


async def test_a_token_for_each_location(sandbox: Sandbox) -> None:
    """Credentials of their own name the locations; one without is an error before it is sent."""
    first, second, third = sandbox.location_ids[1:4]
    tokens = PerAccount({first: sandbox.location_token(first), second: sandbox.location_token(first)})
    async with PhoneSystem(LeadConnector(auth=tokens, base_url=sandbox.leadconnector_url)) as phones:
        sweep = phones.sweep()
        await found_by(sweep)
        assert sweep.report.accounts["leadconnector", first].outcome is Outcome.DONE
        assert isinstance(sweep.report.accounts["leadconnector", second].error, Forbidden)
        other = phones.sweep(leadconnector=[third])
        await found_by(other)
        assert isinstance(other.report.accounts["leadconnector", third].error, InvalidArgument)


async def test_a_static_token_does_not_know_its_locations(sandbox: Sandbox) -> None:
    """Sweeping without naming any is a mistake that says what to do."""
    async with PhoneSystem(LeadConnector("pit-x", base_url=sandbox.leadconnector_url)) as phones:
        with pytest.raises(UsageError, match=r"sweep\(leadconnector=\[…\]\)"):
            await phones.numbers()


async def test_writes_are_seen_by_the_next_sweep(sandbox: Sandbox) -> None:
    """The next sweep finds what was created, assigned, updated and deleted."""
    async with system(sandbox) as phones:
        made = await phones["leadping"].create(name="Front desk", number="+14155550123")
        assert (made.number, made.label, made.provider, made.account) == (
            "+14155550123", "Front desk", "leadping", "default"
        )  # fmt: skip
        await phones["leadping"].update(made.id, enabled=False)
        assert (await phones["leadping"].get(made.id)).enabled is False
        first, second, *_ = await phones["agents"].agents()
        given = await phones["agents"].assign(phone_number="+14155550124", agent_id=str(first.id))
        moved = await phones["agents"].update(given.id, agent_id=str(second.id), friendly_name="Night")
        assert (moved.assignee, moved.label) == (str(second.id), "Night")
        assert given.id in {number.id for number in await phones["agents"].of_agent(str(second.id))}
        assert await found_by(phones.sweep()) == held(sandbox)
        await phones["leadping"].delete(made.id)
        await phones["agents"].delete(given.id)
        with pytest.raises(NotFound):
            await phones["leadping"].get(made.id)
        assert await found_by(phones.sweep()) == held(sandbox)
    assert len(sandbox.created) == 2


async def test_a_wrong_credential_fails_its_backend_only(sandbox: Sandbox) -> None:
    """The others are swept, and the report says which failed and why."""
    backends = (
        Leadping("sk_wrong", base_url=sandbox.leadping_url),
        AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url),
    )
    async with PhoneSystem(*backends) as phones:
        sweep = phones.sweep()
        found = await found_by(sweep)
    assert found[("agents", "default")] == held(sandbox)["agents", "default"]
    (failure,) = sweep.report.failures
    assert isinstance(failure.error, Unauthorized)
    assert failure.provider == "leadping"


async def test_a_sweep_keeps_inside_the_vendors_limits() -> None:
    """On a vendor that allows few requests per window, not one is refused."""
    async with Sandbox(
        locations=6, numbers=40, leadconnector_limit=(5, 0.2), leadping=0, agents=0
    ) as sandbox:
        backend = LeadConnector(
            sandbox.leadconnector_token,
            base_url=sandbox.leadconnector_url,
            locations=sandbox.location_ids,
            page_size=4,
            limit=RateLimit(5, per=0.2),
        )
        async with PhoneSystem(backend) as phones:
            sweep = phones.sweep()
            assert await found_by(sweep) == held(sandbox)
    assert sandbox.served["leadconnector.numbers", 429] == 0
    assert sweep.report.waits > 0
    assert sweep.report.retries == 0


async def test_a_system_opens_and_closes_what_it_is_made_of(sandbox: Sandbox) -> None:
    """Once at a time; backends stay usable by others that opened them; sweeps can run at the same time."""
    phones = system(sandbox)
    async with phones["agents"]:
        async with phones:
            with pytest.raises(UsageError, match="open already"):
                await phones.__aenter__()
            both = await asyncio.gather(phones.numbers(), phones.numbers())
            assert len(both[0]) == len(both[1]) > 0
        assert len((await phones["agents"].page("default")).numbers) == 100
    async with phones:
        assert await phones.numbers(leadconnector=[])


async def test_a_watch_tells_what_changes(sandbox: Sandbox) -> None:
    """`phones.watch` yields what comes and goes from one sweep to the next, and ends with its block."""
    async with system(sandbox) as phones, asyncio.timeout(PATIENCE):
        async with phones.watch(interval=0.01, only=["leadping"]) as changes:
            while not changes.rounds:  # noqa: ASYNC110 -- until it knows how things are
                await asyncio.sleep(0.01)
            made = await phones["leadping"].create(name="Front desk", number="+14155550123")
            change = await anext(changes)
    assert (change.kind, change.number) == ("added", made.number)
