"""A token that can be fetched again is fetched once by all that share a file, and not waited for in vain."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.errors import BadRequest
from phonesys.oauth import FileTokenStore, SingleFlight, Token
from phonesys.oauth.lock import try_lock
from phonesys.oauth.single_flight import Claim, FetchesOnce
from tests.oauth.test_oauth_store import make_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


class Vendor:
    """Hands out tokens, once it may, and notes what it was asked with."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.given: list[Token | None] = []
        self.may_respond = asyncio.Event()

    async def __call__(self, stored: Token | None) -> Token:
        self.given.append(stored)
        await self.may_respond.wait()
        return make_token(self.names[len(self.given) - 1])

    async def wait_asked(self, *tasks: asyncio.Task[Token]) -> None:
        """Wait until one of the tasks asks, or has ended without."""
        while not self.given and not any(task.done() for task in tasks):  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(0)


def wanted(token: Token) -> bool:
    return token != make_token("old")


async def test_all_who_share_a_file_fetch_a_token_once(tmp_path: Path) -> None:
    """Tasks of one store, and of another one as in another process: one asks the vendor, and all get it."""
    stores = [FileTokenStore(tmp_path / "tokens.json") for _ in range(2)]
    assert isinstance(stores[0], SingleFlight)
    vendor = Vendor("1")
    tasks = [
        asyncio.create_task(store.fetch_once("loc", vendor, is_wanted=wanted)) for store in (*stores, *stores)
    ]
    await vendor.wait_asked(*tasks)
    vendor.may_respond.set()
    assert await asyncio.gather(*tasks) == [make_token("1")] * 4
    assert vendor.given == [None]
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc") == make_token("1")


async def test_a_stored_token_is_used_if_it_is_wanted(tmp_path: Path) -> None:
    """Another one is handed to the fetch, whose refresh token it may need, and is replaced."""
    store, vendor = FileTokenStore(tmp_path / "tokens.json"), Vendor("1", "2")
    vendor.may_respond.set()
    await store.save("loc", make_token("0"))
    assert await store.fetch_once("loc", vendor, is_wanted=wanted) == make_token("0")
    assert vendor.given == []
    await store.save("other", make_token("old"))
    assert await store.fetch_once("other", vendor, is_wanted=wanted) == make_token("1")
    assert vendor.given == [make_token("old")]


async def test_a_fetch_elsewhere_is_waited_for_no_longer_than_the_time_out(tmp_path: Path) -> None:
    """After that, the token is fetched by this process as well, which costs a request and no token."""
    holder = FileTokenStore(tmp_path / "tokens.json")
    impatient = FileTokenStore(tmp_path / "tokens.json", lock_timeout=0.0)
    slow, quick = Vendor("1"), Vendor("2")
    quick.may_respond.set()
    held = asyncio.create_task(holder.fetch_once("loc", slow, is_wanted=wanted))
    await slow.wait_asked(held)
    assert await impatient.fetch_once("loc", quick, is_wanted=wanted) == make_token("2")
    slow.may_respond.set()
    assert await held == make_token("1")


async def test_a_failed_fetch_leaves_no_lock_behind(tmp_path: Path) -> None:
    """The next call, of this store or of another one, asks the vendor again."""

    async def fail(_stored: Token | None) -> Token:
        raise BadRequest("no such location", status=400)

    for store in [FileTokenStore(tmp_path / "tokens.json") for _ in range(2)] * 2:
        with pytest.raises(BadRequest, match="no such location"):
            await store.fetch_once("loc", fail, is_wanted=wanted)


