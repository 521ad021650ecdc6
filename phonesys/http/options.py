"""How patient, how stubborn and how trusting the HTTP client is."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf
from ssl import SSLContext

import msgspec

from phonesys.errors import InvalidArgument


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds, sizes in bytes; None means no bound."""

    timeout: float | None = 30.0
    """For one attempt, from the first byte sent to the last byte read."""
    connect_timeout: float | None = 10.0
    """For the connection, within `timeout`."""
    read_timeout: float | None = None
    """For the silence between two pieces of an answer, within `timeout`, which bounds it anyway."""
    deadline: float | None = 300.0
    """For the whole call: attempts, retries and waits. A wait that it does not allow is an error at once."""
    retries: int = 3
    """How often a call is repeated, at the most; after a 429, four times as often."""
    backoff: float = 0.5
    """The ceiling of the wait before the first retry; it doubles with each."""
    backoff_cap: float = 8.0
    """The ceiling that the doubling stops at."""
    max_body: int = 16 * 2**20
    """The largest answer that is read, counted after decompression."""
    connections: int = 256
    """How many requests may be under way at once; the others wait here, where time-outs do not count."""
    ssl: SSLContext | None = None
    """A certificate authority or a client certificate of your own: `ssl.create_default_context(cafile=…)`."""
    jitter: Callable[[], float] = random.random
    """Draws the numbers from 0 to 1 that spread retries out."""

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout", "read_timeout", "deadline"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < inf):
                raise InvalidArgument(
                    f"HttpOptions.{name}: expected a positive number of seconds or None, got {value!r}"
                )
        for name, least in (("retries", 0), ("max_body", 1), ("connections", 1)):
            value = getattr(self, name)
            if not (_is_number(value) and isinstance(value, int) and value >= least):
                raise InvalidArgument(
                    f"HttpOptions.{name}: expected a whole number from {least}, got {value!r}"
                )
        for name in ("backoff", "backoff_cap"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value < inf):
                raise InvalidArgument(f"HttpOptions.{name}: expected seconds, 0 or more, got {value!r}")
        if not isinstance(self.ssl, SSLContext | None):
            raise InvalidArgument(f"HttpOptions.ssl: expected an ssl.SSLContext or None, got {self.ssl!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
