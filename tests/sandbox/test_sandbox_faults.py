from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from phonesys.sandbox import (
    Exchange,
    Fault,
    Sandbox,
    body,
    delay,
    drop,
    drop_after,
    stall,
    status,
    truncate,
)
from phonesys.sandbox.faults import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

FRESH = {"name": "New", "number": "+15005550006"}


class Caller:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session
        self.here, self.there = sandbox.location_ids[:2]

    def numbers(self, location: str | None = None) -> aiohttp.client._RequestContextManager:
        url = f"{self.sandbox.leadconnector_url}/phone-system/numbers/location/{location or self.here}"
        headers = {"Authorization": f"Bearer {self.sandbox.leadconnector_token}", "Version": "v3"}
        return self.session.get(url, headers=headers)

    def create(self) -> aiohttp.client._RequestContextManager:
        headers = {"Authorization": f"Bearer {self.sandbox.leadping_key}"}
        return self.session.post(f"{self.sandbox.leadping_url}/phone-numbers", headers=headers, json=FRESH)

    async def status(self, location: str | None = None) -> int:
        async with self.numbers(location) as answer:
            await answer.read()
            return answer.status


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for happens in this very loop
        await asyncio.sleep(0)


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with Sandbox(locations=2, numbers=8) as sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


async def test_faults_are_used_up_in_order(call: Caller) -> None:
    """One per request, and then everything is as it was."""
    call.sandbox.script("leadconnector.numbers", status(500), status(429, headers={"Retry-After": "0"}))
    call.sandbox.script("leadconnector.numbers", status(503))
    assert [await call.status() for _ in range(5)] == [500, 429, 503, 200, 200]


async def test_faults_for_an_account_leave_others_alone(call: Caller) -> None:
    """They come before those for everybody, and wait for their account."""
    call.sandbox.script("leadconnector.numbers", status(500))
    call.sandbox.script("leadconnector.numbers", status(503), account=call.there)
    assert [await call.status(where) for where in (call.there, call.there, call.there)] == [503, 500, 200]
    call.sandbox.script("leadconnector.numbers", status(503), account=call.there)
    assert [await call.status(where) for where in (call.here, call.there)] == [200, 503]


async def test_repeated_faults_go_on_until_cleared(call: Caller) -> None:
    """A broken account stays broken."""
    call.sandbox.script("leadconnector.numbers", status(500), status(502), repeat=True)
    assert [await call.status() for _ in range(5)] == [500, 502, 500, 502, 500]
    call.sandbox.clear_script()
    assert await call.status() == 200


async def test_faults_meet_their_route_only(call: Caller) -> None:
    """A route that does not exist cannot be scripted, and others are not touched."""
    call.sandbox.script("leadconnector.pools", status(500))
    assert await call.status() == 200
    with pytest.raises(ValueError, match="no such route"):
        call.sandbox.script("leadconnector.nothing", status(500))


async def test_status_answers_as_told(call: Caller) -> None:
    """Bytes and text are sent as they are, all else as JSON; nothing has no content type."""
    page = status(502, "<html>", content_type="text/html", headers={"Server": "proxy"})
    call.sandbox.script("leadconnector.numbers", page, status(500, {"msg": "no"}), status(403))
    async with call.numbers() as answer:
        assert (answer.content_type, answer.headers["Server"], await answer.text()) == (
            "text/html", "proxy", "<html>",
        )  # fmt: skip
    async with call.numbers() as answer:
        assert (answer.content_type, await answer.json()) == ("application/json", {"msg": "no"})
    async with call.numbers() as answer:
        assert await answer.read() == b""


async def test_faults_that_do_not_proceed_are_not_charged(call: Caller) -> None:
    """A scripted 429 leaves the real window alone."""
    call.sandbox.script("leadconnector.numbers", status(429))
    await call.status()
    async with call.numbers() as answer:
        assert answer.headers["X-RateLimit-Remaining"] == "99"


