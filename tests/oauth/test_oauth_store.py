from __future__ import annotations

import asyncio
import builtins
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.oauth import FileTokenStore, MemoryTokenStore, Token, TokenStore, new_key
from phonesys.oauth.durable_file import DurableTokenFile
from phonesys.secret import Secret
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


def made(name: str, *, at: float = 1.0, refresh: str | None = "r") -> Token:
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


async def test_what_is_stored_is_found_as_it_was(store: TokenStore) -> None:
    """Times included: nothing is derived from the moment of loading."""
    assert await store.load("k") is None
    await store.save("k", made("1"))
    store.cache("other", made("2", refresh=None))
    assert await store.load("k") == made("1")
    assert await store.load("other") == made("2", refresh=None)
    await store.save("k", made("3"))
    assert await store.load("k") == made("3")


async def test_what_is_forgotten_is_gone(store: TokenStore) -> None:
    """Whether it was saved or kept."""
    await store.save("k", made("1"))
    store.cache("other", made("2"))
    await store.flush()
    for key in ("k", "other", "never there"):
        await store.forget(key)
        assert await store.load(key) is None


async def test_one_at_a_time_holds_the_lock_of_a_key(store: TokenStore) -> None:
    """Within a process too; and a lock is free again after an error."""
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


async def test_another_process_finds_what_was_written(tmp_path: Path) -> None:
    """Another store on the same file sees what was saved at once, and what was kept after a flush."""
    path = tmp_path / "deep" / "er" / "tokens.json"
    mine, theirs = FileTokenStore(path), FileTokenStore(path)
    assert await theirs.load("k") is None
    for round_ in range(3):
        await mine.save("k", made(f"{round_}"))
        assert await theirs.load("k") == made(f"{round_}")
        mine.cache("loc", made(f"loc-{round_}"))
        await mine.flush()
        assert await theirs.load("loc") == made(f"loc-{round_}")
    await asyncio.gather(*((mine, theirs)[n % 2].save(f"k{n}", made(f"{n}")) for n in range(20)))
    fresh = FileTokenStore(path)
    assert [await fresh.load(f"k{n}") for n in range(20)] == [made(f"{n}") for n in range(20)]


async def test_thousands_of_kept_tokens_are_few_writes(tmp_path: Path, monkeypatch: Any) -> None:
    """5 000 locations' tokens are appended in a batch, and none of them is synced."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    store = FileTokenStore(tmp_path / "tokens.json")
    for n in range(5000):
        store.cache(f"loc_{n}", made(f"{n}"))
    await store.flush()
    assert not synced
    assert (tmp_path / "tokens.json.d" / "kept").read_bytes().count(b"\n") == 1
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc_4999") == made("4999")


async def test_kept_tokens_are_written_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment after the first of them, whoever forgets to flush."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_BEHIND", 0.001)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("loc", made("1"))
    writer = store._writer
    assert writer is not None
    await writer
    assert await FileTokenStore(tmp_path / "tokens.json").load("loc") == made("1")


async def test_nothing_is_left_to_be_written_after_a_flush(tmp_path: Path) -> None:
    """The task that would write later ends with it, whether it sleeps or writes; and begins anew."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    for round_ in range(3):
        store.cache("loc", made(f"{round_}"))
        for _ in range(round_):
            await asyncio.sleep(0)
        await store.flush()
        assert len(asyncio.all_tasks()) == 1
        assert await FileTokenStore(path).load("loc") == made(f"{round_}")


async def test_a_flush_waits_for_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that was taken to be written is in the file when it returns."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_BEHIND", 0.0)
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    store.cache("loc", made("1"))
    while store._kept:  # noqa: ASYNC110 -- until the writer took it
        await asyncio.sleep(0)
    await store.flush()
    assert len(asyncio.all_tasks()) == 1
    assert await FileTokenStore(path).load("loc") == made("1")


async def test_the_journal_stays_small(tmp_path: Path) -> None:
    """Outdated and expired lines are left out once they outweigh the rest."""
    clock = Clock(0.0)
    store = FileTokenStore(tmp_path / "tokens.json", clock=clock)
    file = tmp_path / "tokens.json.d" / "kept"
    for day in range(40):
        clock.now = day * 86_400.0
        for n in range(1000):
            store.cache(f"loc_{n}", made(f"{n}-{day}", at=clock.now))
        await store.flush()
        assert file.stat().st_size < 6 * 2**20
    assert await store.load("loc_7") == made("7-39", at=clock.now)


async def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, also where the file was there before with another; folders 0700."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    await store.save("k", made("1"))
    path.chmod(0o644)
    async with store.lock("k"):
        await store.save("k", made("2"))
    store.cache("loc", made("3"))
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
@pytest.mark.parametrize("which", ["tokens.json", "tokens.json.d/kept"])
async def test_a_damaged_or_foreign_file_is_an_error_and_left_alone(
    tmp_path: Path, content: bytes, which: str
) -> None:
    """Every way to use the store says which file it is; none writes to it, and none shows what is in it."""
    path = tmp_path / which
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content + b"\n" if "kept" in which else content)
    before = path.read_bytes()
    store = FileTokenStore(tmp_path / "tokens.json")
    with pytest.raises(ConfigError, match="left as it is") as failure:
        await store.load("k")
    assert str(path) in str(failure.value)
    assert "PLANTED" not in str(failure.value)
    if "kept" not in which:
        with pytest.raises(ConfigError, match="left as it is"):
            await store.save("k", made("1"))
        with pytest.raises(ConfigError, match="left as it is"):
            async with FileTokenStore(path).lock("other"):
                pass
    assert path.read_bytes() == before


