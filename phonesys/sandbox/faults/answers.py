"""Faults that are answers: refusals, a proxy's pages, redirects, and bodies that are wrong."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec
from aiohttp import web

from phonesys.sandbox.faults.exchange import payload, with_body
from phonesys.sandbox.faults.rule import Rule, expect

if TYPE_CHECKING:
    from phonesys.sandbox.faults.exchange import Exchange

RetryAfter: TypeAlias = float | Literal["date", "past", "absurd", "negative", "malformed"]
"""Seconds, or a word for what vendors have been seen to send."""

_ABSURD = 1_857_905_136  # seen in the wild
_HIGHEST = 599
_PAGE = """<!DOCTYPE html>
<html><head><title>{code} {reason}</title></head>
<body><center><h1>{code} {reason}</h1></center><hr><center>nginx</center></body></html>
"""


class Status(Rule, frozen=True, kw_only=True, tag="status"):
    """Answer with a status `code`, in the vendor's words unless `body` has others.

    `retry_after` is in seconds, or `"date"` (a second from now), `"past"`, `"absurd"`, `"negative"` or
    `"malformed"`. With `carry_out` the operation is carried out all the same, as behind an impatient gateway.
    """

    group: ClassVar[str] = "Refusals"

    code: int = 503
    retry_after: RetryAfter | None = None
    body: str | None = None
    content_type: str = "application/json"
    carry_out: bool = False

    def check(self) -> None:
        """Refuse what is no status."""
        expect(200 <= self.code <= _HIGHEST, "code: expected a status from 200 to 599", self.code)  # noqa: PLR2004

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Refuse."""
        if self.carry_out:
            await exchange.proceed()
        body = _refusal(exchange.backend, self.code) if self.body is None else self.body.encode()
        headers = {"Content-Type": self.content_type} if body else {}
        if self.retry_after is not None:
            headers["Retry-After"] = _written(self.retry_after)
        return web.Response(status=self.code, body=body, headers=headers)


def _written(wait: RetryAfter) -> str:
    now = datetime.now(UTC)
    match wait:
        case "date":
            return format_datetime(now + timedelta(seconds=1), usegmt=True)
        case "past":
            return format_datetime(now - timedelta(days=1), usegmt=True)
        case "absurd":
            return str(_ABSURD)
        case "negative":
            return "-5"
        case "malformed":
            return "soon"
        case _:
            return f"{wait:g}"


def _refusal(backend: str, code: int) -> bytes:
    """Write an error as the vendor would."""
    reason = web.Response(status=code).reason
    bodies: dict[str, dict[str, Any]] = {
        "leadconnector": {"statusCode": code, "message": reason},
        "leadping": {"type": "about:blank", "title": reason, "status": code, "detail": f"{reason}."},
        "agents": {"error": {"message": reason}},
    }
    return msgspec.json.encode(bodies.get(backend, {"message": reason}))


class Html(Rule, frozen=True, kw_only=True, tag="html"):
    """Answer with a proxy's page and a status `code`, be it 502 or 200."""

    group: ClassVar[str] = "Refusals"

    code: int = 502

    def check(self) -> None:
        """Refuse what is no status."""
        expect(200 <= self.code <= _HIGHEST, "code: expected a status from 200 to 599", self.code)  # noqa: PLR2004

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Stand in the way."""
        reason = web.Response(status=self.code).reason
        return web.Response(
            status=self.code, text=_PAGE.format(code=self.code, reason=reason), content_type="text/html"
        )


class Redirect(Rule, frozen=True, kw_only=True, tag="redirect"):
    """Send the client to another host, `to`, under which its path is repeated."""

    group: ClassVar[str] = "Refusals"

    code: int = 307
    to: str = "https://elsewhere.invalid"

    def check(self) -> None:
        """Refuse what is no redirection."""
        expect(300 <= self.code < 400, "code: expected a status from 300 to 399", self.code)  # noqa: PLR2004
        expect(self.to.isprintable(), "to: expected a URL", self.to)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Point elsewhere."""
        return web.Response(status=self.code, headers={"Location": self.to + exchange.request.raw_path})


class HugeHeaders(Rule, frozen=True, kw_only=True, tag="huge-headers"):
    """Carry it out, and answer with a header of `kilobytes`."""

    group: ClassVar[str] = "Bodies"

    kilobytes: int = 128

    def check(self) -> None:
        """Refuse a header without a size."""
        expect(self.kilobytes >= 1, "kilobytes: expected 1 or more", self.kilobytes)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Add the header."""
        answer = await exchange.proceed()
        answer.headers["X-Padding"] = "x" * (self.kilobytes * 1024)
        return answer


class ContentType(Rule, frozen=True, kw_only=True, tag="content-type"):
    """Carry it out, and label the answer as something else."""

    group: ClassVar[str] = "Bodies"

    label: str = "text/html; charset=utf-8"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Relabel."""
        answer = await exchange.proceed()
        return with_body(answer, payload(answer), Content_Type=self.label)


class Charset(Rule, frozen=True, kw_only=True, tag="charset"):
    """Carry it out, and write the body in one `encoding`, labelled as UTF-8."""

    group: ClassVar[str] = "Bodies"

    encoding: str = "utf-16"

    def check(self) -> None:
        """Refuse encodings that there are not."""
        try:
            "".encode(self.encoding)
        except LookupError:
            expect(holds=False, what="encoding: expected the name of an encoding", value=self.encoding)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Encode it again."""
        answer = await exchange.proceed()
        text = payload(answer).decode()
        wrong = text.encode(self.encoding, "replace")
        return with_body(answer, wrong, Content_Type="application/json; charset=utf-8")


class InvalidJson(Rule, frozen=True, kw_only=True, tag="invalid-json"):
    """Carry it out, and answer with JSON that ends in the middle, under an honest Content-Length."""

    group: ClassVar[str] = "Bodies"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Cut it."""
        answer = await exchange.proceed()
        raw = payload(answer)
        return with_body(answer, raw[: max(len(raw) * 2 // 3, 1)] or b"{")


class Null(Rule, frozen=True, kw_only=True, tag="null"):
    """Carry it out, and answer `null`."""

    group: ClassVar[str] = "Bodies"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Answer with nothing at all."""
        return with_body(await exchange.proceed(), b"null", Content_Type="application/json")


class EmptyObject(Rule, frozen=True, kw_only=True, tag="empty-object"):
    """Carry it out, and answer `{}`."""

    group: ClassVar[str] = "Bodies"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Answer with an object that says nothing."""
        return with_body(await exchange.proceed(), b"{}", Content_Type="application/json")


class GzipBomb(Rule, frozen=True, kw_only=True, tag="gzip-bomb"):
    """Carry it out, and answer with `megabytes` of white space, compressed a thousand times."""

    group: ClassVar[str] = "Bodies"

    megabytes: int = 256

    def check(self) -> None:
        """Refuse a bomb that would have to be made for minutes."""
        expect(1 <= self.megabytes <= 4096, "megabytes: expected 1 to 4096", self.megabytes)  # noqa: PLR2004

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Light the fuse."""
        answer = await exchange.proceed()
        return with_body(
            answer, _bomb(self.megabytes), Content_Type="application/json", Content_Encoding="gzip"
        )


@lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    blanks = b" " * 2**20
    return b"".join(packer.compress(blanks) for _ in range(megabytes)) + packer.flush()
