"""Transports: how a signed call becomes a request on the network, and its response comes back."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from phonesys.http.call import Call
    from phonesys.http.response import RawResponse


__all__ = ["Transport"]


class Transport(typing.Protocol):
    """Sends one request at a time, and neither repeats nor times it: the client does."""

    def exchange(self, call: Call[typing.Any], signed: Mapping[str, str], /) -> Awaitable[RawResponse]:
        """Send one request and return its response, whatever its status.

        - `signed`: the headers that carry the credential.

        An aiohttp error, OSError or TimeoutError becomes the CallError that fits it.
        """
        ...