async def test_a_read_only_disk_costs_a_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The token is used as long as the process runs, with a warning, and calls do not fail."""
    await FileTokenStore(tmp_path / "tokens.json").save("k", make_token("k"))
    store, vendor = FileTokenStore(tmp_path / "tokens.json"), Vendor("1", "2")
    vendor.may_respond.set()
    real = os.open

    def read_only(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", read_only)
    caplog.set_level(logging.WARNING, "phonesys")
    for _ in range(2):
        assert await store.fetch_once("loc", vendor, is_wanted=wanted) == make_token("1")
    assert vendor.given == [None]
    assert "cached tokens were not written: token store: " in caplog.text
    assert "Read-only file system" in caplog.text
    assert await store.load("k") == make_token("k")
    monkeypatch.undo()
    await store.flush()
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc") == make_token("1")


async def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """It may hold a token that must not be lost, so nothing is fetched in its place."""
    (tmp_path / "tokens.json").write_bytes(b"not tokens")
    vendor = Vendor("1")
    with pytest.raises(ConfigError, match="not a token file of phonesys"):
        await FileTokenStore(tmp_path / "tokens.json").fetch_once("loc", vendor, is_wanted=wanted)
    assert vendor.given == []


async def test_one_task_at_a_time_tries_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that wait for another process do not poll its lock all at once."""
    holder, store = (FileTokenStore(tmp_path / "tokens.json") for _ in range(2))
    vendor, tried = Vendor("1"), list[object]()
    held = asyncio.create_task(holder.fetch_once("loc", vendor, is_wanted=wanted))
    await vendor.wait_asked(held)

    def counted(path: Path) -> Any:
        tried.append(asyncio.current_task())
        return try_lock(path)

    monkeypatch.setattr("phonesys.oauth.file.try_lock", counted)
    tasks = [asyncio.create_task(store.fetch_once("loc", vendor, is_wanted=wanted)) for _ in range(5)]
    while len(tried) < 4 and not any(task.done() for task in tasks):  # noqa: ASYNC110 -- no event tells
        await asyncio.sleep(0)
    assert len(set(tried)) == 1
    vendor.may_respond.set()
    assert await asyncio.gather(held, *tasks) == [make_token("1")] * 6
    assert vendor.given == [None]


class Claims(FetchesOnce):
    """A store whose claims are refused until a time of its own clock, and whose other steps may fail."""

    _max_poll = 0.05

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, free_at: float = 0.0, timeout: float = 60.0
    ) -> None:
        self._lock_timeout = timeout
        self._free_at = 1000.0 + free_at
        self.now = 1000.0
        self.pauses: list[float] = []
        self.claims = 0
        self.failure: ConfigError | None = None
        self.tokens: dict[str, Token] = {}
        self.cached: dict[str, Token] = {}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now = round(self.now + seconds, 6)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def load(self, key: str) -> Token | None:
        self._fail()
        return self.tokens.get(key)

    @asynccontextmanager
    async def _claim(self, key: str) -> AsyncGenerator[Claim]:
        self.claims += 1
        yield Claim(self.now >= self._free_at, self.tokens.get(key))

    async def _keep_fetched(self, key: str, token: Token) -> None:
        self._fail()
        self.tokens[key] = token

    def cache(self, key: str, token: Token) -> None:
        self.cached[key] = token


async def fetched(_stored: Token | None) -> Token:
    return make_token("1")


async def test_a_token_that_is_there_costs_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most calls find one."""
    store = Claims(monkeypatch)
    store.tokens["loc"] = make_token("0")
    assert await store.fetch_once("loc", fetched, is_wanted=wanted) == make_token("0")
    assert store.claims == 0


async def test_a_claim_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """From two milliseconds up to the store's own limit, and until the time-out is over."""
    store = Claims(monkeypatch, free_at=0.2)
    assert await store.fetch_once("loc", fetched, is_wanted=wanted) == make_token("1")
    assert store.pauses == [0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05]
    store = Claims(monkeypatch, free_at=9.0, timeout=0.014)
    assert await store.fetch_once("loc", fetched, is_wanted=wanted) == make_token("1")
    assert store.pauses == [0.002, 0.004, 0.008, 0.016]


async def test_a_store_that_fails_costs_a_fetch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what failed. The token is kept in memory."""
    store = Claims(monkeypatch)
    store.failure = ConfigError("store gone")
    caplog.set_level(logging.DEBUG, "phonesys")
    assert await store.fetch_once("loc", fetched, is_wanted=wanted) == make_token("1")
    assert store.cached == {"loc": make_token("1")}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "store gone"), ("WARNING", "cached tokens were not written: store gone"),
    ]  # fmt: skip
