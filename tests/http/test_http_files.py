"""Few open files: a client opens fewer connections, and no account fails for it."""

from __future__ import annotations

import asyncio
import errno
import sys
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConnectError
from phonesys.http.transport import files
from phonesys.testing import MockTransport, json_response
from tests.http.raw_vendor import RawVendor, Thing, answer, client, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http import Call, RawResponse

resource = pytest.importorskip("resource")

SWEEP = """
import asyncio, resource, sys
from phonesys import Leadping, LeadConnector, PhoneSystem
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
async def main():
    backends = [LeadConnector("pit-x", name=f"lc{number}", base_url=sys.argv[1]) for number in range(3)]
    async with PhoneSystem(*backends) as phones:
        accounts = {backend.name: [f"loc_{number}" for number in range(60)] for backend in backends}
        async with phones.sweep(accounts, concurrency=128) as sweep:
            async for _ in sweep:
                pass
    assert len(sweep.report.accounts) == 180, sweep.report
    assert sweep.report.complete, sweep.report.failures[:1]
asyncio.run(main())
"""


async def test_a_sweep_with_64_files_is_complete() -> None:
    """Three backends of one process, each of which would open 128 connections."""
    most = 0

    async def slow(sink: asyncio.StreamWriter) -> bool:
        nonlocal most
        most = max(most, len(vendor.writers))
        for _ in range(30):
            await asyncio.sleep(0)
        sink.write(answer('{"numbers": []}'))
        return True

    async with RawVendor(slow) as vendor:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", SWEEP, vendor.url)
        assert await process.wait() == 0
    assert 1 < most <= 64


@pytest.mark.parametrize("limit", [10, 64, 1000])
def test_the_limit_leaves_files_to_others(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is always one connection, and never all files are connections."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (limit, limit))
    monkeypatch.setattr(files, "_count_open", lambda: 10)
    assert files.available_files() == {10: 1, 64: 10, 1000: 322}[limit]


def test_a_process_without_a_limit_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, or with `ulimit -n unlimited`."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY, 0))
    assert files.available_files() == float("inf")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert files.available_files() == float("inf")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("call", [read, write])
async def test_connections_become_fewer_where_files_are_short(
    number: int, call: Callable[[], Call[Thing]]
) -> None:
    """Each failure costs a connection, and every call succeeds, whatever else holds the files."""
    in_flight = most = 0
    released = asyncio.Event()

    async def respond(_call: Any) -> RawResponse:
        nonlocal in_flight, most
        if in_flight >= 5:
            released.set()
            raise OSError(number, "Too many open files")
        in_flight += 1
        most = max(most, in_flight)
        await released.wait()
        in_flight -= 1
        return json_response({"a": 1})

    transport = MockTransport(respond)
    async with client("https://vendor.example", transport=transport, backoff=0, connections=20) as http:
        assert await asyncio.gather(*(http.send(call()) for _ in range(60))) == [Thing(1)] * 60
        assert http._max_connections == 5
    assert most == 5


async def test_the_last_connection_stays() -> None:
    """The error says what is short."""

    def respond(_call: Any) -> RawResponse:
        raise OSError(errno.EMFILE, "Too many open files")

    transport = MockTransport(respond)
    async with client("https://vendor.example", transport=transport, backoff=0, retries=5) as http:
        for _ in range(60):
            with pytest.raises(ConnectError, match=r"could not connect: .*Too many open files"):
                await http.send(read())
        assert http._max_connections == 1
        assert http._connections.try_acquire()
