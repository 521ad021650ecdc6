"""The cases: which work, on which server, by whom."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import msgspec

from benchmarks.job import Job
from benchmarks.server import Serving
from phonesys.backends.windows import pages_named_by, window_plan

Unit: TypeAlias = Literal["request", "1000 numbers", "run"]

_LOCATIONS = "/phone-system/numbers/location/loc0000000000000000?pageSize=1000&page=0"
_ORGANIZATION = "/phone-numbers/all/organization"


class Entry(msgspec.Struct, frozen=True):
    """A client in a case."""

    key: str
    label: str
    client: str
    """Its module under `benchmarks.clients`."""
    task: str
    needs: tuple[str, ...] = ()
    """Packages that must be installed."""
    job: dict[str, Any] = {}
    """Where its work differs from the case's."""
    ceiling: bool = False
    note: str = ""

    def missing(self) -> list[str]:
        """Name what it needs and is not installed."""
        return [name for name in self.needs if find_spec(name) is None]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work, and everybody who does it."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    job: Job
    serving: Serving | None = None
    unit: Unit = "request"
    loader: str | None = None
    """The path that the loader fetches, to show the capacity of the server."""
    long: bool = False
    least_rounds: int = 1
    bound: float | None = None

    def job_of(self, entry: Entry) -> Job:
        """Return the work of one client."""
        mine = msgspec.structs.replace(self.job, client=entry.client, task=entry.task)
        return msgspec.structs.replace(mine, **entry.job)

    def units(self, job: Job) -> float:
        """Count the units that one pass of the work is."""
        if self.unit == "run":
            return 1
        return job.requests if self.unit == "request" else job.numbers / 1000


def phonesys(task: str = "locations", key: str = "phonesys", label: str = "phonesys", **job: Any) -> Entry:
    """Phonesys itself."""
    return Entry(key, label, "phonesys_sdk", task, job=job)


def by_page(task: str = "locations_by_page") -> Entry:
    """Phonesys without a sweep."""
    return Entry("by_page", "phonesys, a loop over `backend.page()`", "phonesys_sdk", task)


def by_hand(task: str = "locations") -> Entry:
    """Make (a)."""
    return Entry("by_hand", "the loop by hand (aiohttp, msgspec)", "by_hand", task)


def with_httpx(task: str = "locations") -> Entry:
    """Make (b)."""
    return Entry("httpx", "httpx and pydantic", "httpx_pydantic", task, needs=("httpx", "pydantic"))


def highlevel(task: str = "locations") -> Entry:
    """Make (c)."""
    return Entry("highlevel", "gohighlevel-api-client", "highlevel_sdk", task, needs=("highlevel",))


def leadping() -> Entry:
    """Make (d)."""
    needs = ("leadping", "kiota_http")
    return Entry("leadping", "leadping (Kiota)", "leadping_sdk", "organization", needs=needs)


def bytes_only(task: str = "locations") -> Entry:
    """Make the ceiling of the network."""
    return Entry("bytes", "ceiling: aiohttp, bytes read only", "bytes_only", task, ceiling=True)


_ONE_SECOND: dict[str, Any] = {"least_seconds": 1.0}
LOOKAHEAD = 12  # the default of LeadConnector(speculate=…)
_BIG = Job(client="", task="", locations=200, rows=1000, warm_up=20, **_ONE_SECOND)


def rounds(pages: int, rows: int) -> int:
    """Return the least number of round trips in which a location of so many pages is read.

    A page is requested only once the pages before it have proved that there may be one.
    """
    full = window_plan(rows).count(pages * rows) - 1
    trips = read = 1
    named = pages_named_by(0, LOOKAHEAD).stop
    while read <= full:
        read, trips = named, trips + 1
        named = pages_named_by(min(read, full) - 1, LOOKAHEAD).stop
    return trips


