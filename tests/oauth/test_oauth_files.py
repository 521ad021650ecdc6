"""The files of a token store: what is in them after each step, and what their errors say."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.oauth import FileTokenStore, Token
from phonesys.oauth.codec import Codec
from phonesys.oauth.durable_file import DurableTokenFile
from phonesys.oauth.lock import acquire_lock_blocking
from phonesys.secret import Secret
from tests.conftest import PATIENCE
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

YEAR = 365 * 86_400.0
CODEC = Codec(None)


def token(name: str, *, at: float = 1000.0, lifetime: float | None = 1000.0, refresh: bool = False) -> Token:
    return Token(
        access=Secret(name),
        refresh=Secret(f"refresh-{name}") if refresh else None,
        obtained_at=at,
        expires_at=None if lifetime is None else at + lifetime,
    )


def failing(number: int) -> Callable[..., Any]:
    def fail(*arguments: Any, **_: Any) -> Any:
        raise OSError(number, os.strerror(number), *[str(arguments[0])] if arguments else [])

    return fail


def staging(tmp_path: Path) -> DurableTokenFile:
    folder = tmp_path / "tokens.json.d"
    folder.mkdir(mode=0o700, exist_ok=True)
    return DurableTokenFile(tmp_path / "tokens.json", folder, CODEC, lock_timeout=1.0)


@pytest.mark.parametrize(("at", "found"), [(999.0, "saved"), (1000.0, "staged"), (1001.0, "staged")])
async def test_a_staged_token_is_used_unless_it_is_older(tmp_path: Path, at: float, found: str) -> None:
    """It was not committed because its process ended, or was replaced by one that was."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store.save("k", token("saved"))
    staging(tmp_path).stage("k", token("staged", at=at))
    assert await store.load("k") == token(found, at=at if found == "staged" else 1000.0)
    assert await store.load("other") is None


async def test_a_staged_token_of_another_key_stays(tmp_path: Path) -> None:
    """A lock commits the token of its own key, and no other."""
    staging(tmp_path).stage("a", token("1"))
    staging(tmp_path).stage("b", token("2"))
    store = FileTokenStore(tmp_path / "tokens.json")
    async with store.lock("a"):
        assert CODEC.decode((tmp_path / "tokens.json").read_bytes(), "") == {"a": token("1")}
    assert [await store.load(key) for key in "ab"] == [token("1"), token("2")]


async def test_a_save_keeps_the_other_tokens(tmp_path: Path) -> None:
    """In one line, which is the whole file; a forgotten one leaves no trace."""
    store, path = FileTokenStore(tmp_path / "tokens.json"), tmp_path / "tokens.json"
    for name in "abc":
        await store.save(name, token(name))
    await store.save("b", token("new"))
    await store.forget("a")
    assert path.read_bytes() == CODEC.encode({"b": token("new"), "c": token("c")})
    assert [each.name for each in (tmp_path / "tokens.json.d").iterdir() if "staged" in each.name] == []
    await store.forget("nothing")
    assert path.read_bytes() == CODEC.encode({"b": token("new"), "c": token("c")})


async def test_a_save_that_is_cancelled_is_done_all_the_same(tmp_path: Path) -> None:
    """The token is with the operating system before the caller can be interrupted."""
    store = FileTokenStore(tmp_path / "tokens.json")
    task = asyncio.create_task(store.save("k", token("1")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == token("1")


async def test_a_staged_token_replaces_what_stands_in_its_place(tmp_path: Path) -> None:
    """A link is not followed, and an open mode not kept."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    staging(tmp_path).stage("k", token("1"))
    (staged,) = (tmp_path / "tokens.json.d").iterdir()
    staged.unlink()
    staged.symlink_to(target)
    staging(tmp_path).stage("k", token("2"))
    assert target.read_bytes() == b"precious"
    assert not staged.is_symlink()
    assert staged.read_bytes() == CODEC.encode({"k": token("2")})
    assert stat.S_IMODE(staged.stat().st_mode) == 0o600


async def test_the_disk_has_room_for_another_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the refresh token is spent, as much is written and synced as a save needs, and 16 KiB more."""
    store, path = FileTokenStore(tmp_path / "tokens.json"), tmp_path / "tokens.json"
    await store.save("k", token("1"))
    size, inode = path.stat().st_size, path.stat().st_ino
    sizes: list[int] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    async with store.lock("k"):
        assert sizes[0] == size + 16_384
    assert sizes[1] == size
    assert path.read_bytes() == CODEC.encode({"k": token("1")})
    assert path.stat().st_ino != inode  # the replacement was rehearsed
    assert not [each for each in (tmp_path / "tokens.json.d").iterdir() if "probe" in each.name]


REMEDY = "if the file is a mount of its own, mount its folder instead"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EBUSY, f" cannot be replaced: Device or resource busy; {REMEDY}"),
        (errno.EXDEV, f" cannot be replaced: Invalid cross-device link; {REMEDY}"),
        (errno.EACCES, ": Permission denied"),
    ],
)
async def test_a_file_that_cannot_be_replaced_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    """With the reason, and with what to do about a mount. The token stays staged."""
    store, path = FileTokenStore(tmp_path / "tokens.json"), tmp_path / "tokens.json"
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", failing(number))
        with pytest.raises(ConfigError) as caught:
            await store.save("k", token("1"))
    assert str(caught.value) == f"token store: {path}{reason}"
    assert caught.value.__context__ is None
    assert await store.load("k") == token("1")


