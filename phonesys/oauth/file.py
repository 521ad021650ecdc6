"""A token store that survives crashes, and that several processes can share."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from phonesys._concurrency import wait_finished
from phonesys.errors import ConfigError, InvalidArgument, PhonesysError
from phonesys.oauth.cache_file import TokenCacheFile
from phonesys.oauth.cipher import FernetCipher
from phonesys.oauth.codec import Codec
from phonesys.oauth.durable_file import DurableTokenFile
from phonesys.oauth.lock import locked

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable

    from phonesys.oauth.codec import Tokens
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("phonesys")

_WRITE_BEHIND = 1.0


class FileTokenStore:
    """Tokens in a file of mode 0600, and beside it a folder (`….d`) for locks and for tokens of locations.

    What is saved is synced to the disk before `save` returns, and replaces the file as a whole. Processes
    that share the file refresh a token once between them; a lock ends with the process that holds it. A file
    that is damaged, foreign or encrypted with another key is a ConfigError, and is never overwritten.

    - `key`: encrypts everything that is written; see `phonesys.oauth.new_key`. Needs `phonesys[crypto]`.
    - `patience`: seconds to wait for another process that is refreshing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | Secret | None = None,
        patience: float = 120.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # A link is followed now: replacing it by a file would leave the old token where it points to.
        self._path = _resolved(path)
        self._folder = self._path.with_name(self._path.name + ".d")
        self._patience = patience
        codec = Codec(None if key is None else FernetCipher(key))
        self._document = DurableTokenFile(self._path, self._folder, codec, patience=patience)
        self._journal = TokenCacheFile(
            self._folder / "kept", self._folder, codec, patience=patience, clock=clock
        )
        self._kept: Tokens = {}
        self._writer: asyncio.Task[None] | None = None
        self._writer_writes = False
        self._was_read = False

    async def load(self, key: str) -> Token | None:
        """Find a token; after the first time, what others wrote since is read in passing."""
        if self._was_read:
            return _told(self._find, key)
        found = await _in_thread(self._find, key)
        self._was_read = True
        return found

    def _find(self, key: str) -> Token | None:
        if key in self._kept:
            return self._kept[key]
        return self._document.find(key) or self._journal.find(key)

    async def save(self, key: str, token: Token) -> None:
        """Write a token; on return it is on the disk."""
        self._make_folder()
        _told(self._document.stage, key, token)  # before anything else can happen to this process
        await _in_thread(self._document.commit, key, token)

    def cache(self, key: str, token: Token) -> None:
        """Take a token that can be had again; it is written within a second, together with others."""
        self._kept[key] = token
        self._write_soon()

    async def forget(self, key: str) -> None:
        """Drop a token."""
        self._make_folder()
        await _in_thread(self._document.commit, key, None)
        self._kept[key] = None
        await self.flush()

    async def flush(self) -> None:
        """Write what was kept so far; nothing is left that would be done later."""
        await self._relieve_writer()
        batch, self._kept = self._kept, {}
        if batch:
            self._make_folder()
        try:
            await _in_thread(self._journal.append, batch)
        except BaseException:
            self._kept = {**batch, **self._kept}
            raise

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold the right to renew this token; raises ConfigError where it could not be saved afterwards."""
        self._make_folder()
        # Keys share these locks, so that thousands of tokens are not thousands of files.
        stripe = sha256(key.encode()).hexdigest()[0]
        async with locked(self._folder / f"lock-{stripe}", patience=self._patience):
            await _in_thread(self._document.check, key)
            yield

    def _write_soon(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_later())

    async def _write_later(self) -> None:
        while self._kept:
            await asyncio.sleep(_WRITE_BEHIND)
            self._writer_writes = True
            try:
                await self.flush()
            except PhonesysError as failure:
                log.warning("tokens that can be had again were not written: %s", failure)
                return
            finally:
                self._writer_writes = False

    async def _relieve_writer(self) -> None:
        """Let the task end that would write later, and not outlive the block that the store is used in."""
        writer = self._writer
        if writer is None or writer.done() or writer is asyncio.current_task():
            return
        if writer.get_loop() is not asyncio.get_running_loop():  # which ended without it
            return
        if not self._writer_writes:
            writer.cancel()
        await wait_finished(writer)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as failure:
            reason = failure.strerror
        else:
            return
        raise ConfigError(f"token store: {self._folder} cannot be made: {reason}")

    def __repr__(self) -> str:
        return f"<FileTokenStore {str(self._path)!r}>"


def _resolved(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except ValueError:
        raise InvalidArgument("token store: a path cannot hold a null character") from None


def _told(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call something that works on files; its errors leave the frames behind that hold what is in them."""
    try:
        return function(*args, **kwargs)
    except ConfigError as failure:
        error = failure.with_traceback(None)
    except OSError as failure:
        error = ConfigError(f"token store: {failure.filename}: {failure.strerror}")
    error.__context__ = None
    raise error


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(lambda: _told(function, *args, **kwargs))
