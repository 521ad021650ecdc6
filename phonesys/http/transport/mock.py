"""Mock transport: calls are answered by a function, without sockets."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import msgspec
from multidict import CIMultiDict

from phonesys.http.response import RawResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from phonesys.http.call import Call


class MockTransport:
    """Transport for tests that answers each call with a function, sync or async.

    ::

        def respond(call):
            if call.operation == "list_numbers":
                return json_response({"data": [], "pagination": {"page": 1, "total": 0}})
            return json_response({"message": "not found"}, status=404)

        transport = MockTransport(respond)
        async with AgentNumbers("key", transport=transport) as agents:
            ...
        assert [call.method for call in transport.calls] == ["GET"]

    Limits, retries, time-outs and decoding work as with a network. The function may raise OSError or
    TimeoutError, as a network does.
    """

    def __init__(self, respond: Callable[[Call[Any]], RawResponse | Awaitable[RawResponse]]) -> None:
        self.calls: list[Call[Any]] = []
        """Every call that was sent, retries included."""
        self._respond = respond

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Return the function's response to this call."""
        self.calls.append(call)
        response = self._respond(call)
        return await response if isawaitable(response) else response


def json_response(
    value: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> RawResponse:
    """Return a response with this value as its JSON body."""
    return RawResponse(status, CIMultiDict(headers or {}), msgspec.json.encode(value))