async def test_a_token_that_cannot_be_staged_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the file and the reason."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store.save("k", token("1"))
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", failing(errno.EROFS))
        with pytest.raises(ConfigError, match=r"token store: .*/staged-[0-9a-f]{16}: Read-only file system$"):
            await store.save("k", token("2"))
    assert await FileTokenStore(tmp_path / "tokens.json").load("k") == token("1")


async def test_what_is_no_file_cannot_be_read_or_written(tmp_path: Path) -> None:
    """A folder in its place is an error that names it."""
    (tmp_path / "tokens.json").mkdir()
    with pytest.raises(ConfigError) as caught:
        await FileTokenStore(tmp_path / "tokens.json").load("k")
    path = tmp_path / "tokens.json"
    assert str(caught.value) == f"token store: {path} cannot be read: Is a directory"


async def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, and its tokens stay in memory."""
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("a", token("a"))
    await store.flush()
    store.cache("b", token("b"))
    cache = tmp_path / "tokens.json.d" / "cache"
    real = os.open

    def full(path: Any, flags: int, *arguments: Any) -> int:
        if path == cache and flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, flags, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(ConfigError) as caught:
            await store.flush()
        assert str(caught.value) == f"token store: {cache} cannot be written: No space left on device"
        assert [await store.load(key) for key in "ab"] == [token("a"), token("b")]
    await store.flush()
    assert await FileTokenStore(tmp_path / "tokens.json").load("b") == token("b")


async def test_a_folder_that_cannot_be_made_or_read_is_named(tmp_path: Path) -> None:
    """With the reason."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = FileTokenStore(blocked / "tokens.json")
    with pytest.raises(ConfigError) as caught:
        await store.save("k", token("1"))
    assert str(caught.value) == f"token store: {blocked / 'tokens.json.d'} cannot be created: Not a directory"
    with pytest.raises(ConfigError) as unread:
        await store.load("k")
    assert str(unread.value) == f"token store: {blocked / 'tokens.json.d'} cannot be read: Not a directory"


async def test_forgetting_nothing_rewrites_nothing(tmp_path: Path) -> None:
    """Files stay as they are."""
    store, path = FileTokenStore(tmp_path / "tokens.json"), tmp_path / "tokens.json"
    await store.save("a", token("1"))
    store.cache("b", token("2"))
    await store.flush()
    cache = tmp_path / "tokens.json.d" / "cache"
    before = [(each.stat().st_ino, each.read_bytes()) for each in (path, cache)]
    assert await store.forget_all("x") == 0
    assert [(each.stat().st_ino, each.read_bytes()) for each in (path, cache)] == before


@pytest.mark.parametrize(
    ("kept", "at"),
    [
        (token("a"), 2000.0),
        (token("a", lifetime=None), YEAR * 10),
        (token("a", refresh=True), 1000.0 + YEAR),
        (token("a", lifetime=None, refresh=True), 1000.0 + YEAR),
    ],
    ids=["an access token", "one without an end", "one with a refresh token", "one with both"],
)
async def test_a_rewritten_cache_holds_what_may_still_serve(tmp_path: Path, kept: Token, at: float) -> None:
    """A token until it expires, and one with a refresh token for a year."""
    clock = Clock(at - 0.5)
    store = FileTokenStore(tmp_path / "tokens.json", clock=clock)
    cache = tmp_path / "tokens.json.d" / "cache"
    for now, expected in (
        (at - 0.5, {"k": kept}),
        (at, {} if kept.expires_at or kept.refresh else {"k": kept}),
    ):
        clock.now = now
        store.cache("k", kept)
        store.cache("x", token("x"))
        await store.flush()
        assert await store.forget_all("x") == 1
        assert CODEC.decode(cache.read_bytes(), "") == expected


