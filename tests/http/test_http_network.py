"""Other people's networks: proxies, authorities, user agents, large headers, sessions that are handed in."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

import aiohttp
import pytest

import phonesys
from phonesys import HttpOptions, InvalidArgument, NotFound, UsageError
from phonesys.http.transport.proxy import proxy_for
from phonesys.testing import MockTransport, json_response
from tests.http.raw_vendor import OK, TOKEN, RawVendor, Thing, answer, client, read, write
from tests.http.secure_vendor import Authority, SecureVendor

if TYPE_CHECKING:
    from pathlib import Path

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tests names no proxy."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Proxies


class Tunnel(RawVendor):
    """A proxy that connects every CONNECT to one address."""

    def __init__(self, port: int) -> None:
        super().__init__(OK)
        self._port = port

    async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
        head = (await source.readuntil(b"\r\n\r\n")).decode()
        self.requests.append((head, b""))
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self.writers.add(back)
        sink.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pipe(source, back), _pipe(there, sink))
        return False


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
    sink.close()


@pytest.mark.parametrize("configured", ["options", "environment"])
async def test_https_goes_through_a_tunnel(
    configured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees the host and its own password, and never the credential."""
    authority = Authority(tmp_path)
    context = authority.client()
    context.check_hostname = False
    async with SecureVendor(authority.server(), OK) as vendor, Tunnel(_port(vendor)) as tunnel:
        proxy = tunnel.url.replace("http://", "http://me:PASSWORD@")
        options: dict[str, Any] = {"ssl": context, "retries": 0}
        if configured == "options":
            options["proxy"] = proxy
        else:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with client("https://vendor.example", **options) as http:
            assert await http.send(read()) == Thing(1)
            assert http.fallback_reason == "they go through a proxy"
    (head, _), *_ = tunnel.requests
    assert head.startswith("CONNECT vendor.example:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in head
    assert TOKEN not in head
    assert "Proxy-Authorization" not in vendor.requests[0][0]
    assert f"Bearer {TOKEN}" in vendor.requests[0][0]


def _port(vendor: RawVendor) -> int:
    return int(vendor.url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://vendor.example", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://vendor.example", "http://p:1"),
        ({"https_proxy": "p:1"}, "https://vendor.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "https://127.0.0.1:9", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://localhost", None),
        ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, "https://vendor.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other,.example"}, "https://vendor.example", None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, "https://vendor.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "vendor"}, "https://vendor.example", "http://p:1"),
    ],
)
def test_the_environment_names_a_proxy(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For https, but not for loopback nor for hosts in NO_PROXY. The options win."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url, HttpOptions()) == proxy
    assert proxy_for(url, HttpOptions(trust_env=False)) is None
    assert proxy_for(url, HttpOptions(proxy="http://mine:2")) == "http://mine:2"


async def test_a_proxy_that_is_none_is_refused_at_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the variable, and not its password; the client can be opened afterwards."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:PASSWORD@p:1")
    http = client("https://vendor.example")
    with pytest.raises(InvalidArgument, match=r"HTTPS_PROXY: expected .*trust_env=False") as refused:
        await http.__aenter__()
    assert "PASSWORD" not in str(refused.value)
    monkeypatch.delenv("HTTPS_PROXY")
    async with http:
        pass


def test_options_do_not_show_the_password_of_a_proxy() -> None:
    """Neither in their text nor when they are refused."""
    options = HttpOptions(proxy="http://me:PASSWORD@p:1", retries=1)
    assert repr(options) == "HttpOptions(retries=1, proxy=***)"
    with pytest.raises(InvalidArgument, match=r"HttpOptions\.proxy: expected the URL") as refused:
        HttpOptions(proxy="me:PASSWORD@p:1")
    assert "PASSWORD" not in str(refused.value)


async def test_netrc_is_never_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A credential for the same host in `.netrc` goes nowhere."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password NETRC-PASSWORD\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawVendor(OK) as vendor, client(vendor, trust_env=True) as http:
        await http.send(read())
    assert f"Authorization: Bearer {TOKEN}\r\n" in vendor.requests[0][0]
    assert vendor.requests[0][0].count("uthorization") == 1


# Authorities


async def test_a_file_of_authorities_is_trusted(tmp_path: Path) -> None:
    """`ca_file` is all that a company's own authority needs."""
    authority = Authority(tmp_path)
    async with SecureVendor(authority.server(), OK) as vendor:
        async with client(vendor, ca_file=authority.certificate) as http:
            assert await http.send(read()) == Thing(1)


async def test_a_file_that_holds_none_is_refused_at_opening(tmp_path: Path) -> None:
    """The message names the file."""
    bad = tmp_path / "bad.pem"
    for text in (None, "not a certificate"):
        if text is not None:
            bad.write_text(text)
        with pytest.raises(InvalidArgument, match=r"HttpOptions\.ca_file: .*bad\.pem: "):
            await client("https://vendor.example", ca_file=bad).__aenter__()


