"""The mock transport: a backend is tested without sockets, and everything but the network is real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import (
    AgentNumbers,
    ApiKey,
    AttemptTimeout,
    BadRequest,
    ConnectError,
    InvalidArgument,
    LeadConnector,
    Leadping,
    OutcomeUnknown,
    PhoneSystem,
    PhoneSystemMissing,
    TransportError,
)
from phonesys.http import HttpClient, HttpOptions, RawResponse, json_decoder
from phonesys.testing import MockTransport, json_response
from tests.http.raw_vendor import Thing, client, read, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http import Call

BASE = "https://vendor.example"


async def test_each_call_is_answered_by_the_function() -> None:
    """The function sees the call, and its response is decoded as one from the network."""
    transport = MockTransport(lambda call: json_response({"a": len(call.target)}))
    async with client(BASE, transport=transport) as http:
        assert await http.send(read(target="/12")) == Thing(3)
        assert await http.send(read(target="/1234")) == Thing(5)
    assert [call.target for call in transport.calls] == ["/12", "/1234"]


async def test_the_function_may_be_async() -> None:
    """An awaitable response is awaited."""

    async def respond(_call: Call[Any]) -> RawResponse:
        return json_response({"a": 7})

    async with client(BASE, transport=MockTransport(respond)) as http:
        assert await http.send(read()) == Thing(7)


@pytest.mark.parametrize("backend", [LeadConnector, Leadping, AgentNumbers])
async def test_every_backend_takes_a_transport(backend: Any) -> None:
    """A sweep needs nothing else."""

    def respond(call: Call[Any]) -> RawResponse:
        rows: dict[str, Any] = {"numbers": [{"phoneNumber": "+14155552671", "sid": "PN1"}]}
        if call.operation == "list_numbers" and call.method == "POST":
            rows = {"items": [{"id": "1", "number": "+14155552671"}]}
        elif call.operation == "list_numbers":
            row = {"id": "1", "phoneNumber": "+14155552671"}
            rows = {"data": [row], "pagination": {"page": 1, "limit": 100, "total": 1}}
        return json_response(rows)

    transport = MockTransport(respond)
    async with PhoneSystem(backend("key", transport=transport)) as phones:
        (name,) = phones
        numbers = await phones.numbers({name: ["default"]})
    assert [number.number for number in numbers] == ["+14155552671"]
    assert transport.calls


async def test_statuses_are_the_errors_that_they_are() -> None:
    """A mock decides what a vendor says, and the error is the one that a program would see."""
    missing = json_response({"message": "Phone system is not connected to this account"}, status=404)
    async with LeadConnector("pit-0000", transport=MockTransport(lambda _call: missing)) as backend:
        with pytest.raises(PhoneSystemMissing):
            await backend.page("loc_1")
    refused = json_response({"message": "no"}, status=422)
    async with client(BASE, transport=MockTransport(lambda _call: refused)) as http:
        with pytest.raises(BadRequest, match="422 no"):
            await http.send(read())


async def test_failures_of_a_network_are_retried() -> None:
    """An exception of the function is treated like one of a network."""
    failures: list[Exception] = [ConnectionResetError("reset"), aiohttp.ServerDisconnectedError()]

    def respond(_call: Call[Any]) -> RawResponse:
        if failures:
            raise failures.pop()
        return json_response({"a": 1})

    transport = MockTransport(respond)
    async with client(BASE, transport=transport, backoff=0) as http:
        assert await http.send(read()) == Thing(1)
    assert len(transport.calls) == 3


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (TimeoutError(), AttemptTimeout),
        (OSError("lost"), TransportError),
        (ConnectError("refused"), ConnectError),
    ],
)
async def test_failures_become_ours(failure: Exception, error: type[Exception]) -> None:
    """Errors of ours pass as they are; others become the one that fits."""

    def respond(_call: Call[Any]) -> RawResponse:
        raise failure

    async with client(BASE, transport=MockTransport(respond), retries=0) as http:
        with pytest.raises(error):
            await http.send(read())


async def test_a_lost_write_is_unknown() -> None:
    """A write is not repeated, as over a network."""

    def respond(_call: Call[Any]) -> RawResponse:
        raise ConnectionResetError

    transport = MockTransport(respond)
    async with client(BASE, transport=transport) as http:
        with pytest.raises(OutcomeUnknown):
            await http.send(write())
    assert len(transport.calls) == 1


async def test_headers_are_found_in_any_case() -> None:
    """As in a response from the network."""
    response = json_response({}, status=400, headers={"x-request-id": "req_1"})
    async with client(BASE, transport=MockTransport(lambda _call: response)) as http:
        with pytest.raises(BadRequest) as error:
            await http.send(read())
    assert error.value.request_id == "req_1"


async def test_any_object_with_the_method_is_a_transport() -> None:
    """The protocol has one method, which also sees what signs the call."""
    signed_with: list[Mapping[str, str]] = []

    class Own:
        async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
            signed_with.append(signed)
            return RawResponse(200, {}, b'{"a": 2}')

    http = HttpClient(BASE, backend="test", auth=ApiKey("key"), transport=Own())
    async with http, http.clone(ApiKey("other"), headers={}) as clone:
        call = read(decode=json_decoder(Thing))
        assert await http.send(call) == Thing(2)
        assert await clone.send(call) == Thing(2)
    assert [dict(headers) for headers in signed_with] == [{"X-API-Key": "key"}, {"X-API-Key": "other"}]


async def test_a_transport_excludes_a_session() -> None:
    """Only one of them can send, and a transport has TLS settings of its own."""
    transport = MockTransport(lambda _call: json_response({}))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidArgument, match="session= or transport="):
            HttpClient(BASE, backend="test", auth=ApiKey("key"), session=session, transport=transport)


def test_options_of_a_session_are_refused_beside_a_transport() -> None:
    """A TLS context would have no effect."""
    from ssl import create_default_context

    options = HttpOptions(ssl=create_default_context())
    transport = MockTransport(lambda _call: json_response({}))
    with pytest.raises(InvalidArgument, match=r"HttpOptions\.ssl"):
        HttpClient(BASE, backend="test", auth=ApiKey("key"), options=options, transport=transport)
