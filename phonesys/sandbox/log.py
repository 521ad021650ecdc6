"""Log of the requests that the sandbox served."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


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
    fault: str | None = None
    """The kind of fault that was applied, or `script`."""
    at: str = ""
    """When it ended, in UTC."""


@dataclass(frozen=True, slots=True)
class Created:
    """One create request that was carried out, whatever became of its answer."""

    backend: str
    account: str
    id: str
    number: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One row that a fault inserted into a list, or removed, while the list was read."""

    backend: str
    account: str
    number: str
    added: bool


Counts: TypeAlias = Counter[tuple[str, int | None]]


class RequestLog:
    """The last requests in detail, and all of them as counts; listeners are told of each."""

    def __init__(self, size: int | None) -> None:
        self.requests: deque[Served] = deque(maxlen=size)
        self.served: Counts = Counter()
        self.in_flight = 0
        self.peak = 0
        self.total = 0
        """Number of requests that ended, including those that the log no longer holds."""
        self.listeners: list[Callable[[Served], object]] = []

    def begin(self) -> None:
        """Count a request that has arrived."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def end(self, served: Served) -> None:
        """Note a request that is over."""
        self.in_flight -= 1
        self.total += 1
        self.requests.append(served)
        self.served[served.route, served.status] += 1
        for listener in self.listeners:
            listener(served)


class LogFile:
    """Writes each request as a line of JSON: to a path, at its end, or to what is open already."""

    def __init__(self, target: str | Path | TextIO) -> None:
        self._path = Path(target) if isinstance(target, str | Path) else None
        self._file: TextIO | None = None if isinstance(target, str | Path) else target

    def open(self) -> None:
        """Open the file, if it is ours to open; raises OSError."""
        if self._path is not None:
            self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """Close it, if we opened it."""
        if self._path is not None and self._file is not None:
            self._file.close()
            self._file = None

    def write(self, served: Served) -> None:
        """Add a line, whole at once."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(asdict(served)).decode() + "\n")
            self._file.flush()
