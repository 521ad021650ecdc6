from __future__ import annotations

import asyncio
import builtins
import gc
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError, InvalidArgument
from phonesys.oauth import FileTokenStore, MemoryTokenStore, Token, TokenStore, new_key
from phonesys.oauth.durable_file import DurableTokenFile
from phonesys.oauth.lock import acquire_lock_blocking
from phonesys.oauth.store import ForgetsAll
from phonesys.secret import Secret
from tests.conftest import PATIENCE
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


def make_token(name: str, *, at: float = 1.0, refresh: str | None = "r") -> Token:
    return Token(
        access=Secret(f"access-{name}"),
        refresh=None if refresh is None else Secret(f"refresh-{name}"),
        obtained_at=at,
        expires_at=at + 86_399,
        subject="company/c1",
        scope="a b",
    )


@pytest.fixture(params=["memory", "file", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    stores: dict[str, Callable[[], TokenStore]] = {
        "memory": MemoryTokenStore,
        "file": lambda: FileTokenStore(tmp_path / "tokens.json"),
        "sealed": lambda: FileTokenStore(tmp_path / "tokens.json", key=new_key()),
    }
    return stores[request.param]()


async def test_a_stored_token_is_loaded_unchanged(store: TokenStore) -> None:
    """A stored token is loaded unchanged, times included."""
    assert await store.load("k") is None
    await store.save("k", make_token("1"))
    store.cache("other", make_token("2", refresh=None))
    assert await store.load("k") == make_token("1")
    assert await store.load("other") == make_token("2", refresh=None)
    await store.save("k", make_token("3"))
    assert await store.load("k") == make_token("3")


async def test_a_forgotten_token_is_gone(store: TokenStore) -> None:
    """A forgotten token is gone, saved or cached."""
    await store.save("k", make_token("1"))
    store.cache("other", make_token("2"))
    await store.flush()
    for key in ("k", "other", "never there"):
        await store.forget(key)
        assert await store.load(key) is None


async def test_all_tokens_of_an_app_are_forgotten(store: TokenStore) -> None:
    """Saved or cached, written or not. Their number counts each once, and other apps keep theirs."""
    assert isinstance(store, ForgetsAll)
    other = make_token("7", at=time.time())
    await store.save("app/company/c", make_token("1"))
    await store.save("app/location/0", make_token("2"))
    store.cache("app/location/0", make_token("3"))
    store.cache("app/location/1", make_token("4"))
    await store.flush()
    store.cache("app/location/2", make_token("5"))
    await store.save("app2/company/c", make_token("6"))
    store.cache("other/app/location/1", other)
    assert await store.forget_all("app/") == 4
    gone = ("app/company/c", "app/location/0", "app/location/1", "app/location/2")
    assert [await store.load(key) for key in gone] == [None] * 4
    assert await store.load("app2/company/c") == make_token("6")
    assert await store.load("other/app/location/1") == other
    assert await store.forget_all("app/") == 0


async def test_no_file_holds_a_forgotten_token(tmp_path: Path) -> None:
    """Neither the main file, nor the cache, nor a token that was staged and not committed."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store.save("app/company/c", make_token("1"))
    await store.save("app2/company/c", make_token("2"))
    store.cache("app/location/1", make_token("3"))
    await store.flush()
    store._durable_file.stage("app/location/2", make_token("4"))
    store._durable_file.stage("app2/company/d", make_token("5"))
    assert await store.forget_all("app/") == 3
    files = [tmp_path / "tokens.json", *(tmp_path / "tokens.json.d").iterdir()]
    raw = b"".join(path.read_bytes() for path in files)
    assert [name for name in "12345" if f"access-{name}".encode() in raw] == ["2", "5"]
    other = FileTokenStore(tmp_path / "tokens.json")
    assert await other.load("app2/company/c") == make_token("2")
    assert await other.load("app2/company/d") == make_token("5")


async def test_one_task_at_a_time_holds_the_lock_of_a_key(store: TokenStore) -> None:
    """A lock excludes tasks of the same process, and is released after an error."""
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with store.lock("k"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert most == 1
    with pytest.raises(ZeroDivisionError):
        async with store.lock("k"):
            _ = 1 / 0
    await enter()


async def test_a_task_that_comes_later_waits_as_well() -> None:
    """The lock of a key is the same as long as a task holds it or waits for it. Another key has its own."""
    store = MemoryTokenStore()
    inside: list[int] = []
    leave = [asyncio.Event() for _ in range(4)]

    async def enter(number: int) -> None:
        async with store.lock("k"):
            inside.append(number)
            await leave[number].wait()
            inside.remove(number)

    tasks = [asyncio.create_task(enter(0))]
    for number in (1, 2, 3):
        tasks.append(asyncio.create_task(enter(number)))
        for _ in range(5):
            await asyncio.sleep(0)
            assert inside == [number - 1]
        async with asyncio.timeout(PATIENCE), store.lock("other"):
            assert inside == [number - 1]
        leave[number - 1].set()
        await tasks[number - 1]
    leave[3].set()
    await asyncio.gather(*tasks)


async def test_a_lock_in_memory_lives_as_long_as_it_is_used() -> None:
    """Thousands of locations leave no lock behind."""
    store = MemoryTokenStore()

    async def enter(key: str) -> None:
        async with store.lock(key):
            await asyncio.sleep(0)

    gc.collect()
    before = sum(isinstance(each, asyncio.Lock) for each in gc.get_objects())
    await asyncio.gather(*(enter(f"k{number % 5}") for number in range(20)))
    gc.collect()
    assert sum(isinstance(each, asyncio.Lock) for each in gc.get_objects()) <= before


def test_stores_show_no_token(tmp_path: Path) -> None:
    """A store in memory shows how many it holds, and one in a file its path."""
    store = MemoryTokenStore()
    store.cache("k", make_token("1"))
    assert repr(store) == "<MemoryTokenStore of 1 tokens>"
    assert (
        repr(FileTokenStore(tmp_path / "tokens.json"))
        == f"<FileTokenStore {str(tmp_path / 'tokens.json')!r}>"
    )


async def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell; a path that no file can have is an error at once."""
    monkeypatch.setenv("HOME", str(tmp_path))
    await FileTokenStore("~/tokens.json").save("k", make_token("1"))
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == make_token("1")
    with pytest.raises(InvalidArgument, match=r"^token store: a path cannot hold a null character$"):
        FileTokenStore("tokens\0.json")


async def test_another_store_finds_written_tokens(tmp_path: Path) -> None:
    """Another store on the same file sees a saved token at once, and a cached one after a flush."""
    path = tmp_path / "deep" / "er" / "tokens.json"
    mine, theirs = FileTokenStore(path), FileTokenStore(path)
    assert await theirs.load("k") is None
    for round_ in range(3):
        await mine.save("k", make_token(f"{round_}"))
        assert await theirs.load("k") == make_token(f"{round_}")
        mine.cache("loc", make_token(f"loc-{round_}"))
        await mine.flush()
        assert await theirs.load("loc") == make_token(f"loc-{round_}")
    await asyncio.gather(*((mine, theirs)[n % 2].save(f"k{n}", make_token(f"{n}")) for n in range(20)))
    fresh = FileTokenStore(path)
    assert [await fresh.load(f"k{n}") for n in range(20)] == [make_token(f"{n}") for n in range(20)]


async def test_thousands_of_cached_tokens_are_one_write(tmp_path: Path, monkeypatch: Any) -> None:
    """The tokens of 5 000 locations are appended in one batch, without a sync."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    store = FileTokenStore(tmp_path / "tokens.json")
    for n in range(5000):
        store.cache(f"loc_{n}", make_token(f"{n}"))
    await store.flush()
    assert not synced
    assert (tmp_path / "tokens.json.d" / "cache").read_bytes().count(b"\n") == 1
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc_4999") == make_token("4999")


async def test_cached_tokens_are_written_without_a_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached tokens are written a moment later, without a flush."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 0.001)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("loc", make_token("1"))
    writer = store._writer
    assert writer is not None
    await writer
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc") == make_token("1")


async def test_a_flush_leaves_nothing_to_write(tmp_path: Path) -> None:
    """A flush ends the background writer, whether it sleeps or writes, and a later token starts another."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    for round_ in range(3):
        store.cache("loc", make_token(f"{round_}"))
        for _ in range(round_):
            await asyncio.sleep(0)
        await store.flush()
        assert len(asyncio.all_tasks()) == 1
        assert await FileTokenStore(path).load("loc") == make_token(f"{round_}")


async def test_a_flush_waits_for_a_running_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is being written is in the file when a flush returns."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 0.0)
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    store.cache("loc", make_token("1"))
    while store._pending:  # noqa: ASYNC110 -- until the writer took it
        await asyncio.sleep(0)
    await store.flush()
    assert len(asyncio.all_tasks()) == 1
    assert await FileTokenStore(path).load("loc") == make_token("1")


async def test_the_cache_file_stays_small(tmp_path: Path) -> None:
    """The cache file is compacted once outdated and expired lines outweigh the rest."""
    clock = Clock(0.0)
    store = FileTokenStore(tmp_path / "tokens.json", clock=clock)
    file = tmp_path / "tokens.json.d" / "cache"
    for day in range(40):
        clock.now = day * 86_400.0
        for n in range(1000):
            store.cache(f"loc_{n}", make_token(f"{n}-{day}", at=clock.now))
        await store.flush()
        assert file.stat().st_size < 6 * 2**20
    assert await store.load("loc_7") == make_token("7-39", at=clock.now)


async def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    """Files have mode 0600, even if the file existed with another mode. Folders have 0700."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    await store.save("k", make_token("1"))
    path.chmod(0o644)
    async with store.lock("k"):
        await store.save("k", make_token("2"))
    store.cache("loc", make_token("3"))
    await store.flush()
    files = [path, *(tmp_path / "tokens.json.d").iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "tokens.json.d").stat().st_mode) == 0o700


FOREIGN = {
    "empty": b"",
    "not JSON": b"access_token=PLANTED",
    "other JSON": b'{"access_token": "PLANTED"}',
    "a list": b"[1, 2]",
    "cut short": b'{"format":"phonesys-tokens","version":1,"tokens":{"k":{"access":"PLANTED","obt',
    "a newer version": b'{"format":"phonesys-tokens","version":2,"tokens":{}}',
    "not UTF-8": b'{"format":"phonesys-tokens","version":1,"tokens":{"\xff":null}}',
    "a token that is none": (
        b'{"format":"phonesys-tokens","version":1,"tokens":{"k":{"access":"","obtained_at":1}}}'
    ),
    "sealed": b'{"format":"phonesys-tokens","version":1,"sealed":"gAAAA"}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_a_damaged_or_foreign_file_is_an_unchanged_error(tmp_path: Path, content: bytes) -> None:
    """Every method names the unusable file. None writes to it, and none quotes it."""
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    store = FileTokenStore(path)
    with pytest.raises(ConfigError, match="it was not changed") as failure:
        await store.load("k")
    assert str(path) in str(failure.value)
    assert "PLANTED" not in str(failure.value)
    with pytest.raises(ConfigError, match="it was not changed"):
        await store.save("k", make_token("1"))
    with pytest.raises(ConfigError, match="it was not changed"):
        async with FileTokenStore(path).lock("other"):
            pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_a_damaged_cache_file_is_set_aside_and_filled_again(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tokens are missing until they are fetched again, and the file is kept under another name."""
    cache_file = tmp_path / "tokens.json.d" / "cache"
    cache_file.parent.mkdir()
    cache_file.write_bytes(content + b"\n")
    store = FileTokenStore(tmp_path / "tokens.json")
    assert await store.load("k") is None
    store.cache("k", make_token("1"))
    await store.flush()
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == make_token("1")
    assert cache_file.with_name("cache-unreadable").read_bytes() == content + b"\n"
    assert "damaged or has another key" in caplog.text
    assert "PLANTED" not in caplog.text


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "encrypted"])
async def test_one_flipped_bit_costs_the_tokens_of_its_batch(tmp_path: Path, sealed: bool) -> None:
    """Tokens of other batches are still read, and are in the new file."""
    path, key = tmp_path / "tokens.json", new_key() if sealed else None
    store = FileTokenStore(path, key=key)
    for name in ("1", "2", "3"):
        store.cache(name, make_token(name, at=time.time()))
        await store.flush()
    cache_file = tmp_path / "tokens.json.d" / "cache"
    raw = bytearray(cache_file.read_bytes())
    middle = raw.index(b"\n") + 2
    raw[middle] ^= 1
    cache_file.write_bytes(raw)
    other = FileTokenStore(path, key=key)
    assert [await other.load(name) is not None for name in ("1", "2", "3")] == [True, False, True]
    other.cache("2", make_token("4", at=time.time()))
    await other.flush()
    fresh = FileTokenStore(path, key=key)
    assert [await fresh.load(name) is not None for name in ("1", "2", "3")] == [True, True, True]


