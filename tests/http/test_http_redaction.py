"""Redaction: a credential that a server echoes is in no error, wherever and however it echoes it."""

from __future__ import annotations

import html
import json
import logging
import pickle
from traceback import TracebackException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from phonesys import PhonesysError, Secret, ServerError
from phonesys.http.redaction import Redactor
from phonesys.testing import MockTransport
from tests.http.raw_vendor import RawVendor, answer, client, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http import RawResponse

TOKEN = "pit-PLANTED/SECRET-0123456789"


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def escaped_in_capitals(text: str) -> str:
    return "".join(f"\\u{ord(char):04X}" for char in text)


def literal(text: str) -> str:
    return text


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": literal,
    "with its scheme": lambda text: f"Bearer {text}",
    "escaped": escaped,
    "escaped in capitals": escaped_in_capitals,
    "half escaped": lambda text: text[:9] + escaped(text[9:]),
    "escaped slash": lambda text: text.replace("/", "\\/"),
}
IN_TEXT: dict[str, Callable[[str], str]] = {
    "percent-encoded": lambda text: quote(text, safe=""),
    "each percent-encoded": lambda text: "".join(f"%{ord(char):02X}" for char in text),
    "in HTML": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "in hexadecimal HTML": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
}

PLACES: dict[str, Callable[[str], bytes]] = {
    "message": lambda echo: answer(f'{{"message": "bad token {echo}"}}', 403),
    "another field": lambda echo: answer(f'{{"message": "no", "request": {{"auth": "{echo}"}}}}', 422),
    "key": lambda echo: answer(f'{{"{echo}": "no"}}', 400),
    "list of messages": lambda echo: answer(f'{{"message": ["no", "{echo}"]}}', 400),
    "success of another shape": lambda echo: answer(f'{{"b": "{echo}"}}'),
    "success of the wrong type": lambda echo: answer(f'{{"a": "{echo}"}}'),
    "success cut short": lambda echo: answer(f'{{"a": 1, "b": "{echo}'),
    "page": lambda echo: answer(f"<html><title>{echo}</title></html>", 502),
    "page as success": lambda echo: answer(f"<html>{echo}</html>"),
    "text": lambda echo: answer(f"denied: {echo}", 500, content_type="text/plain"),
    "end of a long message": lambda echo: answer(f'{{"message": "{"x" * 2030}{echo}"}}', 403),
    "end of an excerpt": lambda echo: answer(f'{{"c": "{"x" * 180}{echo}", "b": 1}}'),
    "end of a long body": lambda echo: answer("x" * 2036 + echo, 500, content_type="text/plain"),
}
HEADS: dict[str, Callable[[str], bytes]] = {
    "request id": lambda echo: answer("{}", 500, X_Request_Id=echo),
    "status line": lambda echo: f"HTTP/1.1 {echo}\r\n\r\n".encode(),
    "protocol": lambda echo: f"{echo} 200 OK\r\n\r\n".encode(),
    "header name": lambda echo: f"HTTP/1.1 200 OK\r\n{echo}: x\r\n\r\n".encode(),
    "malformed header": lambda echo: f"HTTP/1.1 200 OK\r\nX: \x00{echo}\r\n\r\n".encode(),
    "chunk size": lambda echo: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{echo}\r\n".encode(),
    "content length": lambda echo: f"HTTP/1.1 200 OK\r\nContent-Length: {echo}\r\n\r\n".encode(),
    "encoding": lambda echo: answer("{}", Content_Encoding=echo),
}
CASES: dict[str, tuple[Callable[[str], bytes], Callable[[str], str]]] = {
    **{f"{place}, {name}": (make, SPELLINGS[name]) for place, make in PLACES.items() for name in SPELLINGS},
    **{
        f"{place}, {name}": (PLACES[place], IN_TEXT[name])
        for place in ("message", "page", "text", "another field")
        for name in IN_TEXT
    },
    **{f"{place}, as it is": (make, literal) for place, make in HEADS.items()},
}


def assert_hidden(error: BaseException) -> None:
    """No part of the credential that is worth anything is shown, however it is read."""
    texts = [
        "".join(TracebackException.from_exception(error, capture_locals=True).format()),
        str(error), repr(error), repr(vars(error)), repr(pickle.loads(pickle.dumps(error))),  # noqa: S301
        repr(getattr(error, "details", "")), repr(error.__cause__),
    ]  # fmt: skip
    for text in texts:
        for read_as in (text, html.unescape(text), _unescaped(text)):
            assert "PLANT" not in read_as
            assert "0123456" not in read_as


def _unescaped(text: str) -> str:
    from urllib.parse import unquote

    while "\\\\" in text:
        text = text.replace("\\\\", "\\")
    parts = text.split("\\u00")
    return unquote(parts[0] + "".join(_char(part) for part in parts[1:]))


def _char(part: str) -> str:
    try:
        return chr(int(part[:2], 16)) + part[2:]
    except ValueError:
        return part


@pytest.mark.parametrize("case", CASES)
async def test_no_echo_is_shown(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in text, attributes, pickle, causes and tracebacks with locals, nor in a log record."""
    caplog.set_level(logging.DEBUG)
    make, spell = CASES[case]
    async with RawVendor(make(spell(TOKEN))) as vendor:
        async with client(vendor, retries=0, auth=_bearer()) as http:
            for call in (read(), write(body=b"{}")):
                error = await _failure(http, call)
                assert_hidden(error)
    assert "PLANT" not in caplog.text


def _bearer() -> Any:
    from phonesys import Bearer

    return Bearer(TOKEN)


async def _failure(http: Any, call: Any) -> PhonesysError:
    try:
        await http.send(call)
    except PhonesysError as error:
        assert error.__traceback__ is not None  # noqa: PT017 -- narrowing a type
        # This frame, and the test's, know the credential.
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("failure", [OSError(f"lost {TOKEN}"), TimeoutError(TOKEN), ValueError(f"{TOKEN!r}")])
async def test_no_exception_of_a_transport_shows_it(failure: Exception) -> None:
    """A cause that would is dropped; another one is kept."""

    def respond(_call: Any) -> RawResponse:
        raise failure

    async with client(
        "https://vendor.example", transport=MockTransport(respond), retries=0, auth=_bearer()
    ) as http:
        assert_hidden(await _failure(http, read()))
        failure.args = ("harmless",)
        assert (await _failure(http, read())).__cause__ is failure


async def test_secrets_of_a_body_are_masked_too() -> None:
    """A call names what its body carries."""
    refusal = answer(json.dumps({"message": f"bad client_secret {TOKEN}"}), 400)
    async with RawVendor(refusal) as vendor, client(vendor) as http:
        assert_hidden(await _failure(http, write(secrets=(Secret(TOKEN),))))


def test_the_vendors_other_words_stay() -> None:
    """Only the credential is masked, and the body is still JSON."""
    redactor = Redactor({"Authorization": f"Bearer {TOKEN}"})
    body = json.dumps({"message": f"token {TOKEN} is \u00e9xpired", "code": "pit-"}).encode()
    error = ServerError(f"token {TOKEN} is éxpired", status=500, body=body)
    redactor.error(error)
    assert error.message == "token *** is éxpired"
    assert error.details == {"message": "token *** is éxpired", "code": "pit-"}


def test_text_without_the_credential_is_untouched() -> None:
    """Escapes of other words, and words that begin like it."""
    redactor = Redactor({"X-API-Key": "abcdefghijkl", "X-Empty": ""})
    for text in ("", "100 %41", r"\u0061bc", "abcdefgh!", "abcdefg", "&#97;bc", "a\\/b"):
        assert redactor.text(text) == text
