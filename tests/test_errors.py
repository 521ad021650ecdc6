from __future__ import annotations

import copy
import pickle
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import errors
from phonesys.errors import (
    BackendFault,
    BadRequest,
    CallError,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    NotFound,
    OutcomeUnknown,
    PermanentServerError,
    PhonesysError,
    PhoneSystemMissing,
    QuotaExhausted,
    RateLimited,
    RequestTimeout,
    ServerError,
    StatusError,
    SweepIncomplete,
    TransportError,
    Unauthorized,
    UnexpectedRedirect,
    UnknownProvider,
    Unsupported,
    UsageError,
    status_class,
)
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES: list[Any] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
]
TRIPS: list[Callable[[Any], Any]] = [
    lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301
    copy.copy,
    copy.deepcopy,
]


def made(cls: type[PhonesysError]) -> PhonesysError:
    """One of the class with all of its facts set, to something other than their defaults."""
    error = cls("what happened")
    if isinstance(error, CallError):
        error.with_call(backend="agency", operation="active_numbers", account="loc_1")
        error.attempts, error.elapsed = 3, 1.5
        error.not_executed = not error.not_executed
    if isinstance(error, StatusError):
        error.status, error.body = 418, b'{"message": "what happened"}'
        error.request_id, error.retry_after = "req_1", 17.0
    if isinstance(error, Unauthorized):
        error.renewable = True
    if isinstance(error, DeadlineExceeded):
        error.retry_after = 4.0
    if isinstance(error, DecodeError):
        error.status, error.body = 200, b"<html>"
    if isinstance(error, QuotaExhausted):
        error.resets_at = datetime(2026, 1, 2, tzinfo=UTC)
    if isinstance(error, OutcomeUnknown):
        error.recovery_hint, error.cause = "find('+14155552671')", "the connection was lost"
        error.write = Write(kind="assign", account="default", number="+14155552671", wanted={"agent_id": "a"})
    if isinstance(error, SweepIncomplete):
        error.numbers, error.report = ["+14155552671"], {"failed": 1}
    return error


def test_one_root_catches_everything() -> None:
    """`except PhonesysError` is a promise about every class in the module."""
    assert len(CLASSES) > 25
    assert all(issubclass(cls, PhonesysError) for cls in CLASSES)


def test_the_tree_is_drawn_as_it_is() -> None:
    """The drawing at the top of the module holds every class, below the one it derives from."""
    parents: dict[int, str] = {}
    drawn: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}((?:[│ ]   |[├└]── )*)([A-Z]\w+)", line):
            depth = len(found[1]) // 4
            drawn[found[2]] = parents.get(depth - 1)
            parents[depth] = found[2]
    real = {cls.__name__: cls.__bases__[0].__name__ if cls is not PhonesysError else None for cls in CLASSES}
    assert drawn == real


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("trip", TRIPS, ids=["pickle", "copy", "deepcopy"])
def test_errors_cross_processes(cls: type[PhonesysError], trip: Callable[[Any], Any]) -> None:
    """Class, arguments, facts, notes and text survive; nothing of them is shared with the original."""
    error = made(cls)
    error.add_note("while testing")
    other = trip(error)
    assert type(other) is cls
    assert other is not error
    assert other.args == error.args == ("what happened",)
    assert other.__dict__ == error.__dict__
    assert (str(other), repr(other)) == (str(error), repr(error))
    other.__dict__["later"] = True
    assert "later" not in vars(error)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, CallError)])
def test_errors_say_which_call_failed(cls: type[CallError]) -> None:
    """Backend, operation, account, what happened, and how often it was tried."""
    text = str(made(cls))
    assert text.startswith("agency active_numbers loc_1: ")
    assert "what happened" in text
    assert text.endswith("(3 attempts in 1.5 s)")


def test_errors_say_what_the_vendor_said() -> None:
    """The status, its sentence and its request id; without a sentence that too."""
    error = BadRequest("pageSize must not be less than 1", status=400, request_id="req_1")
    assert str(error) == "400 pageSize must not be less than 1 [request req_1]"
    assert str(NotFound(status=404)) == "404 without a message"
    assert str(error.with_call(backend="agency", operation="active_numbers", account="")).startswith(
        "agency active_numbers: 400 "
    )


