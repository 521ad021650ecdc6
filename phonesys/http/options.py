"""Options of the HTTP client: time-outs, retries, sizes, connections, TLS."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import inf
from os import PathLike
from pathlib import Path
from ssl import SSLContext, create_default_context

import msgspec

from phonesys.errors import InvalidArgument
from phonesys.http.validation import validate_headers, validate_proxy
from phonesys.telemetry.observers import Observer, validate_observers


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of an HTTP client. Times are in seconds, sizes in bytes; None is no bound."""

    timeout: float | None = 30.0
    """One attempt, from connecting to the last byte of the response."""
    connect_timeout: float | None = 10.0
    """Connecting, within `timeout`."""
    read_timeout: float | None = None
    """Silence between two chunks of a response, within `timeout`."""
    deadline: float | None = 300.0
    """The whole call: attempts, retries and waits. A wait that would exceed it is an error at once."""
    retries: int = 3
    """Retries of a call; after a 429, four times as many."""
    backoff: float = 0.5
    """Upper bound of the wait before the first retry. It doubles with each retry."""
    backoff_cap: float = 8.0
    """Bound at which the doubling stops."""
    max_body: int = 16 * 2**20
    """Largest response body that is read, after decompression."""
    connections: int = 256
    """Requests in flight at once. Further requests wait, without their `timeout` running."""
    ssl: SSLContext | None = None
    """TLS context with a certificate authority or client certificate of one's own."""
    ca_file: str | PathLike[str] | None = None
    """File of certificate authorities that are trusted, in PEM format, instead of the system's."""
    proxy: str | None = None
    """URL of an HTTP proxy, as in `http://user:password@proxy.example:3128`."""
    trust_env: bool = True
    """Send https through the proxy that `HTTPS_PROXY` names, but for hosts in `NO_PROXY`."""
    user_agent: str | None = None
    """The User-Agent header; `phonesys/` and its version unless given."""
    observers: Sequence[Observer] = ()
    """Functions that get an event for each request, wait, retry and failure."""
    jitter: Callable[[], float] = random.random
    """Source of random numbers from 0 to 1 that spread retries out."""

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
        self._validate_network()
        msgspec.structs.force_setattr(self, "observers", validate_observers(self.observers))

    def _validate_network(self) -> None:
        if not isinstance(self.ca_file, str | PathLike | None):
            raise InvalidArgument(f"HttpOptions.ca_file: expected a path or None, got {self.ca_file!r}")
        if self.ca_file is not None and self.ssl is not None:
            raise InvalidArgument("HttpOptions.ca_file: expected it or ssl, and not both")
        if not isinstance(self.trust_env, bool):
            raise InvalidArgument(f"HttpOptions.trust_env: expected True or False, got {self.trust_env!r}")
        if self.proxy is not None:
            try:
                validate_proxy(self.proxy)
            except InvalidArgument as error:
                raise InvalidArgument(f"HttpOptions.proxy: {error}") from None
        if self.user_agent is not None:
            validate_headers({"User-Agent": self.user_agent})

    def __repr__(self) -> str:
        given = [
            f"{name}={'***' if name == 'proxy' else repr(getattr(self, name))}"
            for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
            if getattr(self, name) != default
        ]
        return f"HttpOptions({', '.join(given)})"

    def ssl_context(self) -> SSLContext | None:
        """Return the TLS context, if it is not the system's. Raise InvalidArgument for a bad `ca_file`."""
        if self.ca_file is None:
            return self.ssl
        try:
            return create_default_context(cafile=Path(self.ca_file).expanduser())
        except OSError as failure:
            reason = failure.strerror or str(failure)
        raise InvalidArgument(f"HttpOptions.ca_file: {self.ca_file}: {reason}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
