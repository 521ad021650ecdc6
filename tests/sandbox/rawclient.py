"""A client that knows only bytes, so that what is on the wire is seen as it is."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.sandbox import Sandbox


@dataclass
class Answer:
    """Everything that came until the server closed, reset, or said no more."""

    raw: bytes = b""
    ended: str = ""
    """`closed`, `reset`, `refused` or `silent`."""
    times: list[float] = field(default_factory=list)
    """When each piece came."""

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def json(self) -> Any:
        body = gzip.decompress(self.body) if "content-encoding" in self.headers else self.body
        return json.loads(body)


class RawClient:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes = b"",
        *,
        patience: float = 5.0,
        until: Callable[[Answer], bool] = lambda _: False,
    ) -> Answer:
        """Send one request over a connection of its own and read all that comes."""
        parts, answer = urlsplit(url), Answer()
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except ConnectionRefusedError:
            answer.ended = "refused"
            return answer
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        try:
            answer.ended = await asyncio.wait_for(_read(reader, answer, until), patience)
        except TimeoutError:
            answer.ended = "silent"
        finally:
            writer.transport.abort()
        return answer

    async def numbers(self, location: str | None = None, **query: Any) -> Answer:
        """List a location's numbers."""
        patience, until = query.pop("patience", 5.0), query.pop("until", lambda _: False)
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        where = location or self.sandbox.location_ids[0]
        url = f"{self.sandbox.leadconnector_url}/phone-system/numbers/location/{where}?{asked}"
        token = {"Authorization": f"Bearer {self.sandbox.leadconnector_token}", "Version": "2021-07-28"}
        return await self.ask("GET", url, token, patience=patience, until=until)

    async def listing(self, **body: Any) -> Answer:
        """List the organization's numbers."""
        return await self.leadping("POST", "/phone-numbers/all/organization", body)

    async def create(self, number: str = "+15005550006") -> Answer:
        """Create a number."""
        return await self.leadping("POST", "/phone-numbers", {"name": "New", "number": number})

    async def leadping(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        key = {"Authorization": f"Bearer {self.sandbox.leadping_key}", "Content-Type": "application/json"}
        return await self.ask(method, self.sandbox.leadping_url + path, key, json.dumps(body).encode())

    async def agents(self, **query: Any) -> Answer:
        """List the assignments."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        key = {"X-API-Key": self.sandbox.agents_key}
        return await self.ask("GET", f"{self.sandbox.agents_url}/numbers?{asked}", key)


async def _read(reader: asyncio.StreamReader, answer: Answer, until: Callable[[Answer], bool]) -> str:
    clock = asyncio.get_running_loop()
    try:
        while piece := await reader.read(2**16):
            answer.raw += piece
            answer.times.append(clock.time())
            if until(answer):
                return "enough"
    except ConnectionResetError:
        return "reset"
    return "closed"
