"""Fuzz targets: functions of foreign bytes that raise if a promise is broken.

A PhonesysError is an ordinary result; any other exception is a finding. So is an error too large to send
elsewhere, and a number whose attributes raise.
"""

from __future__ import annotations

import pickle
import tempfile
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from multidict import CIMultiDict

from phonesys import (
    AgentNumbers,
    Capabilities,
    HttpOptions,
    LeadConnector,
    Leadping,
    NumberKind,
    NumberStatus,
    PhoneNumber,
    PhonesysError,
)
from phonesys.backends.agents import wire as agents
from phonesys.backends.leadconnector import wire as leadconnector
from phonesys.backends.leadconnector.oauth.wire import decode_locations, decode_token
from phonesys.backends.leadping import wire as leadping
from phonesys.cli import rows as output
from phonesys.config import load_backends
from phonesys.errors import DecodeError, StatusError, UsageError
from phonesys.http.response import BODY_EXCERPT_BYTES, error_from_response, expect_no_content
from phonesys.http.retry import backoff
from phonesys.oauth.codec import Codec
from phonesys.oauth.token import Token, encode_with_secrets
from phonesys.record import to_record
from phonesys.sandbox import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from phonesys.model import Cursor, Page

    Target = Callable[[bytes], None]

T = TypeVar("T")

LARGEST_ERROR = 16_000
"""Bytes of a pickled error: what its body, its message and its names come to."""
_MOST_CURSORS = 100_000


def decoded(read: Callable[[bytes], T], body: bytes) -> T | None:
    """Read an answer; None where that is an error of ours, which is looked at instead."""
    try:
        return read(body)
    except DecodeError as error:
        small(error)
        return None


def small(error: PhonesysError) -> None:
    """Look at an error as logs, terminals and other processes do."""
    raw = pickle.dumps(error)
    assert len(raw) <= LARGEST_ERROR, f"an error of {len(raw)} bytes"
    again = pickle.loads(raw)  # noqa: S301 -- our own
    assert str(again) == str(error)
    assert repr(error)
    str(error).encode()
    assert "\n" not in str(error)


def show(complaint: UsageError) -> None:
    """Encode a complaint about a user's text, which it may quote."""
    assert str(complaint).encode()
    assert pickle.dumps(complaint)


def number(one: PhoneNumber) -> None:
    """Look at a number in every way that there is."""
    texts = (one.provider, one.account, one.id, one.number)
    assert all(isinstance(text, str) for text in texts)
    assert all(text is None or isinstance(text, str) for text in (one.label, one.country, one.assignee))
    assert isinstance(one.kind, NumberKind)
    assert isinstance(one.status, NumberStatus)
    assert isinstance(one.capabilities, Capabilities)
    for moment in (one.created_at, one.updated_at):
        assert moment is None or isinstance(moment.astimezone(UTC), datetime)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 -- our own
    assert repr(one)
    assert msgspec.json.encode(one)
    record = to_record(one, "backend")
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record
    row = output.number_row(one, "backend")
    assert output.json_line(row).count(b"\n") == 1
    assert output.csv_line(row)


# Answers


def listing(body: bytes) -> None:
    """Every reader of data, on the same bytes."""
    for read in (leadconnector.decode_listing, leadping.decode_listing, agents.decode_numbers):
        page: Any = decoded(read, body)
        if page is None:
            continue
        for one in page.numbers if isinstance(page, leadconnector.Listing) else page.rows:
            number(one)
        for row in page.rejected:
            assert len(row.raw) <= BODY_EXCERPT_BYTES
            assert row.reason
        assert pickle.dumps(page)
        assert repr(page)
    for read_one in (leadping.decode_number, agents.decode_number):
        one = decoded(read_one, body)
        if one is not None:
            number(one)
    for read_other in (
        leadconnector.decode_pools,
        leadping.decode_status,
        agents.decode_agents,
        expect_no_content,
    ):
        other = decoded(read_other, body)
        assert repr(other)
        assert pickle.dumps(other)


class _Canned:
    """Answers every call of a backend with the same bytes, without a network."""

    body = b""

    def send(self, call: Any) -> Any:
        return self._answer(call)

    async def _answer(self, call: Any) -> Any:
        return call.decode(self.body)


class _LeadConnector(_Canned, LeadConnector): ...