async def test_a_cache_file_with_another_key_is_set_aside(tmp_path: Path) -> None:
    """A new key makes old locations' tokens unreadable, and fails no account."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path, key=new_key())
    store.cache("k", make_token("1"))
    await store.flush()
    key = new_key()
    other = FileTokenStore(path, key=key)
    assert await other.load("k") is None
    other.cache("k", make_token("2"))
    await other.flush()
    assert await FileTokenStore(path, key=key).load("k") == make_token("2")


async def test_only_the_original_key_matches(tmp_path: Path) -> None:
    """Another key, no key, a key for a plain file and an invalid key are errors that change no file."""
    path, key = tmp_path / "tokens.json", new_key()
    await FileTokenStore(path, key=key).save("k", make_token("SECRET"))
    assert b"SECRET" not in path.read_bytes()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="does not match"):
        await FileTokenStore(path, key=new_key()).load("k")
    with pytest.raises(ConfigError, match="is encrypted, but no key was given"):
        await FileTokenStore(path).save("k", make_token("1"))
    assert path.read_bytes() == before
    assert await FileTokenStore(path, key=Secret(key)).load("k") == make_token("SECRET")
    plain = tmp_path / "plain.json"
    await FileTokenStore(plain).save("k", make_token("1"))
    with pytest.raises(ConfigError, match="it is not encrypted"):
        await FileTokenStore(plain, key=key).load("k")
    with pytest.raises(ConfigError, match="not a Fernet key") as failure:
        FileTokenStore(path, key="PLANTED")
    assert "PLANTED" not in repr(failure.value)


async def test_everything_is_encrypted(tmp_path: Path) -> None:
    """Cached and staged tokens are encrypted too."""
    store = FileTokenStore(tmp_path / "tokens.json", key=new_key())
    store.cache("loc", make_token("SECRET"))
    await store.flush()
    store._durable_file.stage("k", make_token("SECRET"))
    written = [file.read_bytes() for file in (tmp_path / "tokens.json.d").iterdir()]
    assert len(written) >= 2
    assert not [raw for raw in written if b"SECRET" in raw]


def test_without_cryptography_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key without `cryptography` is an error that names the extra. A store without a key works."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    FileTokenStore(tmp_path / "tokens.json")
    with pytest.raises(ConfigError, match=r"phonesys\[crypto\]"):
        FileTokenStore(tmp_path / "tokens.json", key="k")


async def test_a_token_staged_by_a_killed_process_is_committed(tmp_path: Path) -> None:
    """A token that a killed process staged is loaded and committed by the next process."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    await store.save("k", make_token("1", at=1.0))
    store._durable_file.stage("k", make_token("2", at=2.0))  # and then the process was killed
    fresh = FileTokenStore(path)
    assert await fresh.load("k") == make_token("2", at=2.0)
    async with fresh.lock("k"):
        assert json.loads(path.read_bytes())["tokens"]["k"]["access"] == "access-2"
    assert not list((tmp_path / "tokens.json.d").glob("staged-*"))


