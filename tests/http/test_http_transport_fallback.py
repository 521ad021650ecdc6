"""When requests go through aiohttp's session instead of the direct transport."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser

from phonesys.http.transport import connection, direct
from tests.http.raw_vendor import OK, RawVendor, Thing, client, read, write
from tests.mocked import Mocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]

BASE = "https://vendor.example/api"


async def test_a_mock_that_comes_later_is_noticed() -> None:
    """A test may replace aiohttp's session when the backend is open already, and take itself away again."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)
        with Mocked() as mocked:
            mocked.get(f"{vendor.url}/things", payload={"a": 2})
            assert await http.send(read()) == Thing(2)
        assert await http.send(read()) == Thing(1)
    assert len(vendor.requests) == 2


@pytest.mark.parametrize("name", ["request", "_request"])
async def test_a_wrapped_session_sees_each_request(name: str) -> None:
    """A wrapper that looks exactly like what it wraps, put there before or after a client opens."""
    seen: list[str] = []
    wrapped = getattr(aiohttp.ClientSession, name)

    @functools.wraps(wrapped)
    def wrapper(self: aiohttp.ClientSession, method: str, *args: Any, **options: Any) -> Any:
        seen.append(method)
        return wrapped(self, method, *args, **options)

    async with RawVendor(OK) as vendor, client(vendor) as before:
        with patch.object(aiohttp.ClientSession, name, wrapper):
            async with client(vendor) as after:
                await before.send(read())
                await after.send(write())
                assert before.fallback_reason is None
                assert after.fallback_reason == "aiohttp's session was replaced"
    assert seen == ["GET", "POST"]


@pytest.mark.parametrize("how", ["trace_configs", "middlewares"])
async def test_tracing_tools_see_our_session(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing tools give each session that is made a trace configuration or a middleware of theirs."""
    seen: list[str] = []

    async def started(_session: Any, _context: Any, started: aiohttp.TraceRequestStartParams) -> None:
        seen.append(started.method)

    async def middleware(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        seen.append(request.method)
        return await handler(request)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(started)
    theirs = {"trace_configs": [tracing], "middlewares": (middleware,)}[how]
    make = functools.partialmethod(aiohttp.ClientSession.__init__, **{how: theirs})
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", make)
    async with RawVendor(OK) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)
        assert http.fallback_reason == "aiohttp's session has traces or middlewares"
    assert seen == ["GET"]


async def test_a_replaced_session_class_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that replaces aiohttp's is used as it is."""
    with pytest.warns(DeprecationWarning, match="Inheritance"):

        class Own(aiohttp.ClientSession):
            pass

    monkeypatch.setattr(aiohttp, "ClientSession", Own)
    async with RawVendor(OK) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)
        assert http.fallback_reason is not None


async def test_a_session_that_is_handed_in_is_used() -> None:
    """It may be made in whatever way."""
    async with RawVendor(OK) as vendor, aiohttp.ClientSession() as session:
        async with client(vendor, session=session) as http:
            assert await http.send(read()) == Thing(1)
            assert http.fallback_reason == "the session was handed in"


class _OtherKeywords:
    """A parser that is made in another way."""

    def __init__(self, protocol: object, loop: object) -> None:
        """Take other arguments."""


class _OtherResults:
    """A parser that returns something else."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        """Take any arguments."""

    def feed_data(self, data: bytes) -> list[bytes]:
        """Return one list."""
        return [data]


class _Forgetful(HttpResponseParser):
    """A parser that reads one response only."""

    parsed = 0

    def feed_data(self, data: bytes, *_more: Any, **_others: Any) -> Any:
        """Return no second response."""
        self.parsed += 1
        return super().feed_data(data) if self.parsed <= 2 else ([], False, b"")


STRANGE: dict[str, tuple[Any, str, Any]] = {
    "keywords": (connection, "HttpResponseParser", _OtherKeywords),
    "results": (connection, "HttpResponseParser", _OtherResults),
    "one response": (connection, "HttpResponseParser", _Forgetful),
    "protocols": (BaseProtocol, "__init__", lambda _self: None),
    "bodies": (aiohttp.StreamReader, "is_eof", None),
    "connecting": (aiohttp.TCPConnector, "connect", lambda _self, _request: None),
    "requests": (aiohttp.ClientRequest, "__init__", lambda _self, *, url: None),
}


@pytest.mark.parametrize("what", STRANGE)
async def test_a_changed_aiohttp_is_used_through_its_session(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Undocumented parts of aiohttp may change. The log says which did, and nothing was sent to find out."""
    caplog.set_level(logging.DEBUG, "phonesys")
    with monkeypatch.context() as patched:
        owner, name, strange = STRANGE[what]
        patched.setattr(owner, name, strange)
        http = client(BASE)
        await http.__aenter__()
    try:
        assert http.fallback_reason is not None
        assert http.fallback_reason.startswith(f"aiohttp {aiohttp.__version__} has changed: ")
        assert f"requests to {BASE} go through aiohttp's session: {http.fallback_reason}" in caplog.messages
    finally:
        await http.__aexit__(None, None, None)


async def test_the_installed_aiohttp_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed version supports the direct transport. A new one that does not fails here first."""
    used: list[str] = []
    exchange = direct.DirectTransport.exchange

    async def noted(*args: Any) -> Any:
        used.append("direct")
        return await exchange(*args)

    monkeypatch.setattr(direct.DirectTransport, "exchange", noted)
    async with RawVendor(OK) as vendor, client(vendor) as http:
        assert http.fallback_reason is None
        await http.send(read())
    assert used == ["direct"]
    assert http.fallback_reason is None
