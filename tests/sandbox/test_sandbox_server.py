from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from phonesys.sandbox import Exchange, Sandbox, limits
from phonesys.sandbox.bounded import BoundedDict
from phonesys.sandbox.faults.exchange import begin
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from aiohttp import web


async def ask(sandbox: Sandbox, session: aiohttp.ClientSession, where: str = "") -> int:
    url = f"{sandbox.leadconnector_url}/phone-system/numbers/location/{where or sandbox.location_ids[0]}"
    headers = {"Authorization": f"Bearer {sandbox.leadconnector_token}", "Version": "2021-07-28"}
    async with session.get(url, headers=headers) as answer:
        return answer.status


@pytest.mark.jumping
async def test_nothing_is_left_running() -> None:
    """After the block there are no tasks but one's own, although a connection was kept alive."""
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as session:
        async with Sandbox(locations=1) as sandbox:
            await ask(sandbox, session)
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 1
        assert asyncio.all_tasks() == before
        with pytest.raises(aiohttp.ClientError):
            await ask(sandbox, session)


async def test_it_comes_back_on_the_same_port_with_its_data() -> None:
    """Stopping is an outage, not the end of the world."""
    sandbox = Sandbox(locations=1)
    async with aiohttp.ClientSession() as session:
        async with sandbox:
            url, new = sandbox.url, sandbox.state.add(sandbox.location_ids[0])
            await ask(sandbox, session)
        async with sandbox:
            assert sandbox.url == url
            assert await ask(sandbox, session) == 200
            assert new in sandbox.truth["leadconnector", sandbox.location_ids[0]]


@pytest.mark.parametrize("ends_by", ["an outage", "stopping"])
async def test_whoever_connects_as_it_closes_is_cut_off(ends_by: str) -> None:
    """A connection that was accepted a moment before is ended like any other, and not left open."""
    async with Sandbox(locations=0) as sandbox:
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as probe:
            if ends_by == "an outage":
                sandbox.refuse_connections(30)
            else:
                await sandbox.stop()
            probe.setblocking(False)
            try:
                async with asyncio.timeout(PATIENCE):
                    assert await asyncio.get_running_loop().sock_recv(probe, 1) == b""
            except ConnectionResetError:
                pass
        gc.collect()  # a socket that was left open warns now, and warnings are errors


