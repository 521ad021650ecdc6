from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import ApiKey, Bearer, InvalidArgument, Secret, UsageError
from phonesys.secret import DroppedSecret, HeaderValue

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "pit-Planted0Secret"


# fmt: off
SHOWN: list[Callable[[Secret], str]] = [
    repr, str, format, ascii,
    lambda secret: f"token {secret}", lambda secret: f"token {secret!r}", lambda secret: f"{secret:>40}",
    lambda secret: f"{secret!s:.3}",
    lambda secret: "%s" % secret, lambda secret: "%r" % secret,  # noqa: UP031
    "{}".format, "{0!r}".format,
    lambda secret: repr([secret, {"token": secret}]),
    lambda secret: repr(pickle.dumps(secret)),
    lambda secret: repr(pickle.dumps(copy.copy(secret))),
    lambda secret: repr(copy.copy(secret)), lambda secret: repr(copy.deepcopy(secret)),
    lambda secret: repr(getattr(secret, "__dict__", None)),
    lambda secret: logging.LogRecord("x", 10, "x", 1, "%s %r", (secret, secret), None).getMessage(),
]
# fmt: on


@pytest.mark.parametrize("shown", SHOWN)
def test_nothing_shows_it(shown: Callable[[Secret], str]) -> None:
    """Neither text nor formatting, copies, pickles or logging."""
    assert VALUE not in shown(Secret(VALUE))
    assert VALUE[4:] not in shown(Secret(VALUE))


def test_only_reveal_shows_it() -> None:
    """To the vendor it belongs to."""
    assert Secret(VALUE).reveal() == VALUE
    assert Secret(Secret(VALUE)).reveal() == VALUE


def test_there_is_no_dict_to_look_into() -> None:
    """`vars` has nothing to show."""
    with pytest.raises(TypeError):
        vars(Secret(VALUE))


@pytest.mark.parametrize(
    "trip",
    [lambda secret: pickle.loads(pickle.dumps(secret)), copy.copy, copy.deepcopy],  # noqa: S301
    ids=["pickle", "copy", "deepcopy"],
)
def test_copies_leave_the_credential_behind(trip: Callable[[Secret], Secret]) -> None:
    """They are still a Secret, and using one says what happened."""
    left = trip(Secret(VALUE))
    assert isinstance(left, DroppedSecret)
    assert (repr(left), str(left)) == ("Secret('***')", "***")
    with pytest.raises(UsageError, match="dropped when it is pickled"):
        left.reveal()


def fail(token: Secret, header: HeaderValue, headers: dict[str, Any]) -> None:
    holder = {"nested": [token, header]}
    raise LookupError(len(holder))


def test_tracebacks_with_locals_do_not_show_it() -> None:
    """Neither the secret nor its header is shown, in any container."""
    header = HeaderValue("Bearer " + VALUE)
    try:
        fail(Secret(VALUE), header, {"Authorization": header})
    except LookupError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "holder" in shown
    assert "***" in shown
    assert VALUE not in shown


REFUSED: list[tuple[Any, str]] = [
    ("", "not empty"),
    ("   ", "not empty"),
    (VALUE + "\n", "padded"),
    (" " + VALUE, "padded"),
    (VALUE + "\r\nX-Evil: 1", "printable ASCII"),
    (VALUE + "\0x", "printable ASCII"),
    (VALUE + "é", "printable ASCII"),
    (VALUE + "\ud800", "printable ASCII"),
    (VALUE.encode(), "got bytes"),
    (None, "got NoneType"),
    ([VALUE], "got list"),
    (7, "got int"),
]


@pytest.mark.parametrize(("value", "expected"), REFUSED)
@pytest.mark.parametrize("kind", [Secret, Bearer, ApiKey])
def test_what_cannot_travel_in_a_header_is_refused(kind: Any, value: Any, expected: str) -> None:
    """Without being shown: the message says what is wrong, and what kind of credential it was."""
    with pytest.raises(InvalidArgument, match=expected) as caught:
        kind(value)
    assert VALUE not in str(caught.value)
    assert VALUE not in repr(caught.value)
    assert caught.value.__cause__ is None
    what = {Secret: "credential", Bearer: "token", ApiKey: "API key"}[kind]
    assert str(caught.value).startswith(f"{what}: ")


def test_a_refusal_does_not_keep_the_value_in_its_frame() -> None:
    """A token with a newline at its end is nearly the real one: tracebacks show locals."""
    with pytest.raises(InvalidArgument) as caught:
        Secret(VALUE + "\n")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "in __init__" in shown
    assert VALUE not in shown


@settings(deadline=None)
@given(st.text())
def test_any_text_is_kept_or_refused(text: str) -> None:
    """An accepted value comes back unchanged, and fits a header."""
    try:
        secret = Secret(text)
    except InvalidArgument as error:
        assert len(text) < 5 or text not in str(error)  # noqa: PT017
        return
    assert secret.reveal() == text
    text.encode("ascii")
    assert not set(text) & {"\r", "\n", "\0"}


def test_secrets_compare() -> None:
    """Equal to a Secret of the same value, never to the value itself."""
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("pit-other")
    assert Secret(VALUE) != VALUE
    assert len({Secret(VALUE), Secret(VALUE), Secret("pit-other")}) == 2


def test_a_header_value_is_a_string_whose_repr_is_masked() -> None:
    """It is sent unchanged, and a container that holds it prints the mask."""
    header = HeaderValue(VALUE)
    assert isinstance(header, str)
    assert header == VALUE
    assert repr(header) == "'***'"
    assert VALUE not in repr({"Authorization": header})
    assert VALUE not in f"{[header]}"
