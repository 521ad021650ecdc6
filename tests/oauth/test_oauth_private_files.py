from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.oauth import FileTokenStore
from phonesys.oauth.codec import Codec
from phonesys.oauth.private_files import (
    check_private_folder,
    create_private_folder,
    open_private,
    read_private,
)
from tests.oauth.agencies import agency, backend, refreshes, store_of
from tests.oauth.test_oauth_store import make_token

if TYPE_CHECKING:
    from collections.abc import Generator

    from phonesys.sandbox import Sandbox

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")


async def use(store: FileTokenStore) -> None:
    """Read, cache and save: everything that touches the folder beside the file."""
    await store.load("k")
    store.cache("location", make_token("1"))
    await store.flush()
    await store.save("k", make_token("2"))


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_a_folder_of_another_user_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could read the tokens of locations, and hand out others."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await use(store)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    for opened in (store, FileTokenStore(tmp_path / "tokens.json")):
        with pytest.raises(ConfigError, match="belongs to another user"):
            await opened.load("k")
        with pytest.raises(ConfigError, match="belongs to another user"):
            await opened.save("k", make_token("3"))
        opened.cache("location", make_token("3"))
        with pytest.raises(ConfigError, match="belongs to another user"):
            await opened.flush()
        with pytest.raises(ConfigError, match="belongs to another user"):
            async with opened.lock("k"):
                raise AssertionError


async def test_a_folder_that_is_a_link_is_rejected(tmp_path: Path) -> None:
    """Tokens would be written wherever it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "tokens.json.d").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="it is not a folder"):
        await use(FileTokenStore(tmp_path / "tokens.json"))
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["cache", "lock"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
async def test_a_planted_link_is_rejected(tmp_path: Path, name: str, kind: str) -> None:
    """A link in the folder overwrites nothing."""
    target = tmp_path / "target"
    target.write_bytes(b"precious\n")
    folder = tmp_path / "tokens.json.d"
    folder.mkdir()
    (folder / name).symlink_to(target) if kind == "symbolic" else (folder / name).hardlink_to(target)
    with pytest.raises(ConfigError, match="cannot be trusted"):
        await use(FileTokenStore(tmp_path / "tokens.json"))
    assert target.read_bytes() == b"precious\n"


async def test_open_modes_are_tightened(tmp_path: Path) -> None:
    """A folder and files that others may read are theirs no longer after the first use."""
    folder = tmp_path / "tokens.json.d"
    await use(FileTokenStore(tmp_path / "tokens.json"))
    folder.chmod(0o777)
    for path in folder.iterdir():
        path.chmod(0o666)
    store = FileTokenStore(tmp_path / "tokens.json")
    await use(store)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes(folder) == {0o600}


def busy(*_: Any) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


async def test_a_file_that_cannot_be_replaced_costs_no_refresh_token(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replacement is rehearsed before the refresh token is spent."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store_of(sandbox, store, expired=True)
    before = (tmp_path / "tokens.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", busy)
        async with backend(sandbox, agency(sandbox, store)) as lc:
            with pytest.raises(ConfigError, match="mount its folder instead"):
                await lc.page(sandbox.location_ids[0])
    assert refreshes(sandbox) == 0
    assert (tmp_path / "tokens.json").read_bytes() == before


async def test_a_rehearsal_leaves_no_file(tmp_path: Path) -> None:
    """Entering the lock of a store without a file tries the replacement, and leaves none behind."""
    store = FileTokenStore(tmp_path / "tokens.json")
    async with store.lock("k"):
        assert not (tmp_path / "tokens.json").exists()
    assert {path.name[:4] for path in (tmp_path / "tokens.json.d").iterdir()} == {"lock"}


@pytest.fixture
def mounted(tmp_path: Path) -> Generator[Path]:
    """A token file that is a mount point, as with `docker run -v tokens.json:/…/tokens.json`."""
    path, source = tmp_path / "container" / "tokens.json", tmp_path / "host.json"
    path.parent.mkdir()
    path.touch()
    source.write_bytes(Codec(None).encode({"k": make_token("1")}))
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "--bind", source, path], check=False, capture_output=True)  # noqa: S603
    if not made or made.returncode:
        pytest.skip("this user may not mount files")
    yield path
    subprocess.run(["umount", path], check=True)  # noqa: S603, S607


async def test_a_mounted_file_is_rejected_before_a_token_is_spent(mounted: Path) -> None:
    """The file's mount stays as it was, and the error names the remedy."""
    store = FileTokenStore(mounted)
    with pytest.raises(ConfigError, match="mount its folder instead"):
        async with store.lock("k"):
            raise AssertionError
    assert await store.load("k") == make_token("1")