async def test_the_key_that_was_used_is_the_only_one_that_fits(tmp_path: Path) -> None:
    """Another key, no key, a key for a plain file, and what is no key: errors, and the file stays."""
    path, key = tmp_path / "tokens.json", new_key()
    await FileTokenStore(path, key=key).save("k", made("SECRET"))
    assert b"SECRET" not in path.read_bytes()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="does not fit"):
        await FileTokenStore(path, key=new_key()).load("k")
    with pytest.raises(ConfigError, match="is encrypted, and no key was given"):
        await FileTokenStore(path).save("k", made("1"))
    assert path.read_bytes() == before
    assert await FileTokenStore(path, key=Secret(key)).load("k") == made("SECRET")
    plain = tmp_path / "plain.json"
    await FileTokenStore(plain).save("k", made("1"))
    with pytest.raises(ConfigError, match="it is not encrypted"):
        await FileTokenStore(plain, key=key).load("k")
    with pytest.raises(ConfigError, match="not a Fernet key") as failure:
        FileTokenStore(path, key="PLANTED")
    assert "PLANTED" not in repr(failure.value)


async def test_everything_is_encrypted(tmp_path: Path) -> None:
    """Kept tokens and staged ones as well."""
    store = FileTokenStore(tmp_path / "tokens.json", key=new_key())
    store.cache("loc", made("SECRET"))
    await store.flush()
    store._document.stage("k", made("SECRET"))
    written = [file.read_bytes() for file in (tmp_path / "tokens.json.d").iterdir()]
    assert len(written) >= 2
    assert not [raw for raw in written if b"SECRET" in raw]


def test_without_cryptography_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a store without a key does not need it."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    FileTokenStore(tmp_path / "tokens.json")
    with pytest.raises(ConfigError, match=r"phonesys\[crypto\]"):
        FileTokenStore(tmp_path / "tokens.json", key="k")


async def test_what_a_killed_process_staged_is_found_and_committed(tmp_path: Path) -> None:
    """Between the answer and the synced file there is a staged one, which the next process takes up."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    await store.save("k", made("1", at=1.0))
    store._document.stage("k", made("2", at=2.0))  # and then it was killed
    fresh = FileTokenStore(path)
    assert await fresh.load("k") == made("2", at=2.0)
    async with fresh.lock("k"):
        assert json.loads(path.read_bytes())["tokens"]["k"]["access"] == "access-2"
    assert not list((tmp_path / "tokens.json.d").glob("staged-*"))


async def test_a_staged_token_that_was_cut_short_is_ignored(tmp_path: Path) -> None:
    """By a power failure, say: the file that it was to replace still stands."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store.save("k", made("1"))
    store._document.stage("k", made("2", at=2.0))
    (staged,) = (tmp_path / "tokens.json.d").glob("staged-*")
    staged.write_bytes(staged.read_bytes()[:-20])
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == made("1")


async def test_a_line_that_was_cut_short_does_not_spoil_the_journal(tmp_path: Path) -> None:
    """A process killed while it appended costs its own batch, and nobody else's."""
    path = tmp_path / "tokens.json"
    store = FileTokenStore(path)
    store.cache("one", made("1"))
    await store.flush()
    journal = tmp_path / "tokens.json.d" / "kept"
    journal.write_bytes(journal.read_bytes() + b'{"format":"phonesys-to')
    other = FileTokenStore(path)
    assert await other.load("one") == made("1")
    other.cache("two", made("2"))
    await other.flush()
    assert [await store.load(key) for key in ("one", "two")] == [made("1"), made("2")]


async def test_a_store_that_cannot_be_written_fails_before_the_token_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking the lock tries out what saving will need: a full disk is noticed in time."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    store = FileTokenStore(tmp_path / "tokens.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        async with store.lock("k"):
            raise AssertionError
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        async with FileTokenStore(blocked / "tokens.json").lock("k"):
            raise AssertionError


async def test_a_lock_that_is_held_too_long_is_an_error(tmp_path: Path) -> None:
    """Patience ends: a process that hangs does not hang the others for ever."""
    path = tmp_path / "tokens.json"
    holder, other = FileTokenStore(path), FileTokenStore(path, patience=0.0)
    async with holder.lock("k"):
        with pytest.raises(ConfigError, match="another process has held"):
            async with other.lock("k"):
                raise AssertionError


async def test_a_link_is_followed_instead_of_replaced(tmp_path: Path) -> None:
    """The file that a link points to is the one that changes."""
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    await FileTokenStore(tmp_path / "link.json").save("k", made("1"))
    assert (tmp_path / "link.json").is_symlink()
    assert await FileTokenStore(tmp_path / "real.json").load("k") == made("1")


async def test_saving_is_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's content, then its name, and only then does `save` return."""
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
    await FileTokenStore(tmp_path / "tokens.json").save("k", made("1"))
    assert events == ["file", "folder", "committed"]
