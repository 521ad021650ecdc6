"""A token store that survives crashes, and that several processes can share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from phonesys._concurrency import Semaphore, wait_finished
from phonesys.errors import ConfigError, InvalidArgument, PhonesysError
from phonesys.oauth.cache_file import TokenCacheFile
from phonesys.oauth.cipher import FernetCipher
from phonesys.oauth.codec import Codec
from phonesys.oauth.durable_file import DurableTokenFile
from phonesys.oauth.lock import MAX_POLL, acquire_lock, try_lock
from phonesys.oauth.private_files import check_private_folder, create_private_folder
from phonesys.oauth.single_flight import Claim, FetchesOnce

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable

    from phonesys.oauth.codec import Tokens
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("phonesys")

_WRITE_DELAY = 1.0


class FileTokenStore(FetchesOnce):
    """Tokens in a file of mode 0600, with locks and the tokens of locations in a folder (`….d`) beside it.

    A saved token is synced to the disk before `save` returns, and the file is replaced as a whole. Processes
    that share the file refresh a token once between them. A lock ends with the process that holds it. A file
    that is damaged, foreign or encrypted with another key is a ConfigError, and is never overwritten. The
    tokens of locations can be fetched again: what cannot be read of them is set aside with a warning.

    - `key`: encrypts every file; see `phonesys.oauth.new_key`. Needs `phonesys[crypto]`.
    - `lock_timeout`: seconds to wait for another process that is refreshing.
    """

    _max_poll = MAX_POLL

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | Secret | None = None,
        lock_timeout: float = 120.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # A link is resolved now: replacing it by a file would leave the old token at its target.
        self._path = _resolve(path)
        self._folder = self._path.with_name(self._path.name + ".d")
        self._lock_timeout = lock_timeout
        codec = Codec(None if key is None else FernetCipher(key))
        self._durable_file = DurableTokenFile(self._path, self._folder, codec, lock_timeout=lock_timeout)
        self._cache_file = TokenCacheFile(
            self._folder / "cache", self._folder, codec, lock_timeout=lock_timeout, clock=clock
        )
        self._pending: Tokens = {}
        self._writer: asyncio.Task[None] | None = None
        self._is_writing = False
        self._is_loaded = False
        self._fetch_turns: defaultdict[str, Semaphore] = defaultdict(lambda: Semaphore(1))

    async def load(self, key: str) -> Token | None:
        """Return a token. After the first call, only what other processes wrote since is read."""
        if self._is_loaded:
            return _translate_errors(self._find, key)
        found = await _run_in_thread(self._find, key)
        self._is_loaded = True
        return found

    def _find(self, key: str) -> Token | None:
        if key in self._pending:
            return self._pending[key]
        check_private_folder(self._folder)
        return self._durable_file.find(key) or self._cache_file.find(key)

    async def save(self, key: str, token: Token) -> None:
        """Write a token. On return, it is on disk."""
        create_private_folder(self._folder)
        _translate_errors(self._durable_file.stage, key, token)  # before this process can be interrupted
        await _run_in_thread(self._durable_file.commit, key, token)

    def cache(self, key: str, token: Token) -> None:
        """Cache a token that can be fetched again. It is written within a second, in a batch."""
        self._pending[key] = token
        self._schedule_write()

    async def forget(self, key: str) -> None:
        """Delete a token."""
        create_private_folder(self._folder)
        await _run_in_thread(self._durable_file.commit, key, None)
        self._pending[key] = None
        await self.flush()

    async def forget_all(self, prefix: str) -> int:
        """Delete the tokens whose keys begin so, and return their number. No file holds them any more."""
        create_private_folder(self._folder)
        await self.flush()
        saved = await _run_in_thread(self._durable_file.delete, prefix)
        cached = await _run_in_thread(self._cache_file.delete, prefix)
        return len(saved | cached)

    async def flush(self) -> None:
        """Write the cached tokens, and end the background task that would write them."""
        await self._stop_writer()
        batch, self._pending = self._pending, {}
        try:
            if batch:
                create_private_folder(self._folder)
            await _run_in_thread(self._cache_file.append, batch)
        except BaseException:
            self._pending = {**batch, **self._pending}
            raise

    async def _keep_fetched(self, key: str, token: Token) -> None:
        await _run_in_thread(self._cache_file.append, {key: token})

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncGenerator[None]:
        # One task of this process at a time waits for each lock, or thousands of them would poll it.
        turn = self._fetch_turns[_stripe(key)]
        await turn.acquire()
        try:
            yield
        finally:
            turn.release()

    @asynccontextmanager
    async def _claim(self, key: str) -> AsyncGenerator[Claim]:
        with ExitStack() as stack:
            try:
                create_private_folder(self._folder)
                acquired = stack.enter_context(try_lock(self._folder / f"fetch-{_stripe(key)}"))
            except ConfigError as failure:  # as on a read-only disk
                log.debug("fetching without a lock: %s", failure)
                acquired = True
            yield Claim(acquired, await self.load(key))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold the exclusive right to refresh this token. Raise ConfigError if saving it would fail."""
        create_private_folder(self._folder)
        async with acquire_lock(self._folder / f"lock-{_stripe(key)}", timeout=self._lock_timeout):
            await _run_in_thread(self._durable_file.ensure_writable, key)
            yield

    def _schedule_write(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_later())

    async def _write_later(self) -> None:
        while self._pending:
            await asyncio.sleep(_WRITE_DELAY)
            self._is_writing = True
            try:
                await self.flush()
            except PhonesysError as failure:
                log.warning("cached tokens were not written: %s", failure)
                return
            finally:
                self._is_writing = False

    async def _stop_writer(self) -> None:
        """End the background writer, so that it does not outlive the block that uses the store."""
        writer = self._writer
        if writer is None or writer.done() or writer is asyncio.current_task():
            return
        if writer.get_loop() is not asyncio.get_running_loop():  # that loop ended without it
            return
        if not self._is_writing:
            writer.cancel()
        await wait_finished(writer)

    def __repr__(self) -> str:
        return f"<FileTokenStore {str(self._path)!r}>"


def _stripe(key: str) -> str:
    """Return one of sixteen names: keys share locks, so that thousands of tokens need no more files."""
    return sha256(key.encode()).hexdigest()[0]


def _resolve(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except ValueError:
        raise InvalidArgument("token store: a path cannot hold a null character") from None


def _translate_errors(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that works on files. Its errors lose the frames that hold a file's content."""
    try:
        return function(*args, **kwargs)
    except ConfigError as failure:
        error = failure.with_traceback(None)
    except OSError as failure:
        error = ConfigError(f"token store: {failure.filename}: {failure.strerror}")
    error.__context__ = None
    raise error


async def _run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(lambda: _translate_errors(function, *args, **kwargs))