def refusal(path: Path, reason: str) -> str:
    return f"token store: {path} cannot be trusted: {reason}; remove it, or choose another path"


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_what_another_user_could_have_planted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason and what to do, and no descriptor stays open."""
    target, link, twin = tmp_path / "target", tmp_path / "link", tmp_path / "twin"
    target.write_bytes(b"x")
    link.symlink_to(target)
    twin.hardlink_to(target)
    before = descriptors()
    for path, reason in (
        (link, "it is a link"),
        (twin, "it is not an ordinary file with one name"),
        (tmp_path, "it is not an ordinary file with one name"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_private(path)
        assert str(caught.value) == refusal(path, reason)
    twin.unlink()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError) as caught:
        read_private(target)
    assert str(caught.value) == refusal(target, f"it belongs to another user ({os.getuid()})")
    with pytest.raises(ConfigError) as caught:
        check_private_folder(tmp_path)
    assert str(caught.value) == refusal(tmp_path, f"it belongs to another user ({os.getuid()})")
    assert descriptors() == before


def test_a_private_file_is_read_whole_or_is_missing(tmp_path: Path) -> None:
    """Its mode is tightened where others could read it."""
    path = tmp_path / "file"
    assert read_private(path) is None
    path.write_bytes(b"abc\n")
    for mode in (0o604, 0o640, 0o610, 0o600, 0o400):
        path.chmod(mode)
        assert read_private(path) == b"abc\n"
        assert stat.S_IMODE(path.stat().st_mode) == (mode if mode in {0o600, 0o400} else 0o600)


def refuse(*_: Any) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first moment on, so that no mode has to be changed."""
    monkeypatch.setattr(os, "fchmod", refuse)
    mask = os.umask(0)
    try:
        os.close(open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT))
        create_private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    create_private_folder(tmp_path / "a" / "b")
    assert check_private_folder(tmp_path / "a" / "b") is True


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    """A program that is started meanwhile would hold the lock."""
    descriptor = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert os.get_inheritable(descriptor) is False
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    """When it is made, and when it is looked at."""
    path = tmp_path / "folder"
    path.write_text("") if kind == "file" else path.symlink_to(tmp_path if kind == "link" else tmp_path / "x")
    for act in (create_private_folder, check_private_folder):
        with pytest.raises(ConfigError) as caught:
            act(path)
        assert str(caught.value) == refusal(path, "it is not a folder")


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o705, 0o710, 0o701])
def test_a_folder_is_tightened(tmp_path: Path, mode: int) -> None:
    """It exists, or it does not; both are said."""
    folder = tmp_path / "folder"
    assert check_private_folder(folder) is False
    folder.mkdir()
    folder.chmod(mode)
    assert check_private_folder(folder) is True
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_tightened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others could read what is written there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o777)

    before = descriptors()
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(ConfigError) as caught:
        check_private_folder(folder)
    assert str(caught.value) == f"token store: {folder} is open to others: Operation not permitted"
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_replaces_a_folder_in_the_last_moment_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """After it was looked at, and before its mode is changed."""
    target, path = tmp_path / "target", tmp_path / "folder"
    target.mkdir()
    target.chmod(0o777)
    looked_at = target.lstat()
    if kind == "link":
        path.symlink_to(target)
    else:
        path.write_bytes(b"")
        path.chmod(0o666)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.lstat", lambda _path: looked_at)
        with pytest.raises(ConfigError, match=r"is open to others: (Not a directory|Too many levels)"):
            check_private_folder(path)
    assert stat.S_IMODE(target.stat().st_mode) == 0o777
    assert stat.S_IMODE(path.stat().st_mode) == (0o777 if kind == "link" else 0o666)
