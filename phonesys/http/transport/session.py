"""Session transport: requests through aiohttp's session, with its middlewares, traces and mocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yarl import URL

from phonesys.http.response import RawResponse
from phonesys.http.transport.decompression import BodyDecompressor, read_body
from phonesys.http.transport.errors import no_retry_middlewares, read_capped
from phonesys.http.validation import merge_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from phonesys.http.call import Call


class SessionTransport:
    """Sends requests with `ClientSession.request`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        max_body: int,
    ) -> None:
        self._session = session
        self._base = base
        self._headers = headers
        self._timeout = timeout
        self._max_body = max_body
        self._decompressor = None if session.auto_decompress else BodyDecompressor(max_body)
        self._middlewares = no_retry_middlewares(session)

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Send one request and read its response, up to the size limit."""
        headers = merge_headers(self._headers, signed)
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        response = await self._session.request(
            call.method,
            URL(self._base + call.target, encoded=True),
            data=call.body,
            headers=headers,
            allow_redirects=False,
            timeout=self._timeout,
            middlewares=self._middlewares,
        )
        try:
            if self._decompressor is None:
                body = await read_capped(response.content, self._max_body)
            else:
                body = await read_body(response.content, response.headers, self._decompressor)
        except BaseException:
            response.close()
            raise
        return RawResponse(response.status, response.headers, body)
