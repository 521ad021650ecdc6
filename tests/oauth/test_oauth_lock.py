"""Locks between processes: how long and how often they are tried, and what their errors say."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError
from phonesys.oauth.lock import acquire_lock, acquire_lock_blocking, try_lock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


class Holder:
    """Another process that holds a lock, on a clock of its own, and releases it at some time."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, *, until: float) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self._until = 1000.0 + until
        self._lock: AbstractContextManager[bool] = try_lock(path)
        assert self._lock.__enter__()
        self._is_held = True
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.pause)
        monkeypatch.setattr(asyncio, "sleep", self.pause_async)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now = round(self.now + seconds, 6)
        if self.now >= self._until:
            self.release()

    async def pause_async(self, seconds: float) -> None:
        self.pause(seconds)

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._lock.__exit__(None, None, None)


async def test_a_lock_is_tried_less_and_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From two milliseconds up to fifty, until it is free."""
    path = tmp_path / "lock"
    holder = Holder(path, monkeypatch, until=0.2)
    async with acquire_lock(path, timeout=0.3):
        with try_lock(path) as acquired:
            assert acquired is False
    assert holder.pauses == [0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05]
    with try_lock(path) as acquired:
        assert acquired is True


def test_a_thread_tries_a_lock_every_two_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes are short."""
    path = tmp_path / "lock"
    holder = Holder(path, monkeypatch, until=0.01)
    with acquire_lock_blocking(path, timeout=0.3), try_lock(path) as acquired:
        assert acquired is False
    assert holder.pauses == [0.002] * 5


async def hold(path: Path, seconds: float) -> None:
    async with acquire_lock(path, timeout=seconds):
        raise AssertionError


async def hold_blocking(path: Path, seconds: float) -> None:
    with acquire_lock_blocking(path, timeout=seconds):
        raise AssertionError


@pytest.mark.parametrize(
    ("held", "seconds", "pauses"),
    [
        (hold, 0.0, [0.002]),
        (hold, 0.006, [0.002, 0.004, 0.008]),
        (hold_blocking, 0.0, [0.002]),
        (hold_blocking, 0.006, [0.002] * 4),
    ],
)
async def test_a_lock_that_stays_held_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Any, seconds: float, pauses: list[float]
) -> None:
    """After the time-out, which the error names beside the file. Nothing is held afterwards."""
    path = tmp_path / "lock"
    holder = Holder(path, monkeypatch, until=9.0)
    with pytest.raises(ConfigError) as caught:
        await held(path, seconds)
    assert str(caught.value) == f"token store: another process has held {path} for more than {seconds:g} s"
    assert holder.pauses == pauses
    holder.release()
    with try_lock(path) as acquired:
        assert acquired


@pytest.mark.parametrize("kind", [acquire_lock_blocking, lambda path, **_: try_lock(path)])
def test_a_lock_in_a_folder_that_is_gone_is_an_error(tmp_path: Path, kind: Any) -> None:
    """It names the file and the reason."""
    path = tmp_path / "gone" / "lock"
    with pytest.raises(ConfigError) as caught, kind(path, timeout=0.0):
        raise AssertionError
    assert str(caught.value) == f"token store: {path} cannot be opened: No such file or directory"


def test_a_block_that_fails_releases_its_lock(tmp_path: Path) -> None:
    """In either kind."""
    path = tmp_path / "lock"
    for lock in (acquire_lock_blocking(path, timeout=0.0), try_lock(path)):
        with pytest.raises(ZeroDivisionError), lock:
            _ = 1 / 0
    with try_lock(path) as acquired:
        assert acquired