async def test_a_cache_that_another_process_rewrote_is_read_again(tmp_path: Path) -> None:
    """A shorter file of the same name, or none, holds what it holds and nothing more."""
    mine, theirs = (FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0)) for _ in range(2))
    for key in ("app/1", "app/2", "other"):
        mine.cache(key, token(key))
    await mine.flush()
    assert await theirs.load("app/1") == token("app/1")
    assert await mine.forget_all("app/") == 2
    assert [await theirs.load(key) for key in ("app/1", "other")] == [None, token("other")]
    cache = tmp_path / "tokens.json.d" / "cache"
    cache.write_bytes(CODEC.encode({"z": token("z")}))
    assert [await theirs.load(key) for key in ("other", "z")] == [None, token("z")]
    cache.unlink()
    assert await theirs.load("z") is None
    theirs.cache("y", token("y"))
    await theirs.flush()
    assert await mine.load("y") == token("y")


async def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    """Another process may be in the middle of it."""
    store = FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0))
    store.cache("a", token("a"))
    await store.flush()
    cache, line = tmp_path / "tokens.json.d" / "cache", CODEC.encode({"b": token("b")})
    with cache.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert [await store.load(key) for key in "ab"] == [token("a"), None]
        file.write(line[20:])
    assert [await store.load(key) for key in "ab"] == [token("a"), token("b")]


async def test_a_write_in_the_background_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the next token. The log says why."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 0.0)
    (tmp_path / "tokens.json.d").symlink_to(tmp_path)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("a", token("a"))
    (writer,) = asyncio.all_tasks() - {asyncio.current_task()}
    await writer
    assert [(record.levelname, record.getMessage().partition(" cannot")[0]) for record in caplog.records] == [
        ("WARNING", f"cached tokens were not written: token store: {tmp_path / 'tokens.json.d'}")
    ]
    (tmp_path / "tokens.json.d").unlink()
    store.cache("b", token("b"))
    (writer,) = asyncio.all_tasks() - {asyncio.current_task()}
    await writer
    other = FileTokenStore(tmp_path / "tokens.json")
    assert [await other.load(key) for key in "ab"] == [token("a"), token("b")]


def test_tokens_of_an_event_loop_that_has_ended_are_written_by_the_next(tmp_path: Path) -> None:
    """It ended before its background task had written them."""
    store = FileTokenStore(tmp_path / "tokens.json")

    async def cache() -> None:
        store.cache("a", token("a"))

    asyncio.run(cache())
    asyncio.run(store.flush())
    assert asyncio.run(FileTokenStore(tmp_path / "tokens.json").load("a")) == token("a")


async def test_a_cache_is_rewritten_once_outdated_lines_outweigh_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never synced, since its tokens can be fetched again."""
    monkeypatch.setattr("phonesys.oauth.cache_file._MIN_COMPACT_SIZE", 100)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    store, cache = (
        FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0)),
        tmp_path / "tokens.json.d/cache",
    )
    whole, sizes = CODEC.encode({f"k{number}": token(f"{number}") for number in range(20)}), list[int]()
    for _ in range(12):
        for number in range(20):
            store.cache(f"k{number}", token(f"{number}"))
        await store.flush()
        sizes.append(cache.stat().st_size // len(whole))
    assert sizes == [1, 2] + [3, 2] * 5
    assert await FileTokenStore(tmp_path / "tokens.json").load("k7") == token("7")


async def test_a_damaged_cache_is_named_and_its_successor_is_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log, with the name that it has now. The successor is private before it has its name."""
    modes: list[int] = []
    real = type(tmp_path).replace

    def replace(path: Path, target: Path) -> Path:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return real(path, target)

    cache = tmp_path / "tokens.json.d" / "cache"
    cache.parent.mkdir(mode=0o700)
    cache.write_bytes(b"damaged\n")
    cache.chmod(0o600)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("k", token("1"))
    monkeypatch.setattr("pathlib.Path.replace", replace)
    await store.flush()
    assert modes == [0o600, 0o600]
    assert caplog.messages == [
        f"token store: {cache} was damaged or has another key; it is now cache-unreadable"
    ]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert cache.read_bytes() == CODEC.encode({}) + CODEC.encode({"k": token("1")})