async def test_a_staged_token_that_was_cut_short_is_ignored(tmp_path: Path) -> None:
    """A staged token that was cut short is ignored, and the committed one is used."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store.save("k", make_token("1"))
    store._durable_file.stage("k", make_token("2", at=2.0))
    (staged,) = (tmp_path / "tokens.json.d").glob("staged-*")
    staged.write_bytes(staged.read_bytes()[:-20])
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == make_token("1")


async def test_a_line_that_was_cut_short_does_not_spoil_the_cache_file(tmp_path: Path) -> None:
    """A process that is killed while appending loses its own batch only."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    store.cache("one", make_token("1"))
    await store.flush()
    cache_file = tmp_path / "tokens.json.d" / "cache"
    cache_file.write_bytes(cache_file.read_bytes() + b'{"format":"phonesys-to')
    other = FileTokenStore(path)
    assert await other.load("one") == make_token("1")
    other.cache("two", make_token("2"))
    await other.flush()
    assert [await store.load(key) for key in ("one", "two")] == [make_token("1"), make_token("2")]


async def test_a_store_that_cannot_be_written_fails_before_the_token_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entering the lock fails if saving would, so a full disk is noticed before the token is spent."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    store = FileTokenStore(tmp_path / "tokens.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        async with store.lock("k"):
            raise AssertionError
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="cannot be created"):
        async with FileTokenStore(blocked / "tokens.json").lock("k"):
            raise AssertionError


