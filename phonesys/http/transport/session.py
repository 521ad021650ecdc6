"""Session transport: requests through aiohttp's session, with its middlewares, traces and mocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict
from yarl import URL

from phonesys.http.response import RawResponse
from phonesys.http.transport.decompression import BodyDecompressor, read_body
from phonesys.http.transport.errors import no_retry_middlewares, read_capped
from phonesys.http.transport.patching import ORIGINAL_SESSION, is_patched
from phonesys.http.validation import merge_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from phonesys.http.call import Call


_COMPRESSED: Mapping[str, Any] = {"auto_decompress": False}
_AS_OPENED: Mapping[str, Any] = {}


class SessionTransport:
    """Sends requests with `ClientSession.request`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        max_body: int,
        *,
        proxy: str | None = None,
    ) -> None:
        self._session = session
        self._base = base
        self._headers = headers
        self._timeout = timeout
        self._max_body = max_body
        self._proxy = proxy
        self._decompressor = BodyDecompressor(max_body)
        self._middlewares = no_retry_middlewares(session)
        # Middlewares, subclasses and mocks may read the body, and expect what the session was made to give.
        self._is_plain = type(session) is ORIGINAL_SESSION and not getattr(session, "_middlewares", ())

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Send one request and read its response, up to the size limit."""
        headers = merge_headers(self._headers, signed)
        body = call.body
        if body is not None:
            headers["Content-Type"] = call.content_type
        patched = is_patched()
        stays_compressed = not self._session.auto_decompress or (self._is_plain and not patched)
        options = _COMPRESSED if stays_compressed and self._session.auto_decompress else _AS_OPENED
        if patched:  # by a recorder, which can write plain values only
            headers = CIMultiDict({name: _plain(value) for name, value in headers.items()})
            body = None if body is None else bytes(bytearray(body))
        response = await self._session.request(
            call.method,
            URL(self._base + call.target, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            proxy=self._proxy,
            timeout=self._timeout,
            middlewares=self._middlewares,
            **options,
        )
        try:
            if stays_compressed:
                content = await read_body(response.content, response.headers, self._decompressor)
            else:
                content = await read_capped(response.content, self._max_body)
        except BaseException:
            response.close()
            raise
        return RawResponse(response.status, response.headers, content)


def _plain(text: str) -> str:
    """Return a string that is not of a subclass, whose `repr` would be masked."""
    return "".join(text)