async def test_a_cache_that_was_replaced_by_a_larger_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    """It holds none of the tokens that the one before held."""
    store = FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0))
    store.cache("a", token("a"))
    await store.flush()
    assert await store.load("a") == token("a")
    cache, other = tmp_path / "tokens.json.d" / "cache", tmp_path / "other"
    other.write_bytes(CODEC.encode({f"b{number}": token("b") for number in range(9)}))
    other.chmod(0o600)
    other.replace(cache)
    assert [await store.load(key) for key in ("a", "b0", "b8")] == [None, token("b"), token("b")]


async def test_a_long_line_that_was_cut_short_leaves_nothing(tmp_path: Path) -> None:
    """The next line stands in its place, and nothing follows it."""
    store = FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0))
    store.cache("a", token("a"))
    await store.flush()
    cache = tmp_path / "tokens.json.d" / "cache"
    with cache.open("ab") as file:
        file.write(b'{"format":"phonesys-tokens",' + b" " * 5000)
    store.cache("b", token("b"))
    await store.flush()
    assert cache.read_bytes() == CODEC.encode({"a": token("a")}) + CODEC.encode({"b": token("b")})


@pytest.mark.parametrize("act", ["save", "forget_all", "lock"])
async def test_every_change_names_the_file_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """And leaves the one that is there."""
    store, path = FileTokenStore(tmp_path / "tokens.json"), tmp_path / "tokens.json"
    await store.save("k", token("1"))
    before = path.read_bytes()

    async def lock() -> None:
        async with store.lock("k"):
            raise AssertionError

    acts: dict[str, Callable[[], Any]] = {
        "save": lambda: store.save("k", token("2")),
        "forget_all": lambda: store.forget_all("k"),
        "lock": lock,
    }
    monkeypatch.setattr("pathlib.Path.replace", failing(errno.EACCES))
    with pytest.raises(ConfigError) as caught:
        await acts[act]()
    assert str(caught.value) == f"token store: {path}: Permission denied"
    assert path.read_bytes() == before


async def test_forgetting_waits_for_the_lock_of_the_main_file(tmp_path: Path) -> None:
    """Another process may be writing it."""
    folder = tmp_path / "tokens.json.d"
    main = staging(tmp_path)
    main.commit("k", token("1"))
    impatient = DurableTokenFile(tmp_path / "tokens.json", folder, CODEC, lock_timeout=0.0)
    with acquire_lock_blocking(folder / "lock", timeout=0.0):
        for act in (lambda: impatient.delete("k"), lambda: impatient.ensure_writable("k")):
            with pytest.raises(ConfigError, match="another process has held"):
                act()
    assert main.delete("k") == {"k"}


async def test_a_staged_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """If it is damaged. One that was cut short never counted, and stays as it is."""
    store = FileTokenStore(tmp_path / "tokens.json")
    staging(tmp_path).stage("k", token("1"))
    (staged,) = (tmp_path / "tokens.json.d").iterdir()
    whole = staged.read_bytes()
    staged.write_bytes(whole[:-20])
    assert await store.load("k") is None
    assert await store.forget_all("") == 0
    staged.write_bytes(b"damaged\n")
    for act in (store.load("k"), store.forget_all("")):
        with pytest.raises(ConfigError) as caught:
            await act
        assert str(caught.value).startswith(f"token store: {staged} cannot be used: it is damaged")


async def test_a_rehearsal_keeps_the_file_byte_for_byte(tmp_path: Path) -> None:
    """Also one that was written by hand. One that cannot be used is named."""
    path, store = tmp_path / "tokens.json", FileTokenStore(tmp_path / "tokens.json")
    by_hand = b'{ "format": "phonesys-tokens",\n  "version": 1, "tokens": {} }\n'
    path.write_bytes(by_hand)
    async with store.lock("k"):
        assert path.read_bytes() == by_hand
    path.write_bytes(b"damaged\n")
    with pytest.raises(ConfigError) as caught:
        async with store.lock("k"):
            raise AssertionError
    assert str(caught.value).startswith(f"token store: {path} cannot be used: it is damaged")


