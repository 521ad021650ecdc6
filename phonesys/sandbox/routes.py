"""Routes, and the protocol between the server and a vendor's API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable

Handler: TypeAlias = Callable[[web.Request, str], Awaitable[web.Response]]
"""Carries out one operation for an account."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a vendor."""

    name: str
    method: str
    path: str
    """Below the vendor's prefix."""
    handler: Handler


class Vendor(Protocol):
    """One vendor's side of the sandbox."""

    @property
    def name(self) -> str:
        """The backend that talks to it."""
        ...

    @property
    def prefix(self) -> str:
        """Where its base URL points to."""
        ...

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        ...

    def account(self, request: web.Request, /) -> str:
        """Find out whom a request is about."""
        ...

    async def serve(self, route: Route, request: web.Request, account: str, /) -> web.Response:
        """Authenticate, count against the limits, and carry out."""
        ...

    def unknown(self, request: web.Request, /) -> web.Response:
        """Answer a request that no route fits."""
        ...
