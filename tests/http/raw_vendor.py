"""A vendor that sends raw bytes, as scripted."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import msgspec

from phonesys.http.auth import Bearer
from phonesys.http.call import Call
from phonesys.http.client import HttpClient
from phonesys.http.options import HttpOptions
from phonesys.http.ratelimit.headers import RateLimitHeaders
from phonesys.http.response import json_decoder

TOKEN = "pit-PLANTED-SECRET"
LIMIT_HEADERS = RateLimitHeaders(
    limit="X-RateLimit-Max",
    remaining="X-RateLimit-Remaining",
    reset="X-RateLimit-Reset",
    reset_unit="unix_seconds",
    daily_remaining="X-RateLimit-Daily-Remaining",
    daily_reset="X-RateLimit-Daily-Reset",
    daily_reset_unit="milliseconds",
)


def answer(
    body: bytes | str, status: int = 200, content_type: str = "application/json", **headers: str
) -> bytes:
    """One whole HTTP answer; underscores in header names stand for dashes."""
    data = body.encode() if isinstance(body, str) else body
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(data)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


OK = answer('{"a": 1}')


class RawVendor:
    """Answers each request with the next step of `script`: bytes, or a coroutine function of the writer.

    The last step is repeated. `requests` holds the head and body of each request.
    """

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.requests: list[tuple[str, bytes]] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.server.close()
        for _ in range(4):  # connections that are being accepted
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        for writer in self.writers:
            writer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writers.add(sink)
        try:
            while await self._one(source, sink):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            sink.close()
            self.writers.discard(sink)
            self._tasks.discard(task)

    async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
        head = (await source.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
        )
        self.requests.append((head, await source.readexactly(length)))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if callable(step):
            return bool(await step(sink))
        sink.write(step)
        await sink.drain()
        return True


async def drop(sink: asyncio.StreamWriter) -> bool:
    """Close the connection without a word."""
    sink.close()
    return False


async def stall(sink: asyncio.StreamWriter) -> bool:
    """Never answer."""
    await asyncio.Event().wait()
    return False


def client(vendor: RawVendor | str, **options: Any) -> HttpClient:
    """A client of that vendor whose retries are not spread out."""
    limit, session, auth = options.pop("limit", None), options.pop("session", None), options.pop("auth", None)
    limit_headers, transport = options.pop("limit_headers", LIMIT_HEADERS), options.pop("transport", None)
    options.setdefault("jitter", lambda: 1.0)
    return HttpClient(
        vendor if isinstance(vendor, str) else vendor.url,
        backend="test",
        auth=auth or Bearer(TOKEN),
        limit=limit,
        limit_headers=limit_headers,
        options=HttpOptions(**options),
        session=session,
        transport=transport,
    )


class Thing(msgspec.Struct):
    a: int


def read(**changes: Any) -> Call[Thing]:
    """A call that is safe to repeat."""
    facts: dict[str, Any] = {
        "operation": "read_thing",
        "method": "GET",
        "target": "/things",
        "decode": json_decoder(Thing),
        "account": "acc_1",
    }
    return Call(**{**facts, **changes})


def write(**changes: Any) -> Call[Thing]:
    """A call that must not happen twice."""
    facts: dict[str, Any] = {
        "operation": "make_thing", "method": "POST", "idempotent": False, "body": b"{}",
        "recovery_hint": "look it up",
    }  # fmt: skip
    return read(**{**facts, **changes})
