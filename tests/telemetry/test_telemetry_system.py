"""Events of a system: sweeps, tokens, and the log that tells them."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from phonesys import (
    BadRequest,
    HttpOptions,
    LeadConnector,
    Leadping,
    NotFound,
    Outcome,
    PhoneSystem,
    ServerError,
    SweepReport,
)
from phonesys.backends.agents import calls as agents_calls
from phonesys.backends.leadconnector import calls as leadconnector_calls
from phonesys.backends.leadconnector import purchase
from phonesys.backends.leadconnector.oauth import calls as oauth_calls
from phonesys.backends.leadping import calls as leadping_calls
from phonesys.sandbox import Sandbox
from phonesys.sandbox.faults import status
from phonesys.secret import Secret
from phonesys.telemetry import (
    AccountEnded,
    CallEvent,
    Event,
    LoggingObserver,
    PageRead,
    RequestStarted,
    RetryScheduled,
    TokenRenewed,
    TokenRequest,
    WaitStarted,
)
from tests.oauth.agencies import agency, backend, exchanges, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.http.call import Call

HASTY = HttpOptions(backoff=0.0, retries=1)


@pytest.fixture
async def vendors() -> AsyncIterator[Sandbox]:
    async with Sandbox(locations=6, not_connected=2, numbers=(1, 5), leadping=30, agents=0) as sandbox:
        yield sandbox


def leadconnector(sandbox: Sandbox, **options: Any) -> LeadConnector:
    url = sandbox.leadconnector_url
    options = {"base_url": url, "locations": sandbox.location_ids, "http": HASTY, **options}
    return LeadConnector(sandbox.leadconnector_token, **options)


async def sweep(phones: PhoneSystem) -> SweepReport:
    async with phones.sweep() as running:
        async for _ in running:
            pass
    return running.report


async def test_events_of_a_sweep_add_up_to_its_report(vendors: Sandbox) -> None:
    """Requests, retries, pages, numbers, and each account with its outcome."""
    vendors.script("leadconnector.numbers", status(503))
    vendors.script("leadping.list", status(503), repeat=True)
    events: list[Event] = []
    leadping = Leadping(vendors.leadping_key, base_url=vendors.leadping_url, http=HASTY)
    async with PhoneSystem(leadconnector(vendors), leadping, observers=[events.append]) as phones:
        report = await sweep(phones)
    assert Counter(type(event) for event in events if isinstance(event, RequestStarted | RetryScheduled)) == {
        RequestStarted: report.requests,
        RetryScheduled: report.retries,
    }
    pages = [event for event in events if isinstance(event, PageRead)]
    assert (len(pages), sum(page.numbers for page in pages)) == (report.pages, report.numbers)
    accounts = {
        (event.backend, event.account): event.outcome for event in events if isinstance(event, AccountEnded)
    }
    assert accounts == {key: account.outcome for key, account in report.accounts.items()}
    assert set(accounts.values()) == {Outcome.DONE, Outcome.NOT_CONNECTED, Outcome.FAILED}
    assert report.retries == 2


async def test_accounts_that_were_not_reached_have_an_outcome_too(vendors: Sandbox) -> None:
    """When the consumer leaves early."""
    events: list[Event] = []
    async with PhoneSystem(leadconnector(vendors), observers=[events.append]) as phones:
        async with phones.sweep(concurrency=1) as running:
            await anext(running)
    ended = Counter(event.outcome for event in events if isinstance(event, AccountEnded))
    assert ended == running.report.outcomes
    assert ended[Outcome.NOT_REACHED] > 0


async def test_a_system_observes_its_backends_only_while_it_is_open(vendors: Sandbox) -> None:
    """And an observer of both gets each event once."""
    of_backend: list[Event] = []
    of_both: list[Event] = []
    observers = [of_backend.append, of_both.append]
    provider = leadconnector(vendors, http=HttpOptions(observers=observers), with_pools=False)
    async with provider:
        async with PhoneSystem(provider, observers=[of_both.append]):
            with pytest.raises(BadRequest):
                await provider.page("nowhere")
        assert len(of_both) == len(of_backend) == 3
        with pytest.raises(BadRequest):
            await provider.page("nowhere")
    assert len(provider.observers) == 2
    assert len(of_both) == len(of_backend) == 6


async def test_tokens_are_renewed_in_sight() -> None:
    """A refresh of the company's token, and an exchange for each location, of which one fails."""
    async with Sandbox(locations=3, not_connected=0, numbers=(1, 1)) as sandbox:
        sandbox.script("leadconnector.location_token", status(400))
        events: list[Event] = []
        provider = backend(sandbox, agency(sandbox, await store_of(sandbox, expired=True)))
        async with PhoneSystem(provider, observers=[events.append]) as phones:
            await sweep(phones)
        renewals = [event for event in events if isinstance(event, TokenRenewed)]
        assert Counter(event.kind for event in renewals) == {
            TokenRequest.REFRESH: 1,
            TokenRequest.EXCHANGE: exchanges(sandbox) + 1,
        }
        assert sum(event.error is not None for event in renewals) == 1
        assert {event.account for event in renewals} == {sandbox.oauth.company_id, *sandbox.location_ids}
        assert any(isinstance(event, WaitStarted) and event.reason == "credential" for event in events)
        secrets = [sandbox.oauth.client_secret, "Bearer"]
        assert not any(secret in repr(event) for secret in secrets for event in events)