async def test_a_lock_that_is_held_too_long_is_an_error(tmp_path: Path) -> None:
    """Waiting for a lock ends with an error after the time-out."""
    path = tmp_path / "tokens.json"
    holder, other = FileTokenStore(path), FileTokenStore(path, lock_timeout=0.0)
    async with holder.lock("k"):
        with pytest.raises(ConfigError, match="another process has held"):
            async with other.lock("k"):
                raise AssertionError


@pytest.mark.parametrize("act", ["save", "flush", "forget", "forget_all"])
async def test_a_write_waits_no_longer_than_its_time_out(tmp_path: Path, act: str) -> None:
    """While another process writes, and nothing is lost: the tokens are written once it has ended."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path, lock_timeout=0.0)
    await store.save("k", make_token("1"))
    store.cache("loc", make_token("2"))
    acts: dict[str, Callable[[], Awaitable[Any]]] = {
        "save": lambda: store.save("k", make_token("3")),
        "flush": store.flush,
        "forget": lambda: store.forget("k"),
        "forget_all": lambda: store.forget_all(""),
    }
    with acquire_lock_blocking(tmp_path / "tokens.json.d" / "lock", timeout=0.0):
        with pytest.raises(ConfigError, match=r"another process has held .* for more than 0 s"):
            await acts[act]()
        assert await store.load("loc") == make_token("2")
    store.cache("loc", make_token("4"))
    await store.flush()
    assert await FileTokenStore(path).load("loc") == make_token("4")


async def test_a_batch_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """With the tokens that came meanwhile, which win over those of the batch."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path, lock_timeout=0.0)
    store.cache("a", make_token("1"))
    await store.flush()
    store.cache("a", make_token("2"))
    store.cache("b", make_token("3"))
    with acquire_lock_blocking(tmp_path / "tokens.json.d" / "lock", timeout=0.0):
        flushed = asyncio.create_task(store.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        store.cache("b", make_token("4"))
        with pytest.raises(ConfigError):
            await flushed
    await store.flush()
    other = FileTokenStore(path)
    assert [await other.load(key) for key in "ab"] == [make_token("2"), make_token("4")]


async def test_a_link_is_followed_instead_of_replaced(tmp_path: Path) -> None:
    """Saving through a link changes its target."""
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    await FileTokenStore(tmp_path / "link.json").save("k", make_token("1"))
    assert (tmp_path / "link.json").is_symlink()
    assert await FileTokenStore(tmp_path / "real.json").load("k") == make_token("1")


async def test_saving_is_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save syncs the file's content, then its name, and then returns."""
    events: list[str] = []
    real_sync, real_commit = os.fsync, DurableTokenFile.commit

    def sync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def commit(self: DurableTokenFile, key: str, token: Token | None) -> None:
        real_commit(self, key, token)
        events.append("committed")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(DurableTokenFile, "commit", commit)
    await FileTokenStore(tmp_path / "tokens.json").save("k", make_token("1"))
    assert events == ["file", "folder", "committed"]