SMALL = Case(
    name="small",
    title="Small locations: 2 000 of 8 numbers, 64 at once",
    entries=(phonesys(), by_hand(), with_httpx(), highlevel(), bytes_only()),
    job=Job(client="", task="", locations=2000, rows=9, warm_up=200, **_ONE_SECOND),
    serving=Serving(rows=9),
    loader=_LOCATIONS,
)
BIG = Case(
    name="big",
    title="Big pages: 200 locations of one page of 999 numbers, 64 at once",
    entries=(phonesys(), by_hand(), with_httpx(), highlevel(), bytes_only()),
    job=_BIG,
    serving=Serving(rows=1000),
    loader=_LOCATIONS,
)
SEVERAL = Case(
    name="several",
    title="Several big pages: 60 locations of 5 pages of 1000 numbers, no total to plan with",
    entries=(phonesys(), by_page(), by_hand()),
    job=msgspec.structs.replace(_BIG, locations=60, pages=5, warm_up=5),
    serving=Serving(rows=1000, pages=5),
)
_UNLIMITED = (100_000, 10.0)
PAGED = Case(
    name="paged",
    title="Small pages: one location of 100 pages of 100 numbers",
    entries=(phonesys(), by_page(), by_hand()),
    job=Job(client="", task="", locations=1, pages=100, rows=100, warm_up=1, limit=_UNLIMITED, **_ONE_SECOND),
    serving=Serving(pages=100, rows=100),
)
SIZES = (
    # numbers of the location, size of a page, whether pages state the total, rate limit, most requests
    (1_000, 1_000, False, _UNLIMITED, 2),
    (1_500, 1_000, False, _UNLIMITED, 2),
    (2_500, 1_000, False, _UNLIMITED, 4),
    (5_500, 1_000, False, _UNLIMITED, 8),
    (20_000, 1_000, False, _UNLIMITED, 27),
    (100_000, 1_000, False, _UNLIMITED, 130),
    (100_000, 1_000, True, _UNLIMITED, 113),
    (10_000, 100, False, (25, 1.0), 125),
)
REQUESTS = Case(
    name="requests",
    title="Requests for one location: counted, not timed",
    entries=tuple(
        phonesys(
            "requests",
            f"{'counted_' if total else ''}{count}_by_{size}",
            f"{count:,} numbers in pages of {size:,}" + (", with a total" if total else ""),
            count=count,
            rows=size,
            total=total,
            limit=limit,
        )
        for count, size, total, limit, _ in SIZES
    ),
    job=Job(client="", task="", locations=1),
    serving=Serving(),
    unit="run",
)
DEEP = Case(
    name="deep",
    title="One deep location: 100 pages of 100 numbers, 40 ms of latency, no total",
    entries=(
        phonesys("deep", label="phonesys, as by default"),
        phonesys("deep", "phonesys_4", "phonesys, 4 pages ahead", speculate=4),
        by_hand(),
    ),
    job=Job(client="", task="", locations=1, pages=100, rows=100, limit=_UNLIMITED),
    serving=Serving(pages=100, rows=100, latency=0.04),
    unit="run",
    bound=0.04 * rounds(pages=100, rows=100),
)
ORGANIZATION = Case(
    name="organization",
    title="Leadping lists: one organization of 100 pages of 100 rows, in sequence",
    entries=(
        phonesys("organization"),
        by_page("organization_by_page"),
        by_hand("organization"),
        leadping(),
        bytes_only("organization"),
    ),
    job=Job(client="", task="", locations=1, pages=100, rows=100, warm_up=1, **_ONE_SECOND),
    serving=Serving(pages=100, rows=100),
    loader=_ORGANIZATION,
)
EXCHANGE = Case(
    name="exchange",
    title="A token exchange for each of 1 000 locations, then its page of 8 numbers",
    entries=(phonesys("exchanged"), by_hand("exchanged")),
    job=Job(client="", task="", locations=1000, rows=9, warm_up=100, **_ONE_SECOND),
    serving=Serving(rows=9),
)
LIMITED = Case(
    name="limited",
    title="Rate-limited: 4 locations of 500 pages, the server allows each 100 requests in any second",
    entries=(phonesys("limited"),),
    job=Job(client="", task="", locations=4, pages=500, rows=9, limit=(100, 1.0)),
    serving=Serving(rows=9, pages=500, window=100, per=1.0),
    unit="run",
)
TLS = Case(
    name="tls",
    title="Small locations over TLS",
    entries=(phonesys(), by_hand(), with_httpx()),
    job=SMALL.job,
    serving=Serving(rows=9, certificate="self-signed"),
)
GZIP = Case(
    name="gzip",
    title="Big pages, gzip",
    entries=(phonesys(), by_hand(), bytes_only()),
    job=BIG.job,
    serving=Serving(rows=1000, gzip=True),
    loader=_LOCATIONS,
)
STOP = Case(
    name="stop",
    title="A consumer that stops at its first page, 64 requests under way, 40 ms of latency",
    entries=(phonesys("stopping"), by_hand("stopping")),
    job=Job(client="", task="", locations=2000, rows=9),
    serving=Serving(rows=9, latency=0.04),
    unit="run",
)
FILE = Case(
    name="file",
    title="A million numbers to a file of JSON lines: 1 001 locations of 999 numbers",
    entries=(
        phonesys("to_file"),
        by_hand("to_file"),
        Entry("dlt", "dlt rest_api source", "dlt_rest", "to_file", needs=("dlt",), job={"locations": 30},
              note="30 locations only"),
    ),
    job=Job(client="", task="", locations=1001, rows=1000),
    serving=Serving(rows=1000),
    unit="1000 numbers",
)  # fmt: skip
STORE = Case(
    name="store",
    title="Kept in SQLite: 200 locations of one page of 999 numbers, client and database on one core",
    entries=(
        phonesys(label="phonesys, nothing kept"),
        Entry("stored", "phonesys, kept", "phonesys_sdk", "stored", needs=("sqlalchemy", "aiosqlite")),
        Entry("stored_again", "phonesys, kept, all as it was before", "phonesys_sdk", "stored_again",
              needs=("sqlalchemy", "aiosqlite")),
    ),
    job=_BIG,
    serving=Serving(rows=1000),
    unit="1000 numbers",
)  # fmt: skip
IMPORT = Case(
    name="import",
    title="Import time, compiled files at hand",
    entries=(
        Entry("phonesys", "import phonesys", "importing", "phonesys"),
        Entry("needs", "import aiohttp, msgspec, anyio", "importing", "needs"),
        Entry("highlevel", "import highlevel", "importing", "highlevel", needs=("highlevel",)),
        Entry("httpx", "import httpx, pydantic", "importing", "httpx", needs=("httpx", "pydantic")),
        Entry("leadping", "import leadping and its Kiota adapter", "importing", "leadping",
              needs=("leadping", "kiota_http")),
        Entry("dlt", "import dlt and its rest_api source", "importing", "dlt", needs=("dlt",)),
    ),
    job=Job(client="", task="", locations=9),
    unit="run",
)  # fmt: skip
DECODE = Case(
    name="decode",
    title="Decode and unify 1 000 numbers, no network",
    entries=(
        Entry("phonesys", "phonesys: structs that are the unified number", "decoding", "phonesys_unified"),
        Entry("by_hand", "bare msgspec, as one would write it", "decoding", "bare_msgspec"),
        Entry("tuned", "bare msgspec, tuned: gc=False, tuples", "decoding", "tuned_msgspec"),
        Entry("httpx", "pydantic models", "decoding", "pydantic_models", needs=("pydantic",)),
        Entry("untyped", "msgspec.json.decode alone, into dicts", "decoding", "untyped"),
        Entry("attributes", "phonesys, and all 12 attributes read", "decoding", "phonesys_every_attribute"),
    ),
    job=Job(client="", task="", locations=1, rows=1001, least_seconds=0.5),
    unit="1000 numbers",
    least_rounds=5,
)
SCALE = Case(
    name="scale",
    title="Cost as locations grow: 8 numbers each, 64 at once",
    entries=tuple(
        phonesys("locations", f"phonesys_{size}{suffix}", f"phonesys, {size} locations{words}",
                 locations=locations, keep_done=keep)
        for suffix, words, keep in (("", ", keep_done=False", False), ("_kept", ", whole report", True))
        for size, locations in (("1k", 1000), ("10k", 10_000), ("100k", 100_000))
    ),
    job=Job(client="", task="", rows=9, warm_up=1000, **_ONE_SECOND),
    serving=Serving(rows=9),
    long=True,
)  # fmt: skip
SHARDS = Case(
    name="shards",
    title="20 000 small locations into Parquet files: one process, and two workers beside the server",
    entries=(
        Entry("phonesys", "phonesys, one process", "sharded", "one", needs=("pyarrow",)),
        Entry("processes", "phonesys, 2 processes", "sharded", "processes", needs=("pyarrow",)),
        Entry("dask", "phonesys, 2 Dask workers", "sharded", "dask", needs=("pyarrow", "distributed")),
    ),
    job=Job(client="", task="", locations=20_000, rows=9, warm_up=1000),
    serving=Serving(rows=9),
    loader=_LOCATIONS,
)

