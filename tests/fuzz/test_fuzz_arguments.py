"""Hostile arguments: refused before anything is sent, in a short line, and without the credential."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import (
    AgencyTokens,
    AgentNumbers,
    ApiKey,
    Bearer,
    InvalidArgument,
    LeadConnector,
    Leadping,
    MemoryTokenStore,
    PerAccount,
    PhonesysError,
    Secret,
    UsageError,
)
from phonesys._validation import is_e164, validate_e164
from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.location import OAuthToken
from phonesys.http.validation import validate_base_url
from phonesys.oauth import FileTokenStore
from tests.fuzz.drawn import always_the_same

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

NUMBER = "+14155552671"
PLANTED = "PLANTED0SECRET"
STORE = MemoryTokenStore()


class _Silent:
    def send(self, call: Any) -> Any:
        raise AssertionError(f"{call.target} was sent")


class _LeadConnector(_Silent, LeadConnector): ...


class _Leadping(_Silent, Leadping): ...


class _Agents(_Silent, AgentNumbers): ...


LC, LP, AG = _LeadConnector("x"), _Leadping("x"), _Agents("x")

IDS = (
    "",
    " ",
    "\t",
    ".",
    "..",
    "a\nb",
    "a\r\nHost: evil",
    "\0",
    "a\0b",
    "\x7f",
    "\x85",
    "\u2028",
    "\ud800",
    "\udfffa",
)
BY_ID: dict[str, Callable[[str], Awaitable[Any]]] = {
    "leadconnector page": LC.page,
    "leadconnector second page": lambda id_: LC.page(id_, 1),
    "leadconnector search": lambda id_: LC.search(id_, NUMBER),
    "leadconnector pools": LC.pools,
    "leadping get": LP.get,
    "leadping update": lambda id_: LP.update(id_, name="Line"),
    "leadping whole update": lambda id_: LP.update(
        id_, name="Line", number=NUMBER, enabled=True, organization_id="org_1"
    ),
    "leadping delete": LP.delete,
    "leadping warmup": LP.warmup,
    "agents get": AG.get,
    "agents update": lambda id_: AG.update(id_, status="ACTIVE"),
    "agents delete": AG.delete,
    "agents of agent": AG.of_agent,
    "agents assign": lambda id_: AG.assign(phone_number=NUMBER, agent_id=id_),
}
BY_NUMBER: dict[str, Callable[[str], Awaitable[Any]]] = {
    "leadconnector search": lambda number: LC.search("loc_1", number),
    "leadping search": lambda number: LP.search("org_1", number),
    "leadping status": LP.status,
    "leadping create": lambda number: LP.create(name="Line", number=number),
    "leadping update": lambda number: LP.update("pn_1", number=number),
    "agents assign": lambda number: AG.assign(phone_number=number, agent_id="agent_1"),
}


def refusal(attempt: Callable[[], Awaitable[Any]]) -> InvalidArgument:
    """Return the error of a call that sent nothing and waited for nothing."""

    async def run() -> None:
        await attempt()

    with pytest.raises(InvalidArgument) as caught:
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize("value", IDS, ids=ascii)
@pytest.mark.parametrize("operation", BY_ID)
def test_an_id_that_no_vendor_gives_is_refused(operation: str, value: str) -> None:
    """By every operation that takes one, in printable words."""
    assert str(refusal(lambda: BY_ID[operation](value))).isprintable()


@pytest.mark.parametrize(
    "value", ["", "x" * 10**6, "+" + "1" * 10**6, f"{NUMBER}\n", f"{NUMBER}\r\nX: y", f"{NUMBER}\0", "+1\ud800", "+١٤١٥٥٥٥٢٦٧١", "%2B14155552671"]  # noqa: E501
)  # fmt: skip
@pytest.mark.parametrize("operation", BY_NUMBER)
def test_a_number_that_is_none_is_refused(operation: str, value: str) -> None:
    """By every operation that takes one, in a short line whatever its length."""
    message = str(refusal(lambda: BY_NUMBER[operation](value)))
    assert message.isprintable()
    assert len(message) < 300


@always_the_same
@given(st.text() | st.text("+0123456789\n\r\0 "))
def test_numbers_are_e164_or_refused(text: str) -> None:
    """And what passes is what was given."""
    if is_e164(text):
        assert validate_e164(text) == text
        assert text.isascii()
        assert text[1:].isdigit()
    else:
        with pytest.raises(InvalidArgument):
            validate_e164(text)


# Credentials

BROKEN = (
    "{}\n",
    "{}\r\nX-Evil: 1",
    "\n{}",
    "{}\0",
    " {}",
    "{} ",
    "{}\x7f",
    "{}é",
    "{}\u2028",
    "{}\ud800",
    "{}\x1b[2J",
)


async def _exchange(**given: Any) -> None:
    await exchange_code("client", **{"client_secret": "s", "code": "c", "store": STORE, **given})


CREDENTIALS: dict[str, Callable[[str], Any]] = {
    "Secret": Secret,
    "Bearer": Bearer,
    "ApiKey": ApiKey,
    "LeadConnector": LeadConnector,
    "Leadping": Leadping,
    "AgentNumbers": AgentNumbers,
    "PerAccount": lambda value: PerAccount({"loc_1": value}),
    "AgencyTokens' secret": lambda value: AgencyTokens("client", value, company_id="co", store=STORE),
    "AgencyTokens' token": lambda value: AgencyTokens(
        "c", "s", company_id="co", store=STORE, refresh_token=value
    ),
    "OAuthToken's secret": lambda value: OAuthToken("client", value, location_id="loc", store=STORE),
    "exchange_code's secret": lambda value: asyncio.run(_exchange(client_secret=value)),
    "exchange_code's code": lambda value: asyncio.run(_exchange(code=value)),
    "FileTokenStore's key": lambda value: FileTokenStore("tokens.json", key=value),
}


@pytest.mark.parametrize("pattern", BROKEN, ids=ascii)
@pytest.mark.parametrize("where", CREDENTIALS)
def test_a_credential_that_no_header_can_carry_is_refused(where: str, pattern: str) -> None:
    """No part of the credential is in the message, nor in a traceback with all its variables."""
    with pytest.raises(UsageError) as caught:
        CREDENTIALS[where](pattern.format(PLANTED))
    assert str(caught.value).isprintable()
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    assert PLANTED not in repr(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//host", "ftp://host", "http://host", "https://", "https://[::1", "https://host:99999", "file:///etc",
        "https://user:PLANTED0SECRET@host", "https://host?key=PLANTED0SECRET", "https://host#PLANTED0SECRET",
        "https://" + "é" * 300, "http://127.0.0.1.evil.example", "http://localhost.evil.example", None, 7, b"https://h",
    ],
)  # fmt: skip
def test_a_base_url_that_would_leak_is_refused(url: Any) -> None:
    """Plain http but to loopback, credentials in it, and what is no URL."""
    with pytest.raises(InvalidArgument) as caught:
        validate_base_url(url)
    assert PLANTED not in str(caught.value)


async def test_a_hostile_account_is_a_failure_of_its_own(tmp_path: Path) -> None:
    """In a sweep over hostile ids, the good ones are read and each bad one is reported."""
    from phonesys import PhoneSystem
    from phonesys.sandbox import Sandbox

    async with Sandbox(locations=2, seed=1, leadping=0, agents=0, enforce_limits=False) as sandbox:
        lc = LeadConnector(sandbox.leadconnector_token, base_url=sandbox.leadconnector_url)
        async with (
            PhoneSystem(lc) as phones,
            phones.sweep(leadconnector=[*IDS, *sandbox.location_ids]) as sweep,
        ):
            found = [page.account async for page in sweep]
    assert set(found) == set(sandbox.location_ids)
    failed = {failure.account: failure.error for failure in sweep.report.failures}
    assert set(failed) == set(IDS)
    assert all(isinstance(error, PhonesysError) for error in failed.values())
