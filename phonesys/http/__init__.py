"""HTTP for backends: everything that the author of a backend needs, and nothing else.

A backend describes each operation as a `Call`, with pure functions, and sends it with an `HttpClient`. The
client signs it, keeps it inside the vendor's limits, retries it if that is safe, and decodes the response::

    def get_number(number_id: str) -> Call[AcmeNumber]:
        return Call(
            operation="get_number",
            method="GET",
            target=f"/numbers/{encode_segment(number_id, 'number_id')}",
            decode=json_decoder(AcmeNumber),
        )

    client = HttpClient(
        "https://api.acme.example",
        backend="acme",
        auth=Bearer("token"),
        limit=RateLimit(100, per=10),
        limit_headers=RateLimitHeaders(limit="X-Limit", remaining="X-Remaining"),
    )
    async with client:
        number = await client.send(get_number("n_1"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonesys.http.auth import (
        ApiKey,
        Auth,
        AuthClient,
        Bearer,
        PerAccount,
        RefreshableAuth,
        StaticAuth,
        Unsigned,
    )
    from phonesys.http.call import Call, encode_json, encode_query, encode_segment
    from phonesys.http.client import HttpClient
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.headers import RateLimitHeaders
    from phonesys.http.ratelimit.window import RateLimit
    from phonesys.http.response import (
        RawResponse,
        decode_error,
        expect_no_content,
        json_decoder,
        wrap_decoder,
    )
    from phonesys.http.transport import Transport

__all__ = [
    "ApiKey",
    "Auth",
    "AuthClient",
    "Bearer",
    "Call",
    "HttpClient",
    "HttpOptions",
    "PerAccount",
    "RateLimit",
    "RateLimitHeaders",
    "RawResponse",
    "RefreshableAuth",
    "StaticAuth",
    "Transport",
    "Unsigned",
    "decode_error",
    "encode_json",
    "encode_query",
    "encode_segment",
    "expect_no_content",
    "json_decoder",
    "wrap_decoder",
]

# Searched in this order for a public name, those that import aiohttp last.
_HOMES = (
    "options",
    "auth",
    "call",
    "ratelimit.headers",
    "ratelimit.window",
    "response",
    "transport",
    "client",
)

if not TYPE_CHECKING:  # a type checker reports unknown names, which this would hide

    def __getattr__(name: str) -> object:
        """Load a public name on first use: options and calls need no HTTP library."""
        if name in __all__:
            for home in _HOMES:
                found = vars(importlib.import_module(f"phonesys.http.{home}")).get(name)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