async def test_a_full_disk_is_the_error_of_a_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if not a byte of the probe could be written."""
    store = FileTokenStore(tmp_path / "tokens.json")
    real = os.open

    def full(path: Any, flags: int, *arguments: Any) -> int:
        if "probe" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, flags, *arguments)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(ConfigError) as caught:
        async with store.lock("k"):
            raise AssertionError
    assert str(caught.value) == f"token store: {tmp_path / 'tokens.json'}: No space left on device"


async def test_a_successor_is_written_where_only_the_owner_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder beside the file, and private before it has its name."""
    written: list[tuple[str, int]] = []
    real = type(tmp_path).replace

    def replace(path: Path, target: Path) -> Path:
        written.append((path.parent.name, stat.S_IMODE(path.stat().st_mode)))
        return real(path, target)

    monkeypatch.setattr("pathlib.Path.replace", replace)
    await FileTokenStore(tmp_path / "tokens.json").save("k", token("1"))
    assert written == [("tokens.json.d", 0o600)]


def test_a_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it changes: thousands of locations ask for their tokens."""
    main, decoded = staging(tmp_path), list[str]()
    main.commit("k", token("1"))
    real = Codec.decode

    def decode(codec: Codec, raw: bytes, source: str) -> Any:
        decoded.append(source)
        return real(codec, raw, source)

    monkeypatch.setattr(Codec, "decode", decode)
    for _ in range(10):
        assert main.find("k") == token("1")
    assert decoded == [str(tmp_path / "tokens.json")]
    staging(tmp_path).commit("k", token("2"))
    decoded.clear()
    assert main.find("k") == token("2")
    assert len(decoded) == 1


def test_a_file_that_is_planted_in_the_last_moment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the one before it was removed, and before the token is staged."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    staging(tmp_path).stage("k", token("1"))
    (staged,) = (tmp_path / "tokens.json.d").iterdir()
    staged.unlink()
    staged.hardlink_to(target)
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="File exists"):
        staging(tmp_path).stage("k", token("2"))
    assert target.read_bytes() == b"precious"


async def test_only_the_first_look_is_taken_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the whole file; others read what was added, which is nothing for most."""
    store, threads = FileTokenStore(tmp_path / "tokens.json"), list[object]()
    await store.save("k", token("1"))
    real = asyncio.to_thread

    async def counted(function: Callable[..., Any], *arguments: Any) -> Any:
        threads.append(function)
        return await real(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    for _ in range(3):
        assert await store.load("k") == token("1")
    assert len(threads) == 1


async def test_a_cached_token_is_forgotten_by_all(tmp_path: Path) -> None:
    """Its deletion is a line like others, which other processes read."""
    store, other = (FileTokenStore(tmp_path / "tokens.json", clock=Clock(1000.0)) for _ in range(2))
    store.cache("loc", token("1"))
    await store.flush()
    assert await other.load("loc") == token("1")
    await store.forget("loc")
    assert await other.load("loc") is None
    other.cache("x", token("x"))
    await other.flush()
    lines = (tmp_path / "tokens.json.d" / "cache").read_bytes().splitlines(keepends=True)
    assert [CODEC.decode(line, "") for line in lines] == [
        {"loc": token("1")}, {"loc": None}, {"x": token("x")},
    ]  # fmt: skip


async def test_a_flush_ends_a_writer_that_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an earlier one has written."""
    store = FileTokenStore(tmp_path / "tokens.json")
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 0.0)
    store.cache("a", token("a"))
    (writer,) = asyncio.all_tasks() - {asyncio.current_task()}
    await writer
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 10 * PATIENCE)
    store.cache("b", token("b"))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await store.flush()
    assert await FileTokenStore(tmp_path / "tokens.json").load("b") == token("b")


async def test_a_batch_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush waits for the write that runs, and has nothing else to write."""
    monkeypatch.setattr("phonesys.oauth.file._WRITE_DELAY", 0.0)
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("a", token("a"))
    while store._pending:  # noqa: ASYNC110 -- until the writer took it
        await asyncio.sleep(0)
    await store.flush()
    assert (tmp_path / "tokens.json.d" / "cache").read_bytes() == CODEC.encode({"a": token("a")})


async def test_a_cache_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, and without the file's content in the error."""
    store = FileTokenStore(tmp_path / "tokens.json")
    store.cache("a", token("a"))
    await store.flush()
    cache = tmp_path / "tokens.json.d" / "cache"
    real = os.open

    def denied(path: Any, flags: int, *arguments: Any) -> int:
        if path == cache:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, *arguments)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ConfigError) as caught:
        await store.load("a")
    assert str(caught.value) == f"token store: {cache}: Permission denied"
    assert caught.value.__context__ is None
