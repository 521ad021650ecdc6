"""The options of each backend: which requests they change, and what is refused when a backend is made."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from phonesys import (
    AgentNumbers,
    DeadlineExceeded,
    HttpOptions,
    LeadConnector,
    Leadping,
    QuotaExhausted,
    RateLimit,
    UsageError,
)
from phonesys.testing import MockTransport, json_response
from tests.mocked import Mocked

if TYPE_CHECKING:
    from phonesys.http import Call

BACKENDS: dict[Any, tuple[str, str, Any]] = {
    LeadConnector: (
        "token",
        "https://services.leadconnectorhq.com/phone-system/numbers/location/a",
        {"numbers": []},
    ),
    Leadping: ("api_key", "https://api.leadping.ai/phone-numbers/all/organization", {"items": []}),
    AgentNumbers: ("api_key", "https://dashboard.omnia-voice.com/api/v1/numbers", {"data": []}),
}
each_backend = pytest.mark.parametrize("make", BACKENDS, ids=lambda make: make.__name__)
BRIEF = HttpOptions(deadline=5.0)


@each_backend
async def test_a_backend_talks_to_its_vendor(make: Any) -> None:
    """By default, at the address of the vendor's documents."""
    _, address, response = BACKENDS[make]
    sent: list[str] = []
    with Mocked() as mocked:
        for method in ("GET", "POST"):
            mocked.add(
                re.compile(re.escape(address)), method, payload=response,
                callback=lambda url, **_: sent.append(str(url.with_query(None))),
            )  # fmt: skip
        async with make("key") as provider:
            assert provider.name == {LeadConnector: "leadconnector", Leadping: "leadping"}.get(make, "agents")
            assert (await provider.page("a")).numbers == ()
    assert sent == [address]


@each_backend
def test_a_credential_is_given_once(make: Any) -> None:
    """As a string or as an Auth; the error names both."""
    what, *_ = BACKENDS[make]
    for options in ({}, {what: "key", "auth": make("key").http.auth}):
        with pytest.raises(UsageError) as caught:
            make(**options)
        assert str(caught.value) == f"expected either {what}= or auth=, and not both"


@each_backend
async def test_a_limit_is_kept(make: Any) -> None:
    """For each account."""
    *_, response = BACKENDS[make]
    transport = MockTransport(lambda _call: json_response(response))
    options: dict[str, Any] = {"transport": transport, "http": BRIEF, "limit": RateLimit(1, per=600)}
    async with make("key", **options) as provider:
        await provider.page("a")
        with pytest.raises(DeadlineExceeded, match="the rate window is full"):
            await provider.page("a")
        await provider.page("b")


async def test_agents_state_their_limit() -> None:
    """An empty window resets at a moment of Unix time."""
    headers = {
        "X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(time.time()) + 500),
    }  # fmt: skip
    transport = MockTransport(lambda _call: json_response({"data": []}, headers=headers))
    async with AgentNumbers("key", transport=transport, http=BRIEF) as provider:
        await provider.page("a")
        with pytest.raises(DeadlineExceeded):
            await provider.page("a")


async def test_leadconnector_states_its_limits() -> None:
    """Of a window, and of a day."""
    headers = {"X-RateLimit-Max": "1", "X-RateLimit-Remaining": "0"}
    transport = MockTransport(lambda _call: json_response({"numbers": []}, headers=headers))
    async with LeadConnector("key", transport=transport, http=BRIEF) as provider:
        await provider.page("a")
        with pytest.raises(DeadlineExceeded):
            await provider.page("a")
        headers = {"X-RateLimit-Daily-Remaining": "0", "X-RateLimit-Daily-Reset": "60000"}
        await provider.page("b")
        with pytest.raises(QuotaExhausted):
            await provider.page("b")


async def test_the_filters_of_agents_are_sent_with_every_listing() -> None:
    """By status and by agent."""
    queries: list[dict[str, str]] = []

    def respond(call: Call[Any]) -> Any:
        queries.append(dict(parse_qsl(urlsplit(call.target).query)))
        return json_response({"data": []})

    options: dict[str, Any] = {"transport": MockTransport(respond), "status": "ACTIVE", "agent_id": "a1"}
    async with AgentNumbers("key", **options) as provider:
        await provider.page("a")
        await provider.overlapping_page("a")
        await provider.has_row_at("a", 3, "n1")
    assert [query.get("agentId") or query.get("agent_id") for query in queries] == ["a1"] * 3
    assert [query["status"] for query in queries] == ["ACTIVE"] * 3
