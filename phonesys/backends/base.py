"""What the backends share: a client to send with, opening and closing, and clear refusals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from phonesys.errors import InvalidArgument, OutcomeUnknown, UsageError
from phonesys.http.client import HttpClient
from phonesys.provider import ClearlyUnsupported
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD, Reconciled, Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType

    import aiohttp

    from phonesys.http.auth import Auth
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.window import RateLimit

T = TypeVar("T")

MAX_PAGES = 100_000
"""A vendor that counts more pages than this has counted wrong; they are then read one after the other."""

DEFAULT_ACCOUNT = "default"
"""What the one account of a credential is called that does not say whose it is."""


class HttpBackend(ClearlyUnsupported):
    """A backend over one vendor's HTTP API: an async context manager that sends calls."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        auth: Auth,
        limit: RateLimit | None,
        headers: Mapping[str, str] | None = None,
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        if not name or not name.isprintable():
            raise InvalidArgument(f"name: expected a word for the backend, got {name!r}")
        self.name = name
        self.http = HttpClient(
            base_url, backend=name, auth=auth, limit=limit, headers=headers, options=http, session=session
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.__aexit__(kind, error, trace)

    def send(self, call: Call[T]) -> Awaitable[T]:
        """Carry out one call; the way to an operation of the vendor that has no method here."""
        return self.http.send(call)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class WritingBackend(HttpBackend, ABC):
    """A backend that changes numbers, and can look up what became of a change whose answer was lost."""

    async def write(self, call: Call[T], facts: Write) -> T:
        """Carry out a call that is not safe to repeat; where its answer is lost, the error knows it."""
        try:
            return await self.send(call)
        except OutcomeUnknown as unknown:
            ended = msgspec.structs.replace(facts, ended_at=datetime.now(UTC))
            unknown.with_write(ended, by=self)
            raise

    @abstractmethod
    async def reconcile(
        self,
        lost: OutcomeUnknown | Write,
        /,
        *,
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> Reconciled[Any]:
        """Look up whether a write was carried out."""


def resolve_auth(given: Any, auth: Auth | None, *, what: str, kind: type[Any]) -> Auth:
    """Choose between a credential and an `auth`; raises UsageError unless exactly one is given."""
    if (given is None) == (auth is None):
        raise UsageError(f"expected either {what}= or auth=, and not both")
    chosen: Auth = auth if auth is not None else kind(given)
    return chosen


def effective_page_size(asked: int, theirs: int | None) -> int:
    """Return the size of a page: what the vendor makes of what was asked for."""
    return theirs if theirs is not None and 0 < theirs < asked else asked


def plausible_total(total: int | None, least: int) -> int | None:
    """Return the vendor's total, unless it is belied: there are at least so many rows."""
    return None if total is None or total < least else total


def validate_page_size(size: int, most: int) -> int:
    """Return the page size; raises InvalidArgument outside of what the vendor allows."""
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
        raise InvalidArgument(f"page_size: expected a whole number from 1 to {most}, got {size!r}")
    return size
