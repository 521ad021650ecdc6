from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.oauth import FileTokenStore
from phonesys.oauth.codec import Codec
from tests.oauth.agencies import agency, backend, refreshes, store_of
from tests.oauth.test_oauth_store import make_token

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

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
