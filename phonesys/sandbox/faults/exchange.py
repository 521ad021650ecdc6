"""One request on its way through the sandbox, and all that can be done with its answer."""

from __future__ import annotations

import random
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from phonesys.sandbox.state import VendorState

# On, for no time at all: closing then discards what is unsent, and tells the peer with a RST.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(slots=True)
class Exchange:
    """One request on its way through the sandbox.

    `rng` is seeded for this very request; `memory` is the fault's own, one for each route and account.
    """

    request: web.Request
    route: str
    account: str
    carry_out: Callable[[], Awaitable[web.Response]]
    state: VendorState
    outage: Callable[[float], None]
    """Refuse all new connections for so many seconds."""
    dropped: bool = field(default=False, init=False)
    fault: str | None = field(default=None, init=False)
    """The kind of fault that happened, or `script`."""
    rng: random.Random = field(default_factory=lambda: random.Random(0), init=False)  # noqa: S311 -- seeded
    memory: dict[str, Any] = field(default_factory=dict[str, Any], init=False)

    @property
    def backend(self) -> str:
        """The vendor's name, such as `leadping`."""
        return self.route.partition(".")[0]

    async def proceed(self) -> web.Response:
        """Authenticate, count against the limits, and carry out what was asked, as if nothing were wrong."""
        return await self.carry_out()

    def drop(self) -> web.Response:
        """Close the connection; the answer returned is for the framework, and goes nowhere."""
        self.dropped = True
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()

    def reset(self) -> web.Response:
        """Abort the connection with a RST, as a crashed process or a firewall does."""
        self.dropped = True
        transport = self.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()
        return web.Response()


class Fault(Protocol):
    """Answers in place of the vendor; `await exchange.proceed()` is what the vendor would have said.

    A fault that does not proceed leaves no trace in the data, and does not count against the limits.
    """

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Answer, or drop the connection."""
        ...


def payload(response: web.Response) -> bytes:
    """Return an answer's whole body."""
    return response.body if isinstance(response.body, bytes) else b""


def headers_of(headers: Mapping[str, str] | None, content_type: str | None) -> dict[str, Any]:
    """Copy headers to an answer of another length, with a content type if they name none."""
    kept = {
        k: v for k, v in (headers or {}).items() if k.lower() not in {"content-length", "transfer-encoding"}
    }
    if content_type is not None and not any(name.lower() == "content-type" for name in kept):
        kept["Content-Type"] = content_type
    return kept


def with_body(answer: web.Response, body: bytes, **headers: str) -> web.Response:
    """Make the same answer with another body; `Content_Type="…"` and the like replace its headers."""
    kept = headers_of(answer.headers, None)
    for name, value in headers.items():
        kept[name.replace("_", "-")] = value
    return web.Response(status=answer.status, body=body, headers=kept)


async def begin(exchange: Exchange, whole: web.Response, length: int | None) -> web.StreamResponse:
    """Send an answer's headers alone: with the length that is promised, or in chunks."""
    part = web.StreamResponse(status=whole.status, headers=headers_of(whole.headers, None))
    if length is None:
        part.enable_chunked_encoding()
    else:
        part.content_length = length
    await part.prepare(exchange.request)
    return part