async def test_a_client_that_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged where an answer cannot be written any more; the request has no status."""

    async def too_late(exchange: Exchange, /) -> web.StreamResponse:
        answer = await exchange.proceed()
        exchange.drop()
        exchange.dropped = False
        return await begin(exchange, answer, 10)

    async with Sandbox(locations=1) as sandbox, aiohttp.ClientSession() as session:
        sandbox.script("leadconnector.numbers", too_late, repeat=True)  # aiohttp tries again by itself
        with pytest.raises(aiohttp.ClientError):
            await ask(sandbox, session)
        assert {served.status for served in sandbox.requests} == {None}
    assert [record for record in caplog.records if record.name == "aiohttp.server"] == []


async def test_starting_twice_is_a_mistake_and_stopping_twice_is_not() -> None:
    """`stop` may be called by whoever feels responsible."""
    sandbox = Sandbox(locations=0)
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = sandbox.url
    await sandbox.start()
    with pytest.raises(RuntimeError, match="already running"):
        await sandbox.start()
    await sandbox.stop()
    await sandbox.stop()


async def test_a_port_in_use_is_told_and_can_be_tried_again() -> None:
    """A failed start leaves a sandbox that can be started."""
    async with Sandbox(locations=0) as first:
        second = Sandbox(locations=0, port=first._listener.port)
        with pytest.raises(OSError, match="in use"):
            await second.start()
    async with second:
        assert second.url == first.url


async def test_every_request_is_noted() -> None:
    """The log has method, raw path, route, account, status and time, and counts them."""
    async with Sandbox(locations=1, clock=lambda: 42.0) as sandbox, aiohttp.ClientSession() as session:
        await ask(sandbox, session)
        await ask(sandbox, session, "a%2Fb%20c")
        first, second = sandbox.requests
        assert (first.backend, first.route, first.account) == (
            "leadconnector", "leadconnector.numbers", sandbox.location_ids[0],
        )  # fmt: skip
        assert (first.method, first.status, first.started, first.duration) == ("GET", 200, 42.0, 0.0)
        assert second.path == "/leadconnector/phone-system/numbers/location/a%2Fb%20c"
        assert second.account == "a/b c"
        assert sandbox.served == {("leadconnector.numbers", 200): 1, ("leadconnector.numbers", 400): 1}
        assert (sandbox.log.in_flight, sandbox.log.peak) == (0, 1)


async def test_the_log_is_bounded_and_the_counts_are_not() -> None:
    """A long sweep does not fill the memory."""
    async with Sandbox(locations=1, log_size=3) as sandbox, aiohttp.ClientSession() as session:
        for _ in range(5):
            await ask(sandbox, session)
        assert len(sandbox.requests) == 3
        assert sandbox.served["leadconnector.numbers", 200] == 5


async def test_no_secret_is_noted() -> None:
    """What is kept about requests does not hold the credentials that they carried."""
    async with Sandbox(locations=1) as sandbox, aiohttp.ClientSession() as session:
        await ask(sandbox, session)
        assert sandbox.leadconnector_token not in repr(sandbox.requests)


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/leadconnector/oauth/../nothing", "statusCode"),
        ("POST", "/leadconnector/phone-system/number-pools", "statusCode"),
        ("GET", "/leadping/phone-numbers", "title"),
        ("GET", "/agents/api/v1/nothing", "error"),
        ("GET", "/nothing", "message"),
    ],
)
async def test_unknown_paths_are_answered_in_json(method: str, path: str, key: str) -> None:
    """Each vendor says 404 its own way, for a wrong method too, and it is noted."""
    async with (
        Sandbox(locations=0) as sandbox,
        aiohttp.ClientSession() as session,
        session.request(method, sandbox.url + path) as answer,
    ):
        assert answer.status == 404
        assert key in await answer.json()
        assert sandbox.served == {("unknown", 404): 1}


@pytest.mark.jumping
async def test_latency_is_added_to_every_answer() -> None:
    """All answers are late by as much, side by side and not one after another."""
    clock = asyncio.get_running_loop().time
    async with Sandbox(locations=1, latency=0.05, clock=clock) as sandbox, aiohttp.ClientSession() as session:
        started = clock()
        await asyncio.gather(*(ask(sandbox, session) for _ in range(20)))
        assert clock() - started == pytest.approx(0.05, abs=0.01)
        assert min(served.duration for served in sandbox.requests) == pytest.approx(0.05, abs=0.01)
        assert sandbox.log.peak == 20


async def test_limits_can_be_switched_off() -> None:
    """Nobody is refused, and what is left never becomes less."""
    async with (
        Sandbox(locations=1, leadconnector_limit=(1, 10.0), enforce_limits=False) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        assert [await ask(sandbox, session) for _ in range(3)] == [200] * 3


async def test_limits_follow_the_clock() -> None:
    """A window opens when the clock says so, without anybody waiting."""
    now = 0.0
    async with (
        Sandbox(locations=1, leadconnector_limit=(1, 10.0), clock=lambda: now) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        answers = [await ask(sandbox, session), await ask(sandbox, session)]
        now = 10.0
        assert [*answers, await ask(sandbox, session)] == [200, 429, 200]


async def test_credentials_look_like_the_vendors() -> None:
    """The prefixes are the documented ones, and the same seed issues the same credentials."""
    one, same, other = Sandbox(seed=1), Sandbox(seed=1), Sandbox(seed=2)
    assert one.leadconnector_token.startswith("pit-")
    assert one.leadping_key.startswith("sk_")
    assert one.agents_key == same.agents_key != other.agents_key
    sandbox = Sandbox()
    sandbox.revoke(sandbox.leadping_key)
    async with sandbox, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {sandbox.leadping_key}"}
        async with session.get(f"{sandbox.leadping_url}/phone-numbers/x", headers=headers) as answer:
            assert answer.status == 401


async def test_it_listens_on_ipv6_too() -> None:
    """A host with colons is written in brackets."""
    sandbox = Sandbox(locations=1, host="::1")
    try:
        await sandbox.start()
    except OSError:
        pytest.skip("no IPv6 here")
    async with aiohttp.ClientSession() as session:
        assert await ask(sandbox, session) == 200
    await sandbox.stop()


def test_the_package_does_not_load_the_server() -> None:
    """`import phonesys` costs nobody a web server."""
    code = "import sys, phonesys; assert not {'aiohttp.web', 'phonesys.sandbox'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own interpreter


async def test_a_client_that_is_slow_to_ask_is_left() -> None:
    """Half a head, and then silence, holds a connection no longer than it may; others are served."""
    async with Sandbox(locations=1, header_timeout=0.05) as sandbox, aiohttp.ClientSession() as session:
        url = URL(sandbox.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()
        async with session.get(sandbox.url) as answer:
            assert answer.status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_it_stops_and_pauses_under_uvloop() -> None:
    """Connections are refused in an outage and after the stop, and the same port is served again."""

    async def status(session: aiohttp.ClientSession, sandbox: Sandbox) -> int | None:
        try:
            async with session.get(sandbox.url) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None

    async def main() -> None:
        sandbox = Sandbox(locations=1)
        async with sandbox, aiohttp.ClientSession() as session:
            sandbox.refuse_connections(PATIENCE)
            while sandbox._listener._server is not None:  # noqa: ASYNC110 -- outages set no event
                await asyncio.sleep(0)
            assert await status(session, sandbox) is None
        async with sandbox, aiohttp.ClientSession() as session:
            assert await status(session, sandbox) == 200
        async with aiohttp.ClientSession() as session:
            assert await status(session, sandbox) is None

    import uvloop

    uvloop.run(main())


def test_what_is_remembered_is_bounded() -> None:
    """A dictionary of limited size drops the key that was used the longest ago."""
    counts: BoundedDict[str, int] = BoundedDict(2, int)
    for key in ("a", "b", "a", "c"):
        counts[key] += 1
    assert dict(counts) == {"a": 2, "c": 1}


def test_windows_of_very_many_accounts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of accounts that are idle the longest are dropped."""
    monkeypatch.setattr(limits, "_MAX_KEYS", 10)
    windows = limits.SlidingWindows((5, 10.0), clock=lambda: 0.0)
    for account in range(50):
        windows.try_acquire(str(account))
    assert (windows.used("49"), windows.used("0")) == ((1,), (0,))
    assert len(windows._times) <= 10