async def test_a_template_begins_with_the_path_of_the_base_url(vendors: Sandbox) -> None:
    """As the path of the URL does."""
    events: list[Event] = []
    leadping = Leadping(vendors.leadping_key, base_url=vendors.leadping_url)
    async with PhoneSystem(leadping, observers=[events.append]) as phones:
        await sweep(phones)
    started = next(event for event in events if isinstance(event, RequestStarted))
    assert started.url_template == URL(vendors.leadping_url).path + "/phone-numbers/all/organization"
    assert started.url_template == URL(started.url).path


@pytest.mark.parametrize(
    "call",
    [
        leadconnector_calls.active_numbers("loc/1", page=1),
        leadconnector_calls.number_pools("loc/1"),
        purchase.available_numbers("loc/1", limit=5),
        purchase.purchase_number("loc/1", phone_number="+14155552671"),
        oauth_calls.location_token("c", "loc/1", clock=float),
        oauth_calls.location_token("c", "loc/1", clock=float, version="v3"),
        oauth_calls.installed_locations("c", "app", 0, 10),
        oauth_calls.installed_locations_v3("c", "app", 10, None),
        oauth_calls.search_locations("c", 0, 10),
        oauth_calls.refresh_token(
            "app", Secret("s"), Secret("r"), user_type="Company", account="c", clock=float
        ),
        leadping_calls.list_numbers(),
        leadping_calls.create_number(name="x"),
        leadping_calls.get_number("n/1"),
        leadping_calls.update_number("n/1", name="x", number=None),
        leadping_calls.delete_number("n/1"),
        leadping_calls.search_purchasable(),
        leadping_calls.is_available_for_purchase("+14155552671"),
        leadping_calls.number_status("+14155552671", window_days=7),
        leadping_calls.number_warmup("n/1", window_days=7),
        agents_calls.list_numbers(),
        agents_calls.list_agents(),
        agents_calls.get_agent("a/1"),
        agents_calls.numbers_of_agent("a/1", page=1),
        agents_calls.get_number("n/1"),
        agents_calls.assign_number(phone_number="+14155552671", agent_id="a/1"),
        agents_calls.update_number("n/1", status="active"),
        agents_calls.delete_number("n/1"),
    ],
    ids=lambda call: call.operation,
)
def test_every_call_of_a_built_in_backend_has_a_template(call: Call[Any]) -> None:
    """It is the path, with names for the ids."""
    path = call.target.partition("?")[0]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", call.url_template), path)
    assert "%2" not in call.url_template


async def test_the_log_holds_a_sentence_and_the_fields(
    vendors: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Of retries at INFO, failed accounts at WARNING, and everything else at DEBUG."""
    vendors.script("leadconnector.numbers", status(503))
    vendors.script("leadping.list", status(403), repeat=True)
    leadping = Leadping(vendors.leadping_key, base_url=vendors.leadping_url, http=HASTY)
    caplog.set_level(logging.DEBUG, "numbers")
    log = LoggingObserver(logging.getLogger("numbers"))
    async with PhoneSystem(leadconnector(vendors), leadping, observers=[log]) as phones:
        report = await sweep(phones)
    records = [vars(record) for record in caplog.records if record.name == "numbers"]
    levels = {(record["event"], record["levelname"]) for record in records}
    assert levels == {
        ("RequestEnded", "DEBUG"), ("WaitEnded", "DEBUG"), ("RetryScheduled", "INFO"), ("PageRead", "DEBUG"),
        ("CallFailed", "DEBUG"), ("AccountEnded", "DEBUG"), ("AccountEnded", "WARNING"),
    }  # fmt: skip
    failed = next(record for record in records if record["levelname"] == "WARNING")
    assert failed["message"] == f"{report.failures[0].error}; failed, 0 numbers"
    assert (failed["backend"], failed["outcome"], failed["error_type"]) == ("leadping", "failed", "Forbidden")
    json.dumps([{key: record[key] for key in ("event", "backend", "account")} for record in records])


def test_an_event_that_is_not_known_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Such as one that a backend of a third party defines."""
    caplog.set_level(logging.DEBUG)
    LoggingObserver()(CallEvent(backend="acme", account="1", operation="paint"))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ServerError("down", status=503).with_call(backend="acme", operation="read", account="1"),
            "acme read 1: 503 down; retry 2 in 0.500 s",
        ),
        (NotFound("", status=404), "acme read 1: 404 without a message; retry 2 in 0.500 s"),
    ],
)
def test_a_line_names_the_call_once(error: ServerError, line: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where the error names it too."""
    caplog.set_level(logging.INFO)
    LoggingObserver()(
        RetryScheduled(backend="acme", account="1", operation="read", attempt=2, delay=0.5, error=error)
    )
    assert caplog.messages == [line]
