"""Each backend class describes itself, so that nothing else needs a list of backends."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from phonesys import (
    AgentNumbers,
    BackendInfo,
    InvalidArgument,
    LeadConnector,
    Leadping,
    MemoryTokenStore,
    PhoneSystem,
    Secret,
)
from phonesys.backends.leadconnector.oauth import AgencyTokens
from phonesys.backends.words import Vocabulary, fold, kind_of
from phonesys.http.auth import PerAccount
from phonesys.inventory.record import page_records
from phonesys.model import NumberKind, Page
from phonesys.record import to_columns
from phonesys.sandbox import Sandbox

BACKENDS = (LeadConnector, Leadping, AgentNumbers)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_can_be_configured_is_a_keyword_of_the_constructor(backend: type[Any]) -> None:
    """So are the credential and the keywords that every configurable backend has."""
    info: BackendInfo = backend.info
    keywords = inspect.signature(backend).parameters
    common = {"auth", "base_url", "limit", "http", "name"} | ({"account"} if info.one_account else set())
    assert {info.credential, *common, *(option.keyword for option in info.options)} <= set(keywords)
    assert set(info.discovery_options) <= {option.keyword for option in info.options}
    assert all(option.help.endswith(".") for option in info.options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_credential_becomes_an_auth(backend: type[Any]) -> None:
    """Several of them make a PerAccount."""
    auth = PerAccount({"a": backend.info.make_auth(Secret("k", what="a key"))})
    assert backend(auth=auth).http.auth.accounts() == ("a",)


def oauth(**options: Any) -> Any:
    assert LeadConnector.info.oauth is not None
    return LeadConnector.info.oauth.make_auth(
        client_id="app-1", client_secret=Secret("s", what="a secret"), store=MemoryTokenStore(), **options
    )


def test_an_agency_and_single_locations_are_configured_by_one_table() -> None:
    """Each kind of installation has its own option."""
    agency = oauth(company_id="c1", app_id="other")
    assert isinstance(agency, AgencyTokens)
    assert (agency.company_id, agency.app_id) == ("c1", "other")
    assert oauth(location_ids=("l1", "l2")).accounts() == ("l1", "l2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "^expected company_id"),
        ({"company_id": "c", "location_ids": ("l",)}, "^company_id: "),
        ({"location_ids": ("l",), "app_id": "a"}, "^app_id: "),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    """The message begins with the option that is too much."""
    with pytest.raises(InvalidArgument, match=message):
        oauth(**options)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_backend_over_the_sandbox_lists_what_it_holds(backend: type[Any]) -> None:
    """Its numbers make the same records by column and one by one."""
    async with Sandbox(locations=2, numbers=3, leadping=5, agents=4) as sandbox:
        async with backend.from_sandbox(sandbox) as made:
            accounts = [account async for account in made.accounts()]
            pages = [await made.page(account) for account in accounts]
    found = {number.number for page in pages for number in page.numbers}
    held = {n for (name, _), numbers in sandbox.truth.items() if name == made.name for n in numbers}
    assert found == held
    for page in pages:
        alone = [record for number in page.numbers for record in page_records(_page_of(page, number))]
        assert page_records(page) == alone
        assert all(len(column) == len(page.numbers) for column in to_columns(page.numbers).values())


def _page_of(page: Page[Any], number: Any) -> Page[Any]:
    return Page(account=page.account, provider=page.provider, numbers=(number,))


@pytest.mark.parametrize("word", ["toll-free", "tollFree", "toll_free", "Toll Free", "TOLLFREE"])
def test_words_are_compared_without_case_and_separators(word: str) -> None:
    """Vendors spell words differently from one response to the next."""
    assert fold(word) == "tollfree"
    assert kind_of(word) is NumberKind.TOLL_FREE


def test_an_unknown_word_means_what_was_said_for_those() -> None:
    """So does None."""
    colours = Vocabulary({"Light Blue": 1}, 0)
    assert [colours(word) for word in ("light-blue", "Light Blue", "blue", None)] == [1, 1, 0, 0]


async def test_every_number_names_its_backend() -> None:
    """Two backends of one kind are told apart by their numbers, from wherever those come."""
    async with Sandbox(locations=2, numbers=3, not_connected=0, leadping=5, agents=4) as sandbox:
        made: list[Any] = [
            backend.from_sandbox(sandbox, name=f"{backend.__name__}-{place}")
            for backend in BACKENDS
            for place in ("east", "west")
        ]
        async with PhoneSystem(*made) as phones:
            found = await phones.numbers()
            held = [number.backend for number in await phones.find(found[0].number)]
            for backend in made[2:]:
                number = next(number for number in found if number.backend == backend.name)
                assert (await backend.get(number.id)).backend == backend.name
    assert {number.backend for number in found} == {backend.name for backend in made}
    kind = found[0].backend.partition("-")[0]
    assert sorted(held) == [f"{kind}-east", f"{kind}-west"]