class _Leadping(_Canned, Leadping): ...


class _Agents(_Canned, AgentNumbers): ...


def paging(body: bytes) -> None:
    """Every backend's page, and the pages that it leads to."""
    backends: tuple[Any, ...] = (
        _LeadConnector("x", with_pools=True),
        _LeadConnector("x", page_size=1, speculate=2),
        _Leadping("x", page_size=1),
        _Agents("x", page_size=1),
    )
    for backend in backends:
        backend.body = body
        first = _page(backend, None)
        for cursor in first.next[:3] + first.next[-1:] if first else ():
            _page(backend, cursor)


def _page(backend: Any, cursor: Cursor | None) -> Page[PhoneNumber] | None:
    try:
        page: Page[PhoneNumber] = _at_once(backend.page("acc_1", cursor))
    except PhonesysError as error:
        small(error)
        return None
    assert len(page.next) <= _MOST_CURSORS
    assert all(isinstance(one, int | str) for one in page.next)
    assert page.total is None or isinstance(page.total, int)
    assert repr(page)
    return page


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waited")


# Errors


def error(raw: bytes) -> None:
    """An answer that is no success: a status, headers, an empty line, a body.

    Headers reach us as aiohttp decodes them: UTF-8, with halves of surrogate pairs for what is none.
    """
    head, _, body = raw.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\n")
    digits = "".join(char for char in first if char in "0123456789")[:3]
    named = [line.partition(":") for line in lines if ":" in line]
    headers = CIMultiDict((name, value.strip()) for name, _, value in named)
    failure = error_from_response(int(digits or 500), headers, body)
    assert isinstance(failure, StatusError)
    small(failure)
    assert len(failure.message) <= BODY_EXCERPT_BYTES
    assert failure.message.isprintable()
    assert len(failure.body) <= BODY_EXCERPT_BYTES
    assert failure.request_id is None or (
        failure.request_id.isprintable() and len(failure.request_id) <= BODY_EXCERPT_BYTES
    )
    assert failure.retry_after is None or (isfinite(failure.retry_after) and failure.retry_after >= 0)
    assert backoff(failure, 1, HttpOptions(), 1.0) >= 0
    assert isinstance(failure.details, dict)


def error_body(body: bytes) -> None:
    """The same, of any body."""
    error(b"500\n\n" + body)


# Tokens


def token(body: bytes) -> None:
    """A vendor's answer about a token, and one about locations."""
    read = decoded(lambda raw: decode_token(raw, clock=lambda: 1000.0), body)
    if read is not None:
        assert isfinite(read.renew_at) or read.expires_at is None
        assert isinstance(read.is_usable(1000.0), bool)
        assert read.access.reveal() not in repr(read) or len(read.access.reveal()) < len("access=Secret")
        again = Codec(None).decode(Codec(None).encode({"key": read}), "written")
        assert again["key"] == read
    locations = decoded(decode_locations, body)
    if locations is not None:
        assert all(one.id is None or isinstance(one.id, str) for one in locations.locations)
        assert repr(locations)


def token_file(raw: bytes) -> None:
    """A line of a token store's file."""
    try:
        tokens = Codec(None).decode(raw, "tokens.json")
    except UsageError as complaint:
        small(complaint)
        return
    for one in tokens.values():
        assert one is None or isinstance(one, Token)
        assert one is None or isinstance(one.is_usable(0.0), bool)
    assert encode_with_secrets(tokens)
    assert repr(tokens)


# Files that people write


def config(raw: bytes) -> None:
    """A `phonesys.toml`, up to backends that are ready to be opened."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "phonesys.toml")
        path.write_bytes(raw)
        path.chmod(0o600)
        try:
            assert repr(load_backends(path))
        except UsageError as complaint:
            show(complaint)


def plan(raw: bytes) -> None:
    """A sandbox's fault plan, as JSON."""
    try:
        assert isinstance(FaultPlan.parse(raw, form="json"), FaultPlan)
    except UsageError as complaint:
        show(complaint)


GROUPS: dict[str, tuple[Target, ...]] = {
    "listing": (listing, paging),
    "errors": (error, error_body),
    "oauth": (token, token_file),
    "config": (config,),
    "plan": (plan,),
}
"""Targets that run on the same bytes."""
