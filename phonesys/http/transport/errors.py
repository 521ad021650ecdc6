"""The edge to aiohttp: one attempt per request, bodies with a size limit, and its exceptions as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from phonesys.errors import (
    AttemptTimeout,
    CallError,
    ConnectError,
    NotOpen,
    ResponseTooLarge,
    TransportError,
)
from phonesys.http.response import BODY_EXCERPT_BYTES, MESSAGE_EXCERPT_CHARS, one_line
from phonesys.http.transport.files import is_out_of_files

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, StreamReader


class RequestNotSent(aiohttp.ClientError):
    """No connection was usable, so nothing was sent."""


class ConnectionLost(aiohttp.ClientError):
    """The connection was lost. aiohttp does not retry this exception."""


class NoRetryMiddleware:
    """Middleware that keeps aiohttp from sending a request a second time.

    aiohttp repeats GET, PUT and DELETE on its own if a pooled connection turns out to be closed. A write
    could then happen twice, and a read would not be counted against its rate window.
    """

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request once."""
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as failure:
            reason = str(failure)
        raise ConnectionLost(reason)


def no_retry_middlewares(session: aiohttp.ClientSession) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return the middlewares for one attempt per request. The session's own run inside."""
    return (NoRetryMiddleware(), *getattr(session, "_middlewares", ()))


class BodyLimitExceeded(aiohttp.ClientError):
    """The body is larger than `HttpOptions.max_body`."""


class CorruptBody(aiohttp.ClientError):
    """The body is not what its Content-Encoding says."""


async def read_capped(content: StreamReader, max_body: int, *, limit: int | None = None) -> bytes:
    """Return the body. Raise BodyLimitExceeded, which names `limit`, if it is larger than `max_body`."""
    chunk = await content.readany()
    if content.at_eof() and len(chunk) <= max_body:
        return chunk
    chunks, size = [chunk], len(chunk)
    while chunk or not content.at_eof():
        if size > max_body:
            raise BodyLimitExceeded(f"the response is larger than {limit or max_body} bytes")
        chunk = await content.readany()
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


MAPPED_EXCEPTIONS = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    TimeoutError,
    ValueError,
    RuntimeError,
)
"""Exceptions that a transport may raise without a mistake in the program."""


def map_exception(failure: Exception) -> CallError | NotOpen:
    """Return the error of ours for a transport's exception.

    The exception is kept as the cause, but without tracebacks, whose frames hold the signed request. An
    exception that holds the request itself (aiohttp.ClientResponseError, HttpProcessingError) is dropped.
    """
    error = _error_for(failure)
    if not isinstance(failure, aiohttp.ClientResponseError | HttpProcessingError):
        error.__cause__ = _without_tracebacks(failure)
    return error


def _error_for(failure: Exception) -> CallError | NotOpen:
    reason = _excerpt(str(failure)) or type(failure).__name__
    if is_out_of_files(failure):
        return ConnectError(f"could not connect: {reason}")
    for kinds, error, prefix in _ERRORS:
        if isinstance(failure, kinds):
            return error(prefix + reason)
    match failure:
        case TimeoutError():
            return AttemptTimeout("no response in time")
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return TransportError(f"the response is not HTTP: {_excerpt(failure.message)}")
        case RuntimeError() if reason == "Session is closed":
            return NotOpen("the session that was handed in is closed")
        case _:
            return TransportError(f"the connection was lost: {reason}")


_CONNECTING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, RequestNotSent)
_ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[CallError], str], ...] = (
    (BodyLimitExceeded, ResponseTooLarge, ""),
    (_CONNECTING, ConnectError, "could not connect: "),
    (CorruptBody, TransportError, "the response cannot be decompressed: "),
)


def _excerpt(text: str) -> str:
    return one_line(text[:BODY_EXCERPT_BYTES])[:MESSAGE_EXCERPT_CHARS]


def _without_tracebacks(failure: BaseException) -> BaseException:
    """Drop the tracebacks and contexts of an exception and of its causes."""
    link: BaseException | None = failure
    while link is not None:
        link.__traceback__ = None
        link.__suppress_context__ = True
        cause = link.__cause__
        link.__context__ = None
        link = cause
    return failure