CASES = (
    SMALL, BIG, SEVERAL, PAGED, REQUESTS, DEEP, ORGANIZATION, EXCHANGE, LIMITED, TLS, GZIP, STOP, FILE, STORE,
    IMPORT, DECODE, SCALE, SHARDS,
)  # fmt: skip


def quick(case: Case) -> Case:
    """Shrink a case to what shows that it runs; its figures mean nothing."""
    pages, rows = min(case.job.pages, 12), min(case.job.rows, 100)
    job = msgspec.structs.replace(
        case.job,
        locations=1 if case is IMPORT else min(case.job.locations, 20),
        pages=pages,
        rows=rows,
        warm_up=min(case.job.warm_up, 2),
        least_seconds=0.0,
        limit=case.job.limit and (10, 0.2),
    )
    serving = case.serving and msgspec.structs.replace(case.serving, pages=pages, rows=rows)
    if serving is not None and serving.window is not None:
        serving = msgspec.structs.replace(serving, window=10, per=0.2)
    entries = tuple(msgspec.structs.replace(entry, job=_fewer(entry.job)) for entry in case.entries)
    return msgspec.structs.replace(
        case, job=job, serving=serving, entries=entries, bound=None, least_rounds=1, loader=None
    )


def _fewer(job: dict[str, Any]) -> dict[str, Any]:
    if "count" in job:
        return {**job, "count": min(job["count"], 3_000), "limit": (100_000, 1.0)}
    return {**job, "locations": min(job["locations"], 20)} if "locations" in job else job
