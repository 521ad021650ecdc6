"""What the sandbox was asked, and what it answered."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Served:
    """One request that is over. It holds no headers, hence no secrets."""

    backend: str
    """`leadconnector`, `leadping` or `agents`; `unknown` outside their prefixes."""
    route: str
    """Such as `leadconnector.numbers`; `unknown` if no route was meant."""
    account: str
    method: str
    path: str
    """With its query, as it was sent: still percent-encoded."""
    status: int | None
    """None if no answer was completed, because the connection was dropped or the client left."""
    started: float
    """By the sandbox's clock, `time.monotonic` unless it was given another."""
    duration: float


@dataclass(frozen=True, slots=True)
class Created:
    """One create request that was carried out, whatever became of its answer."""

    backend: str
    account: str
    id: str
    number: str


Counts: TypeAlias = Counter[tuple[str, int | None]]


class RequestLog:
    """The last requests in detail, and all of them as counts."""

    def __init__(self, size: int | None) -> None:
        self.requests: deque[Served] = deque(maxlen=size)
        self.served: Counts = Counter()
        self.in_flight = 0
        self.peak = 0

    def begin(self) -> None:
        """Count a request that has arrived."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def end(self, served: Served) -> None:
        """Note a request that is over."""
        self.in_flight -= 1
        self.requests.append(served)
        self.served[served.route, served.status] += 1
