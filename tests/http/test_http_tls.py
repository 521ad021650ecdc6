"""TLS with certificates of one's own: `HttpOptions(ssl=…)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from phonesys import ConnectError, HttpOptions, InvalidArgument, LeadConnector
from tests.http.raw_vendor import OK, Thing, client, read, write
from tests.http.secure_vendor import Authority, SecureVendor

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_custom_authority_is_trusted(authority: Authority) -> None:
    """Reads and writes go through, one after the other on one connection."""
    async with SecureVendor(authority.server(), OK) as vendor:
        async with client(vendor, ssl=authority.client()) as http:
            assert await http.send(read()) == Thing(1)
            assert await http.send(write()) == Thing(1)
            assert len(vendor.writers) == 1
    assert [body for _, body in vendor.requests] == [b"", b"{}"]


async def test_an_unknown_authority_is_not_trusted(authority: Authority) -> None:
    """Nothing was sent, and the error says why."""
    async with SecureVendor(authority.server(), OK) as vendor, client(vendor, retries=0) as http:
        with pytest.raises(ConnectError, match=r"(?i)certificate"):
            await http.send(write())
    assert vendor.requests == []


async def test_a_client_certificate_is_presented(authority: Authority) -> None:
    """A vendor that demands a certificate rejects clients without one."""
    mine = authority.client()
    mine.load_cert_chain(authority.issue("client"))
    async with SecureVendor(authority.server(ask=True), OK) as vendor:
        async with client(vendor, ssl=mine) as http:
            assert await http.send(read()) == Thing(1)
        requests = len(vendor.requests)
        async with client(vendor, ssl=authority.client(), retries=0) as http:
            with pytest.raises(Exception, match=r"could not connect|connection was lost"):
                await http.send(read())
    assert len(vendor.requests) == requests == 1


async def test_a_backend_takes_it(authority: Authority) -> None:
    """Where its options go."""
    page = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"numbers":[]}'
    async with SecureVendor(authority.server(), page) as vendor:
        http = HttpOptions(ssl=authority.client())
        async with LeadConnector("pit-x", base_url=vendor.url, http=http) as backend:
            assert (await backend.page("loc_1")).numbers == ()


async def test_a_session_has_settings_of_its_own(authority: Authority) -> None:
    """Two places that say how to do TLS would contradict each other."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(
            InvalidArgument, match=r"HttpOptions\.ssl: .* at the connector of the one handed in"
        ):
            client("https://127.0.0.1", session=session, ssl=authority.client())
