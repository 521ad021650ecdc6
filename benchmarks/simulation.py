"""Days of a thousand agencies on a clock that jumps: how long sweeps take, and how much they ask for.

The client is phonesys itself: sweep, retries, rate windows, tokens, exchanges. Only the network is replaced,
by a vendor that answers after a while, counts every request against its windows as the real one does, and
gives tokens their real lives. The clock jumps whenever nothing is to be done, so that a day costs only the
processor time of its requests. Workers have agencies of their own, so that one is simulated for all of them.

    python -m benchmarks.simulation                                    # 1 000 agencies of 1 000, 8 workers
    python -m benchmarks.simulation --agencies 100 --workers 1 --locations 10000
    python -m benchmarks.simulation --concurrency 256 --latency 0.3

A sweep is limited by the windows, by latency and concurrency, or by the processor. The clock shows the first
two; the last is the processor time that was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import time
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any

import msgspec
from multidict import CIMultiDict

from benchmarks.data import location_page
from benchmarks.job import peak_kib
from phonesys import LeadConnector, PhoneSystem
from phonesys.backends.leadconnector.oauth import AgencyTokens
from phonesys.distributed.partition import Partition
from phonesys.http.response import RawResponse
from phonesys.oauth import MemoryTokenStore, Token
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.call import Call

_HEADERS: Mapping[str, str] = CIMultiDict({"Content-Type": "application/json"})
_WINDOW, _PER = 100, 10.0
"""The vendor's limit for a company, and for a location: its page on OAuth, "Rate limits"."""
_TOKEN_LIFE = 86_399
_PAGE_SIZE = 100
_HOUR, _DAY = 3600.0, 86_400.0
_REFUSED = RawResponse(429, CIMultiDict({"Retry-After": "1"}), b"{}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The world that is simulated."""

    agencies: int = 1000
    locations: int = 1000
    """Of each agency."""
    numbers: int = 8
    """Of each location."""
    workers: int = 8
    concurrency: int = 128
    """The most requests of a worker at a time."""
    latency: float = 0.1
    """Seconds of a response."""

    @property
    def agencies_of_a_worker(self) -> int:
        """The number of agencies of the worker with the most."""
        return -(-self.agencies // self.workers)


class Sweep(msgspec.Struct, kw_only=True):
    """One sweep of one worker."""

    name: str
    seconds: float
    """By the clock that jumps: windows and latency."""
    cpu: float
    """Seconds of processor time, the vendor's included."""
    requests: Counter[str]
    numbers: int
    refused: int
    """Responses with status 429."""
    most_in_a_window: int
    """The most requests of one company in any window."""
    peak_mib: float
    """Memory of the process so far."""


class Vendor:
    """A transport that answers like the vendor, and counts as it does."""

    def __init__(self, settings: Settings) -> None:
        self.requests: Counter[str] = Counter()
        self.refused = self.most_in_a_window = 0
        self._latency = settings.latency
        self._settings = settings
        self._sent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._page = location_page(0, 1000, settings.numbers)
        self._loop = asyncio.get_running_loop()

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Answer a call after a while."""
        await asyncio.sleep(self._latency / 2)
        self.requests[call.operation] += 1
        response = self._respond(call)
        await asyncio.sleep(self._latency / 2)
        return response

    def _respond(self, call: Call[Any]) -> RawResponse:
        # Refreshes have no quota. A location has one request here, and a window of a hundred.
        if call.operation in {"location_token", "installed_locations"} and not self._admit(
            call.rate_key or call.account
        ):
            self.refused += 1
            return _REFUSED
        return RawResponse(200, _HEADERS, self._body(call))

    def _admit(self, company: str) -> bool:
        now, sent = self._loop.time(), self._sent[company]
        while sent and sent[0] <= now - _PER:
            sent.popleft()
        if len(sent) >= _WINDOW:
            return False
        sent.append(now)
        self.most_in_a_window = max(self.most_in_a_window, len(sent))
        return True

    def _body(self, call: Call[Any]) -> bytes:
        if call.operation == "active_numbers":
            return self._page
        if call.operation == "installed_locations":
            return self._locations(call)
        location = None if call.operation == "refresh_token" else _field(call, "locationId")
        return _token(location)

    def _locations(self, call: Call[Any]) -> bytes:
        query = dict(part.split("=") for part in call.target.partition("?")[2].split("&"))
        first = int(query["skip"])
        last = min(first + int(query["limit"]), self._settings.locations)
        rows = [
            {"_id": f"{call.account}L{number:06}", "name": f"Location {number}", "isInstalled": True}
            for number in range(first, last)
        ]
        return msgspec.json.encode({"locations": rows, "count": self._settings.locations})


def _field(call: Call[Any], name: str) -> str:
    return (call.body or b"").decode().partition(f"{name}=")[2].partition("&")[0]


def _token(location: str | None) -> bytes:
    owner = {"userType": "Company"} if location is None else {"userType": "Location", "locationId": location}
    return msgspec.json.encode(
        {
            "access_token": f"token-of-{location}",
            "refresh_token": "next",
            "expires_in": _TOKEN_LIFE,
            **owner,
            "companyId": "any",
        }
    )


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop without sockets, whose clock jumps to the next timer when nothing is to be done."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the time of the clock that jumps."""
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout:
            self._loop.now += timeout
        return events


async def driver_memory(settings: Settings) -> float:
    """Return the MiB that a driver needs to divide all accounts, if no company lists its own."""
    before = peak_kib()
    partition = Partition()
    accounts = (f"location{number:012}" for number in range(settings.agencies * settings.locations))
    await partition.read(PhoneSystem(LeadConnector("token")), ["leadconnector"], {"leadconnector": accounts})
    shards = max(1, partition.count // 2000)
    await partition.divide(shards)
    for index in range(1, shards + 1):
        partition.accounts_of(index)
    partition.close()
    return (peak_kib() - before) / 1024


async def simulate(settings: Settings) -> list[Sweep]:
    """Sweep the agencies of one worker: with no tokens, an hour later, and the next day."""
    loop = asyncio.get_running_loop()
    store = MemoryTokenStore()
    companies = [f"company{number:04}" for number in range(settings.agencies_of_a_worker)]
    for company in companies:
        await store.save(f"leadconnector/app/company/{company}", _expired(loop.time()))
    found = [await _sweep("cold: no token of a location is known", settings, store, companies)]
    await asyncio.sleep(_HOUR)
    found.append(await _sweep("warm: an hour later", settings, store, companies))
    await asyncio.sleep(_DAY)
    found.append(await _sweep("next day: tokens are refreshed", settings, store, companies))
    return found


def _expired(now: float) -> Token:
    return Token(access=Secret("old"), refresh=Secret("first"), obtained_at=now - _DAY, expires_at=now - 1)


async def _sweep(name: str, settings: Settings, store: MemoryTokenStore, companies: list[str]) -> Sweep:
    loop, vendor = asyncio.get_running_loop(), Vendor(settings)
    backends = [_agency(company, vendor, store) for company in companies]
    started, cpu = loop.time(), time.process_time()
    async with PhoneSystem(*backends) as phones:
        async with phones.sweep(concurrency=settings.concurrency, keep_done=False) as sweep:
            async for _ in sweep:
                pass
        assert sweep.report.complete, sweep.report.failures[:1]
    return Sweep(
        name=name,
        seconds=loop.time() - started,
        cpu=time.process_time() - cpu,
        requests=vendor.requests,
        numbers=sweep.report.numbers,
        refused=vendor.refused,
        most_in_a_window=vendor.most_in_a_window,
        peak_mib=peak_kib() / 1024,
    )


def _agency(company: str, vendor: Vendor, store: MemoryTokenStore) -> LeadConnector:
    auth = AgencyTokens(
        "app",
        "secret",
        company_id=company,
        store=store,
        clock=asyncio.get_running_loop().time,
    )
    return LeadConnector(auth=auth, name=company, transport=vendor)


def show(settings: Settings, found: list[Sweep]) -> None:
    """Print what was found, for all workers together."""
    agencies = settings.agencies_of_a_worker
    print(
        f"{settings.agencies:,} agencies of {settings.locations:,} locations, {settings.workers} workers of "
        f"{settings.concurrency} requests at a time, {settings.latency:g} s of latency"
    )
    for one in found:
        total = one.requests.total()
        slowest = max(one.seconds, one.cpu)
        each = ", ".join(f"{count / agencies:,.1f} {name}" for name, count in sorted(one.requests.items()))
        print(
            f"\n{one.name}\n"
            f"  time        {_duration(slowest)} ({_duration(one.seconds)} of windows and latency, "
            f"{_duration(one.cpu)} of a core: {one.cpu / total * 1e6:.0f} µs a request)\n"
            f"  requests    {total * settings.agencies // agencies:,}; of a company: {each}\n"
            f"  windows     {one.most_in_a_window} of {_WINDOW} used at the most, {one.refused} refused\n"
            f"  memory      {one.peak_mib:,.0f} MiB in a worker at the most"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def main(arguments: list[str] | None = None) -> None:
    """Simulate what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    plain = Settings()
    for field in msgspec.structs.fields(Settings):
        default = getattr(plain, field.name)
        parser.add_argument(f"--{field.name}", type=type(default), default=default)
    settings = Settings(**vars(parser.parse_args(arguments)))
    with asyncio.Runner() as runner:
        driver = runner.run(driver_memory(settings))
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        show(settings, runner.run(simulate(settings)))
    print(f"\ndriver: {driver:,.1f} MiB to divide {settings.agencies * settings.locations:,} accounts")


if __name__ == "__main__":
    main()