# Headers


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("given", [None, "acme-inventory/2"])
async def test_the_user_agent_is_ours_or_yours(given: str | None) -> None:
    """It names the version, unless the program has a name of its own."""
    async with RawVendor(OK) as vendor, client(vendor, user_agent=given) as http:
        await http.send(read())
    assert f"User-Agent: {given or f'phonesys/{phonesys.__version__}'}\r\n" in vendor.requests[0][0]
    assert vendor.requests[0][0].count("User-Agent") == 1


@pytest.mark.parametrize("given", [None, "acme-inventory/2"])
async def test_a_session_may_have_a_user_agent_of_its_own(given: str | None) -> None:
    """It stays, unless the options name another."""
    async with RawVendor(OK) as vendor, aiohttp.ClientSession(headers={"user-agent": "theirs"}) as session:
        async with client(vendor, session=session, user_agent=given) as http:
            await http.send(read())
    assert f"user-agent: {given or 'theirs'}\r\n" in vendor.requests[0][0].replace("User-A", "user-a")


@pytest.mark.usefixtures("transport")
async def test_a_header_may_be_64_kib_long() -> None:
    """Some gateways send tokens and policies that large."""
    async with RawVendor(answer('{"a": 1}', X_Policy="x" * 60_000)) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)


# Sessions that are handed in


async def test_a_session_that_raises_for_status_is_read_all_the_same() -> None:
    """The error is ours, with the vendor's words."""
    vendor = RawVendor(answer('{"message": "gone"}', 404))
    async with vendor, aiohttp.ClientSession(raise_for_status=True) as session:
        async with client(vendor, session=session) as http:
            with pytest.raises(NotFound, match="404 gone"):
                await http.send(read())


async def test_a_session_with_auth_is_refused_at_opening() -> None:
    """Its header would replace the one that signs the call."""
    async with RawVendor(OK) as vendor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of later versions of aiohttp
            session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "x"))
        async with session:
            with pytest.raises(InvalidArgument, match="session: expected one without auth="):
                await client(vendor, session=session).__aenter__()
    assert vendor.requests == []


async def test_a_small_pool_is_waited_for() -> None:
    """Calls beyond it wait like those beyond `connections`, and none times out for it."""
    async with RawVendor(OK) as vendor:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
            async with client(vendor, session=session, timeout=5, retries=0) as http:
                assert await asyncio.gather(*(http.send(read()) for _ in range(100))) == [Thing(1)] * 100
                assert http._connections._free == 2


def test_a_pool_that_is_full_of_others_requests_is_no_unknown_outcome(jumping: Any) -> None:
    """Nothing was sent, so that even a write is tried again."""

    async def main() -> int:
        vendor = RawVendor(OK)
        async with vendor, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            held = await session.get(vendor.url)
            async with client(vendor, session=session, connect_timeout=5, retries=1, backoff=8) as http:
                task = asyncio.create_task(http.send(write()))
                asyncio.get_running_loop().call_later(7, held.close)
                assert await task == Thing(1)
            return len(vendor.requests)

    assert jumping(main()) == 2


async def test_a_session_of_another_loop_is_refused_at_opening() -> None:
    """Its connections would never answer."""

    def elsewhere() -> aiohttp.ClientSession:
        async def make() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        return asyncio.run(make())

    session = await asyncio.to_thread(elsewhere)
    with pytest.raises(UsageError, match="another event loop"):
        await client("https://vendor.example", session=session).__aenter__()
    await session.close()


# Recorders


class Recorder:
    """Sees what aiohttp's session is called with, as vcrpy does."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._request = aiohttp.ClientSession._request

    def __enter__(self) -> Self:
        async def recorded(session: Any, method: str, url: Any, **options: Any) -> Any:
            self.seen.append(
                (dict(options["headers"]), options["data"]),
            )
            return await self._request(session, method, url, **options)

        self._patch = patch.object(aiohttp.ClientSession, "_request", recorded)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


async def test_a_recorder_sees_plain_values() -> None:
    """It can write what it sees: headers and bodies of the built-in types."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        with Recorder() as recorder:
            await http.send(write(body=phonesys.secret.HiddenBytes(b'{"a": 1}')))
    ((headers, body),) = recorder.seen
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert {type(value) for value in headers.values()} == {str}
    assert (type(body), body) == (bytes, b'{"a": 1}')
    assert pickle.loads(pickle.dumps(recorder.seen)) == recorder.seen  # noqa: S301 -- our own


# Event loops


async def test_a_client_of_another_loop_is_a_usage_error() -> None:
    """Both opening it a second time and sending."""

    def elsewhere(http: Any, *, opening: bool) -> None:
        asyncio.run(http.__aenter__() if opening else http.send(read()))

    transport = MockTransport(lambda _call: json_response({"a": 1}))
    async with client("https://vendor.example", transport=transport) as http:
        for opening in (True, False):
            with pytest.raises(UsageError, match="open in another event loop"):
                await asyncio.to_thread(elsewhere, http, opening=opening)
        assert await http.send(read()) == Thing(1)


def test_no_event_loop_of_asyncio_is_a_usage_error() -> None:
    """As on trio: the message says what is expected."""
    with pytest.raises(UsageError, match="runs on asyncio"):
        client("https://vendor.example").__aenter__().send(None)
