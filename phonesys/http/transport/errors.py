"""The edge to aiohttp: one try per request, bodies with a cap, and its errors in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from phonesys.errors import (
    AttemptTimeout,
    CallError,
    ConnectError,
    DecodeError,
    NotOpen,
    ResponseTooLarge,
    TransportError,
)
from phonesys.http.response import EXCERPT, SHOWN, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, StreamReader

    from phonesys.secret import Secret

    RawResponse: TypeAlias = tuple[int, Mapping[str, str], bytes]
    """Status, headers and body."""


class RequestNotSent(aiohttp.ClientError):
    """No connection was good for sending anything."""


class ConnectionLost(aiohttp.ClientError):
    """The connection was lost, in a shape that aiohttp does not retry."""


class NoRetryMiddleware:
    """Keeps aiohttp from sending a request a second time.

    aiohttp repeats GET, PUT and DELETE on its own where a kept connection turns out closed: a write could
    happen twice, and a read would not be counted against its rate window.
    """

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send it once."""
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as failure:
            reason = str(failure)
        raise ConnectionLost(reason)


def no_retry_middlewares(session: aiohttp.ClientSession) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return the middlewares that make a session try once; its own run inside."""
    return (NoRetryMiddleware(), *getattr(session, "_middlewares", ()))


class BodyLimitExceeded(aiohttp.ClientError):
    """The body exceeds the cap."""


async def read_capped(content: StreamReader, cap: int) -> bytes:
    """Read a body, decompressed, up to the cap; raises TooMuch beyond it."""
    piece = await content.readany()
    if content.at_eof() and len(piece) <= cap:
        return piece
    pieces, size = [piece], len(piece)
    while piece or not content.at_eof():
        if size > cap:
            raise BodyLimitExceeded(f"the answer is larger than {cap} bytes")
        piece = await content.readany()
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


MAPPED_EXCEPTIONS = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    TimeoutError,
    ValueError,
    RuntimeError,
)
"""What sending a request may raise that is nobody's mistake in the program."""


def map_exception(failure: Exception) -> CallError | NotOpen:
    """Turn what aiohttp raises into an error of ours.

    Its cause is kept without tracebacks, whose frames hold the signed request, and not at all where the
    error itself does (aiohttp.ClientResponseError, and what that is made of).
    """
    error = _named(failure)
    if not isinstance(failure, aiohttp.ClientResponseError | HttpProcessingError):
        error.__cause__ = _bare(failure)
    return error


def _named(failure: Exception) -> CallError | NotOpen:
    what = one_line(str(failure)[:EXCERPT])[:SHOWN] or type(failure).__name__
    match failure:
        case BodyLimitExceeded():
            return ResponseTooLarge(what)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | RequestNotSent():
            return ConnectError(f"could not connect: {what}")
        case TimeoutError():
            return AttemptTimeout("no answer in time")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return TransportError(f"the answer is not HTTP: {one_line(failure.message[:EXCERPT])[:SHOWN]}")
        case RuntimeError() if what == "Session is closed":
            return NotOpen("the session that was handed in is closed")
        case _:
            return TransportError(f"the connection was lost: {what}")


def _bare(failure: BaseException) -> BaseException:
    """Drop the tracebacks of an error and of all that it came from."""
    link: BaseException | None = failure
    while link is not None:
        link.__traceback__ = None
        link.__suppress_context__ = True
        after = link.__cause__
        link.__context__ = None
        link = after
    return failure


_MASK = b"***"


def redact(body: bytes, signed: Mapping[str, str], secrets: Iterable[Secret] = ()) -> bytes:
    """Mask the credential, and what secrets the request carried, in an answer that echoes them."""
    for value in signed.values():
        credential = value.rpartition(" ")[2].encode()
        body = body.replace(credential, _MASK)
    for secret in secrets:
        body = body.replace(secret.reveal().encode(), _MASK)
    return body


def redact_decode_error(failure: DecodeError, signed: Mapping[str, str]) -> DecodeError:
    """Mask the credential in what a decoder shows, and drop the frames that hold the whole answer."""
    failure.body = redact(failure.body, signed)
    failure.message = redact(failure.message.encode(), signed).decode()
    failure.args = (failure.message,)
    failure.__traceback__ = None
    return failure