def test_errors_without_words_name_themselves() -> None:
    """An error never reads as nothing."""
    assert str(TransportError()) == "TransportError"
    assert str(BackendFault().with_call(backend="x", operation="", account="")) == "x: BackendFault"


def test_one_attempt_is_not_worth_mentioning() -> None:
    """Only repeated calls say how often."""
    error = ConnectError("could not connect")
    error.attempts, error.elapsed = 1, 0.2
    assert str(error) == "could not connect"


def test_an_unknown_outcome_says_how_to_find_out() -> None:
    """And what hid the answer, in words that survive pickling."""
    error = OutcomeUnknown(
        "create_number may have been carried out", recovery_hint="get('pn_1')", cause="cut short"
    )
    assert str(error) == "create_number may have been carried out (cut short); to find out: get('pn_1')"
    assert str(OutcomeUnknown("who knows")) == "who knows"


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (b'{"code": 7, "message": "no"}', {"code": 7, "message": "no"}),
        (b"[1]", {}),
        (b"", {}),
        (b"<html>", {}),
        (b"\xff", {}),
        (b'{"a": "\xff"}', {}),
        (b"[" * 100_000, {}),
    ],
)
def test_details_are_the_vendors_own_object(body: bytes, details: dict[str, Any]) -> None:
    """Empty where the body is none; never an exception."""
    assert StatusError("no", status=400, body=body).details == details


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (301, UnexpectedRedirect), (304, UnexpectedRedirect), (307, UnexpectedRedirect),
        (400, BadRequest), (402, BadRequest), (410, BadRequest),
        (418, BadRequest), (422, BadRequest), (451, BadRequest),
        (401, Unauthorized), (403, errors.Forbidden), (404, NotFound), (408, RequestTimeout),
        (409, errors.Conflict), (429, RateLimited),
        (500, ServerError), (502, ServerError), (503, ServerError), (504, ServerError),
        (501, PermanentServerError), (505, PermanentServerError), (520, PermanentServerError),
        (100, StatusError), (600, StatusError), (999, StatusError), (0, StatusError),
    ],
)  # fmt: skip
def test_statuses_have_their_class(status: int, cls: type[StatusError]) -> None:
    """Every number has one, also those that HTTP does not know."""
    assert status_class(status) is cls


def test_what_may_pass_is_transient() -> None:
    """A retry may help transient errors; `not_executed` ones prove that nothing was carried out."""
    transient = {cls.__name__ for cls in CLASSES if issubclass(cls, CallError) and cls.transient}
    assert transient == {
        "TransportError", "ConnectError", "AttemptTimeout", "RequestTimeout", "RateLimited", "ServerError",
        "NotJson",
    }  # fmt: skip
    harmless = {cls.__name__ for cls in CLASSES if issubclass(cls, CallError) and cls.not_executed}
    assert harmless == {
        "ConnectError", "UnexpectedRedirect", "BadRequest", "Unauthorized", "Forbidden", "NotFound",
        "PhoneSystemMissing", "Conflict", "RateLimited", "QuotaExhausted",
    }  # fmt: skip


def test_usage_errors_are_what_python_programs_expect() -> None:
    """They are ValueErrors, and a missing ability is an AttributeError, so that `hasattr` says no."""
    assert issubclass(UsageError, ValueError)
    assert issubclass(Unsupported, AttributeError)
    assert issubclass(UnknownProvider, UsageError)
    assert not issubclass(CallError, ValueError)
    assert issubclass(PhoneSystemMissing, NotFound)


def test_an_incomplete_sweep_keeps_what_it_found() -> None:
    """As a list of its own."""
    numbers = ("+14155552671",)
    error = SweepIncomplete("1 account could not be read", numbers=numbers, report="report")
    assert (error.numbers, error.report) == (["+14155552671"], "report")
    assert str(error) == "1 account could not be read"