async def test_body_replaces_the_body(call: Caller) -> None:
    """Whatever is to be decoded can be sent."""
    call.sandbox.script("leadconnector.numbers", body(b"null"), body("<p>", "text/html"))
    async with call.numbers() as answer:
        assert (answer.status, await answer.read()) == (200, b"null")
    async with call.numbers() as answer:
        assert (answer.content_type, await answer.read()) == ("text/html", b"<p>")


async def test_drop_carries_nothing_out(call: Caller) -> None:
    """The connection ends without an answer, and nothing was created."""
    call.sandbox.script("leadping.create", drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call.create()
    assert not call.sandbox.created
    assert call.sandbox.served["leadping.create", None] == 1


async def test_drop_after_carries_it_out(call: Caller) -> None:
    """The connection ends without an answer, but the number was created."""
    call.sandbox.script("leadping.create", drop_after())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call.create()
    assert [made.number for made in call.sandbox.created] == [FRESH["number"]]


async def test_truncate_breaks_its_promise(call: Caller) -> None:
    """Less arrives than Content-Length said."""
    call.sandbox.script("leadconnector.numbers", truncate())
    async with call.numbers() as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 100
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert await call.status() == 200


async def test_stall_sends_headers_and_no_end(call: Caller) -> None:
    """The client has a status, and waits for the body until it leaves; that is noted as no answer."""
    call.sandbox.script("leadconnector.numbers", stall())
    async with call.numbers() as answer:
        assert answer.status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer.read(), 0.05)
    await until(lambda: not call.sandbox.log.in_flight)
    assert call.sandbox.requests[-1].status is None


@pytest.mark.jumping
async def test_stalled_answers_do_not_hold_up_the_end() -> None:
    """Leaving the block ends them at once."""
    async with Sandbox(locations=2) as sandbox, aiohttp.ClientSession() as session:
        call = Caller(sandbox, session)
        sandbox.script("leadconnector.numbers", stall(), delay(3600))
        stalled = await call.numbers()
        late = asyncio.ensure_future(call.status())
        await until(lambda: sandbox.log.in_flight == 2)
        started = asyncio.get_running_loop().time()
        await sandbox.stop()
        assert asyncio.get_running_loop().time() - started < 1
        assert sandbox.log.in_flight == 0
        with pytest.raises(aiohttp.ClientError):
            await late
        stalled.close()


async def test_delay_carries_out_first(call: Caller) -> None:
    """A client that gives up waiting has created its number all the same."""
    call.sandbox.script("leadping.create", delay(3600))
    pending = asyncio.ensure_future(call.create().__aenter__())
    await until(lambda: bool(call.sandbox.created))
    pending.cancel()
    await asyncio.wait([pending])
    assert FRESH["number"] in call.sandbox.truth["leadping", "default"]


async def test_delay_answers_in_the_end(call: Caller) -> None:
    """Late is not never."""
    call.sandbox.script("leadconnector.numbers", delay(0.01))
    assert await call.status() == 200
    assert call.sandbox.requests[-1].duration >= 0.01


async def test_anybody_can_write_a_fault(call: Caller) -> None:
    """A coroutine function is enough; it may look at the request and change the real answer."""

    async def spoil(exchange: Exchange, /) -> web.StreamResponse:
        answer = await exchange.proceed()
        answer.headers["X-Seen"] = f"{exchange.route} {exchange.account}"
        return answer

    call.sandbox.script("leadconnector.numbers", spoil)
    async with call.numbers() as answer:
        assert answer.headers["X-Seen"] == f"leadconnector.numbers {call.here}"


def test_a_script_forgets_what_is_used_up() -> None:
    """Nothing is left behind once the last fault was taken."""
    script, fault = Script(), status(500)
    nothing: tuple[Fault, ...] = ()
    script.add("a", (fault,), None, repeat=False)
    script.add("a", nothing, None, repeat=False)
    assert script.next("a", "x") is fault
    assert script.next("a", "x") is None
    assert not script._queues
