"""The redirect after consent: one request to a server on loopback."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from yarl import URL

from phonesys.errors import AttemptTimeout, CallError, InvalidArgument
from phonesys.http.response import one_line
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from aiohttp import web

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_DONE = "phonesys has received the consent. You can close this window."
_REFUSED = "phonesys has received the refusal. You can close this window."
_UNEXPECTED = "This is not the response that phonesys is waiting for."
_MALFORMED = (
    "This response has neither a valid code nor an error. phonesys is still waiting; please try again."
)
_MAX_REASON = 200


class Callback:
    """Waits for the redirect that carries our `state`. Other requests are rejected and change nothing."""

    def __init__(self, state: Secret) -> None:
        self._state = state
        self._code: asyncio.Future[Secret] = asyncio.get_running_loop().create_future()

    async def wait_for_code(self, timeout: float) -> Secret:  # noqa: ASYNC109 -- a person's time, not a request's
        """Wait for the code.

        Raises CallError if the person refuses, and AttemptTimeout after `timeout` seconds.
        """
        done, _ = await asyncio.wait([self._code], timeout=timeout)
        if not done:
            raise AttemptTimeout(f"no consent within {timeout:g} s")
        return self._code.result()

    async def handle(self, request: web.Request) -> web.Response:
        """Handle a redirect."""
        from aiohttp import web

        state = request.query.get("state", "").encode(errors="replace")
        if not hmac.compare_digest(state, self._state.reveal().encode()):
            return web.Response(status=400, text=_UNEXPECTED)
        result = _parse(request.query)
        if result is None:
            return web.Response(status=400, text=_MALFORMED)
        if not self._code.done():
            if isinstance(result, Secret):
                self._code.set_result(result)
            else:
                self._code.set_exception(result)
        return web.Response(text=_DONE if isinstance(result, Secret) else _REFUSED)


def _parse(query: Mapping[str, str]) -> Secret | CallError | None:
    """Return the code, or the error of a person who refused; None for a redirect that is neither."""
    if code := query.get("code"):
        try:
            return Secret(code, what="code")
        except InvalidArgument:
            return None
    reason = one_line(query.get("error_description") or query.get("error") or "")
    return CallError(f"consent was refused: {reason[:_MAX_REASON]}") if reason else None


@asynccontextmanager
async def listen_for_callback(redirect_uri: str, state: Secret) -> AsyncGenerator[Callback]:
    """Listen at a redirect address on loopback, such as `http://localhost:8734/callback`.

    Raises InvalidArgument for an address elsewhere, or if its port is taken.
    """
    from aiohttp import web

    uri = _validate_redirect_uri(redirect_uri)
    callback = Callback(state)
    app = web.Application()
    app.router.add_get(uri.path, callback.handle, allow_head=False)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, uri.host, uri.port).start()
    except OSError as failure:
        await runner.cleanup()
        raise InvalidArgument(
            f"redirect_uri: cannot listen at {redirect_uri!r}: {failure.strerror}"
        ) from None
    try:
        yield callback
    finally:
        await runner.cleanup()


def _validate_redirect_uri(redirect_uri: str) -> URL:
    try:
        uri = URL(redirect_uri)
    except (ValueError, TypeError):
        uri = URL()
    if uri.scheme != "http" or uri.host not in _LOOPBACK_HOSTS or uri.query_string:
        raise InvalidArgument(
            "redirect_uri: expected http://localhost:PORT/PATH, as registered with the app, "
            f"got {redirect_uri!r}"
        )
    return uri
