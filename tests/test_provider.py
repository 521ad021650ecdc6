from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    AgentNumber,
    AgentNumbers,
    ApiKey,
    Bearer,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NotOpen,
    NumberProvider,
    Page,
    PhoneSystem,
    UnknownProvider,
    Unsupported,
    UsageError,
)
from phonesys._entry_points import entry_points
from phonesys.provider import (
    AccountsWithNames,
    AssignsNumbers,
    ChangesNumbers,
    ChecksFields,
    CreatesNumbers,
    DeletesNumbers,
    GetsNumbers,
    HasPools,
    ListsAgents,
    ListsNumbersForSale,
    OffersNumbers,
    OverlapsPages,
    ReconcilesWrites,
    SearchesNumbers,
    UpdatesNumbers,
    VerifiesRows,
    abilities,
    installed,
    load,
    require,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import Cursor, PhoneNumber


class Minimal:
    """A third party's backend, with nothing but what is required."""

    name = "minimal"

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[PhoneNumber]:
        number = AgentNumber(number="+14155552671" if account == "a" else "+14155552672", account=account)
        return Page(account=account, numbers=(number,))


ABILITIES: list[type[Any]] = [
    AccountsWithNames,
    SearchesNumbers,
    OverlapsPages,
    VerifiesRows,
    GetsNumbers,
    CreatesNumbers,
    AssignsNumbers,
    UpdatesNumbers,
    DeletesNumbers,
    ReconcilesWrites,
    ChangesNumbers,
    ChecksFields,
    ListsNumbersForSale,
    OffersNumbers,
    HasPools,
    ListsAgents,
]
METHODS = {
    AccountsWithNames: ["accounts_with_names"],
    SearchesNumbers: ["search"],
    OverlapsPages: ["overlapping_page"],
    VerifiesRows: ["has_row_at"],
    GetsNumbers: ["get"],
    CreatesNumbers: ["create"],
    AssignsNumbers: ["assign"],
    UpdatesNumbers: ["update"],
    DeletesNumbers: ["delete"],
    ReconcilesWrites: ["reconcile"],
    ChangesNumbers: ["carry_out"],
    ChecksFields: ["check_field"],
    OffersNumbers: ["offer"],
    ListsNumbersForSale: ["for_sale"],
    HasPools: ["pools"],
    ListsAgents: ["agents", "of_agent"],
}
PLANS = {ReconcilesWrites, ChangesNumbers}
CHANGES = {UpdatesNumbers, DeletesNumbers, *PLANS}
LOCATIONS = {
    AccountsWithNames,
    SearchesNumbers,
    OverlapsPages,
    VerifiesRows,
    HasPools,
    OffersNumbers,
    ListsNumbersForSale,
}
BACKENDS: list[tuple[NumberProvider, set[type[Any]]]] = [
    (LeadConnector("pit-1"), {*LOCATIONS, *PLANS}),
    (
        Leadping("sk_1"),
        {SearchesNumbers, GetsNumbers, CreatesNumbers, OffersNumbers, ListsNumbersForSale, *CHANGES},
    ),
    (
        AgentNumbers("key_1"),
        {OverlapsPages, VerifiesRows, GetsNumbers, AssignsNumbers, ListsAgents, ChecksFields, *CHANGES},
    ),
    (Minimal(), set()),
]
OURS = BACKENDS[:3]


@pytest.mark.parametrize(("provider", "can"), BACKENDS, ids=lambda value: getattr(value, "name", ""))
def test_abilities_are_what_the_protocols_say(provider: NumberProvider, can: set[type[Any]]) -> None:
    """At run time each backend is a NumberProvider, and has exactly the abilities that it has."""
    assert isinstance(provider, NumberProvider)
    assert {ability for ability in ABILITIES if isinstance(provider, ability)} == can
    assert len(abilities(provider)) == len(can)
    for ability in can:
        assert require(provider, ability) is provider


@pytest.mark.parametrize(("provider", "can"), BACKENDS, ids=lambda value: getattr(value, "name", ""))
def test_requiring_what_it_cannot_do_says_what_it_can(provider: NumberProvider, can: set[type[Any]]) -> None:
    """Before any request: nothing is even open here."""
    for ability in set(ABILITIES) - can:
        with pytest.raises(Unsupported) as caught:
            require(provider, ability)
        text = str(caught.value)
        assert text.startswith(f"backend '{provider.name}' cannot ")
        assert all(verb in text for verb in ("list numbers", *abilities(provider)))


@pytest.mark.parametrize(("provider", "can"), OURS, ids=lambda value: getattr(value, "name", ""))
def test_missing_methods_are_clearly_missing(provider: NumberProvider, can: set[type[Any]]) -> None:
    """`hasattr` says no, and using one says what the backend can do instead."""
    for ability in set(ABILITIES) - can:
        for method in METHODS[ability]:
            assert not hasattr(provider, method)
            with pytest.raises(Unsupported, match="it can list numbers") as caught:
                getattr(provider, method)
            assert all(verb in str(caught.value) for verb in abilities(provider))


def test_a_typing_error_is_an_ordinary_attribute_error() -> None:
    """Only abilities have the long message."""
    with pytest.raises(AttributeError, match="'LeadConnector' object has no attribute 'pagge'") as caught:
        _ = LeadConnector("pit-1").pagge
    assert not isinstance(caught.value, Unsupported)


def test_an_ability_of_ones_own_can_be_required() -> None:
    """Any runtime protocol will do."""
    from typing import Protocol, runtime_checkable

    @runtime_checkable
    class Sings(Protocol):
        def sing(self) -> None: ...

    with pytest.raises(Unsupported, match="cannot Sings"):
        require(Minimal(), Sings)


@pytest.mark.parametrize("missing", ["name", "accounts", "page"])
def test_less_than_three_names_is_no_backend(missing: str) -> None:
    """And the facade says so."""
    parts = {name: getattr(Minimal, name) for name in ("name", "accounts", "page") if name != missing}
    backend = type("Less", (), parts)()
    assert not isinstance(backend, NumberProvider)
    with pytest.raises(InvalidArgument, match=r"name, accounts\(\) and page\(\)"):
        PhoneSystem(backend)


async def test_a_third_partys_backend_is_swept_like_ours() -> None:
    """Three names are enough, also to find a number."""
    async with PhoneSystem(Minimal()) as phones:
        numbers = await phones.numbers()
        found = await phones.find("+14155552672")
    assert sorted((n.account, n.number) for n in numbers) == [("a", "+14155552671"), ("b", "+14155552672")]
    assert [n.account for n in found] == ["b"]


def test_ours_are_installed() -> None:
    """Under the names that they bear, and loaded only when asked for."""
    found = installed()
    assert found.keys() >= {"leadconnector", "leadping", "agents"}
    assert load("leadconnector") is LeadConnector
    assert load("leadping") is Leadping
    assert load("agents") is AgentNumbers


def test_the_environment_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search opens a file of every distribution, and a configuration of three backends asks many times."""
    searches: list[str] = []
    search = metadata.entry_points

    def counted(*, group: str) -> metadata.EntryPoints:
        searches.append(group)
        return search(group=group)

    monkeypatch.setattr(metadata, "entry_points", counted)
    entry_points.cache_clear()
    assert installed().keys() == installed().keys()
    assert load("agents") is AgentNumbers
    assert searches == ["phonesys.providers"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    """As the facade does for the backends that it holds."""
    with pytest.raises(
        UnknownProvider,
        match=r"no backend named 'carrier-pigeon' is installed; there are: .*agents.*leadping",
    ):
        load("carrier-pigeon")
    with pytest.raises(UnknownProvider, match="there are: minimal"):
        PhoneSystem(Minimal())["carrier-pigeon"]


@pytest.mark.parametrize("backend", [LeadConnector, Leadping, AgentNumbers])
def test_exactly_one_credential_is_wanted(backend: Any) -> None:
    """Neither none nor two of them."""
    for wrong in ({}, {"auth": Bearer("x"), ("token" if backend is LeadConnector else "api_key"): "y"}):
        with pytest.raises(UsageError, match="and not both"):
            backend(**wrong)
    assert isinstance(backend(auth=ApiKey("x")), NumberProvider)


@pytest.mark.parametrize("backend", [LeadConnector, Leadping, AgentNumbers])
def test_no_backend_shows_its_credential(backend: Any) -> None:
    """Neither itself nor what it is made of."""
    made = backend("PLANTED_SECRET", name="mine")
    assert repr(made) == f"<{backend.__name__} 'mine'>"
    assert "PLANTED_SECRET" not in repr(vars(made)) + repr(vars(made.http)) + repr(vars(made.http.auth))


@pytest.mark.parametrize(("provider", "can"), OURS, ids=lambda value: getattr(value, "name", ""))
async def test_a_backend_is_used_inside_of_its_block(provider: Any, can: set[type[Any]]) -> None:
    """Before and after, it says so."""
    with pytest.raises(NotOpen, match="use `async with`"):
        await provider.page("loc_1")
    async with provider:
        pass
    with pytest.raises(NotOpen):
        await provider.page("loc_1")


@pytest.mark.parametrize("name", ["", "a\nb", "\0"])
def test_names_can_be_printed(name: str) -> None:
    """They stand in errors and tables."""
    with pytest.raises(InvalidArgument, match="name"):
        Leadping("sk_1", name=name)
