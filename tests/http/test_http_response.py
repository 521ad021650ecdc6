from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from phonesys import DecodeError, NotFound, RateLimited, ServerError
from phonesys.errors import NotJson
from phonesys.http.response import (
    BODY_EXCERPT_BYTES,
    decode_error,
    error_from_response,
    expect_no_content,
    json_decoder,
    vendor_message,
)


class Thing(msgspec.Struct):
    a: int


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # Where vendors and frameworks put their sentence.
        (b'{"message": "Invalid locationId format", "error": "Bad Request"}', "Invalid locationId format"),
        (b'{"message": ["a is wrong", "b is wrong"], "error": "Bad Request"}', "a is wrong; b is wrong"),
        (b'{"msg": "Internal server error", "accountStatus": "suspended"}', "Internal server error"),
        (b'{"title": "Not Found", "detail": "No such number", "status": 404}', "No such number"),
        (b'{"title": "Not Found", "detail": null, "status": 404}', "Not Found"),
        (b'{"error": {"message": "Invalid API key"}}', "Invalid API key"),
        (b'{"error": "Validation failed", "details": ["x"]}', "Validation failed"),
        (b'{"error": "invalid_grant", "error_description": "The token is spent"}', "The token is spent"),
        (b'{"errors": [{"message": "one"}, {"detail": "two"}]}', "one; two"),
        (b'{"message": {"error": ["inner"]}}', "inner"),
        (b'"just text"', "just text"),
        (b'["a", "b"]', "a; b"),
        # What holds none.
        (b"", ""),
        (b"   ", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"404", ""),
        (b'{"message": ""}', ""),
        (b'{"message": 7, "error": "Bad Request"}', "Bad Request"),
        (b'{"message": [], "error": "Bad Request"}', "Bad Request"),
        # A proxy's pages, and plain text.
        (b"<html><head><title> 502 Bad  Gateway </title></head><body>x</body></html>", "502 Bad Gateway"),
        (b"<html><title></title><body><h1>No</h1><p>way</p></body></html>", "No way"),
        (b"upstream connect error\n", "upstream connect error"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"message": "cut sho', '{"message": "cut sho'),
    ],
)
def test_the_vendors_message_is_found(body: bytes, message: str) -> None:
    """In every shape that was seen, and in none that holds none."""
    assert vendor_message(body) == message


@pytest.mark.parametrize("depth", [5, 50, 400, 600, 800, 5000, 200_000])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"message":', b"}")])
def test_deep_nesting_is_harmless(depth: int, left: bytes, right: bytes) -> None:
    """A hostile body costs neither the stack nor the error that it is the body of."""
    message = vendor_message(left * depth + b'"deep"' + right * depth)
    assert isinstance(message, str)
    assert depth != 5 or message == "deep"


def test_messages_are_bounded() -> None:
    """A message stays short for any number of parts of any length."""
    assert vendor_message(msgspec.json.encode({"message": [str(n) for n in range(100)]})).endswith("; 9")
    assert len(vendor_message(msgspec.json.encode({"message": "x" * 100_000}))) <= BODY_EXCERPT_BYTES
    assert len(vendor_message(b"x" * 100_000)) <= 200


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_any_body_makes_an_error(body: bytes) -> None:
    """The error keeps the first bytes of any body, and its text is about one line."""
    error = error_from_response(500, {}, body)
    assert isinstance(error, ServerError)
    assert error.body == body[:BODY_EXCERPT_BYTES]
    assert str(error).startswith("500 ")
    assert isinstance(error.details, dict)


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["message", "error", "errors"]), inner),
)


@settings(deadline=None)
@given(json_values)
def test_any_json_makes_a_message(value: Any) -> None:
    """Of any shape: text, or nothing."""
    assert isinstance(vendor_message(msgspec.json.encode(value)), str)


def test_errors_carry_what_the_headers_say() -> None:
    """The request's id under the names that are usual, and the wait, in any case of letters."""
    for name in ("X-Request-Id", "request-id", "CF-RAY"):
        assert error_from_response(404, CIMultiDict({name: "req_1"}), b"").request_id == "req_1"
    error = error_from_response(429, CIMultiDict({"retry-after": "17"}), b'{"status": 200}')
    assert isinstance(error, RateLimited)
    assert (error.status, error.retry_after, error.request_id) == (429, 17.0, None)


def test_the_status_is_trusted_and_never_the_body() -> None:
    """A body may claim what it likes."""
    error = error_from_response(404, {}, b'{"status": 500, "statusCode": 500}')
    assert isinstance(error, NotFound)
    assert error.status == 404


def test_only_the_first_bytes_are_kept() -> None:
    """An error that crosses processes is small."""
    assert len(error_from_response(500, {}, b"x" * 1_000_000).body) == BODY_EXCERPT_BYTES
    assert len(decode_error(b"x" * 1_000_000, "why").body) == BODY_EXCERPT_BYTES
    assert len(str(decode_error(b"x" * 1_000_000, "why"))) < 400


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", NotJson, "the response is empty"),
        (b" \n", NotJson, "the response is empty"),
        (b"<html>", NotJson, "the response is not JSON; it begins '<html>'"),
        (b'{"a": 1', NotJson, "not JSON"),
        (b'{"a": 1} trailing', NotJson, "not JSON"),
        (b"{}", DecodeError, "missing required field `a`; it begins '{}'"),
        (b'{"a": "x"}', DecodeError, "Expected `int`, got `str`"),
        (b"null", DecodeError, "got `null`"),
    ],
)
def test_unexpected_bodies_are_shown(body: bytes, kind: type[DecodeError], says: str) -> None:
    """JSON of the wrong shape is an error for good; what is no JSON may be better a moment later."""
    with pytest.raises(DecodeError, match=says) as caught:
        json_decoder(Thing)(body)
    assert type(caught.value) is kind
    assert caught.value.transient is (kind is NotJson)
    assert caught.value.__cause__ is None


def test_decoders_are_strict_by_default() -> None:
    """Numbers may be written as strings where the vendor does that."""
    assert json_decoder(Thing)(b'{"a": 1}') == Thing(1)
    assert json_decoder(Thing, strict=False)(b'{"a": "1"}') == Thing(1)
    with pytest.raises(DecodeError):
        json_decoder(Thing)(b'{"a": "1"}')


def test_no_content_ignores_anything_but_markup() -> None:
    """Empty and unneeded content is accepted; a proxy's page means that nothing was done."""
    for body in (b"", b"{}", b"OK", b"null"):
        expect_no_content(body)
    for body in (b"<html>", b"\n <!DOCTYPE html>"):
        with pytest.raises(NotJson):
            expect_no_content(body)
