"""Requests that the client hands to aiohttp's session, without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from phonesys import ConnectError, Forbidden, TransportError
from tests.http.raw_vendor import Thing, client, read, write
from tests.mocked import Mocked

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "https://vendor.example/api"


@pytest.fixture
def vendor() -> Iterator[Mocked]:
    """Every request of aiohttp ends here."""
    mocked = Mocked()
    with mocked:
        yield mocked


async def test_the_path_goes_below_the_base_url(vendor: Mocked) -> None:
    """A base URL with a path of its own keeps it, and redirects are not asked for."""
    vendor.get(f"{BASE}/things?on=true", payload={"a": 3})
    async with client(BASE) as http:
        assert await http.send(read(target="/things?on=true")) == Thing(3)
    ((request,),) = vendor.requests.values()
    assert request.kwargs["allow_redirects"] is False


async def test_a_bodys_bytes_are_passed_on_untouched(vendor: Mocked) -> None:
    """Aiohttp gets the bytes that the call holds."""
    vendor.post(f"{BASE}/things", payload={"a": 1}, status=201)
    async with client(BASE) as http:
        await http.send(write(body=b'{"x":1}'))
    (request,) = vendor.requests["POST", URL(f"{BASE}/things")]
    assert request.kwargs["data"] == b'{"x":1}'
    assert request.kwargs["headers"]["Content-Type"] == "application/json"


async def test_problem_details_are_read_whatever_they_are_called(vendor: Mocked) -> None:
    """RFC 9457 bodies come as problem+json, json or plain text."""
    for kind in ("application/problem+json", "application/json", "text/plain"):
        vendor.get(
            f"{BASE}/things",
            status=403,
            body='{"title": "Forbidden", "detail": "No access."}',
            content_type=kind,
        )
    async with client(BASE) as http:
        for _ in range(3):
            with pytest.raises(Forbidden, match="No access"):
                await http.send(read())


async def test_aiohttps_errors_become_ours(vendor: Mocked) -> None:
    """An exception of aiohttp becomes one of ours, with the original as its cause."""
    lost = aiohttp.ClientOSError(104, "Connection reset by peer")
    refused = aiohttp.ClientConnectorError(
        aiohttp.client_reqrep.ConnectionKey("vendor.example", 443, True, True, None, None, None),
        OSError(111, "Connection refused"),
    )
    vendor.get(f"{BASE}/things", exception=lost)
    vendor.get(f"{BASE}/things", exception=refused)
    async with client(BASE, retries=0) as http:
        with pytest.raises(TransportError, match="the connection was lost") as error:
            await http.send(read())
        assert error.value.__cause__ is lost
        with pytest.raises(ConnectError, match="could not connect"):
            await http.send(read())
