"""The backend under test, as the conformance kit sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from phonesys.changes import ChangeRequest
    from phonesys.provider import NumberProvider


class FailureMode(StrEnum):
    """Failures that a test can switch on for a backend's requests, until they are restored."""

    UNAVAILABLE = "unavailable"
    """503, or another sign that the vendor cannot answer now."""
    RATE_LIMITED = "rate-limited"
    UNAUTHORIZED = "unauthorized"
    ECHO = "echo"
    """An error whose body repeats the credential that was sent."""
    DROPPED = "dropped"
    """The connection ends without an answer."""
    CUT_SHORT = "cut-short"
    """The connection ends within the answer."""
    NOT_JSON = "not-json"
    """Success, with a page of HTML."""
    NULL = "null"
    """Success, with `null`."""
    EMPTY_OBJECT = "empty-object"
    WRONG_SHAPE = "wrong-shape"
    """Success, with rows that are no list."""
    SLOW = "slow"
    """No answer at all, for longer than a test lasts."""


@dataclass(frozen=True)
class BackendUnderTest:
    """A backend on the bench: how to make it, what it must find, and how to trouble it.

    What is left out skips the tests that need it, and says so.
    """

    make: Callable[[], NumberProvider]
    """Make a new backend that talks to the stand-in for its vendor, with few retries and no waits."""
    truth: Mapping[str, Collection[str]]
    """Account to the numbers that it holds, in E.164; at least one account with several pages is best."""
    secrets: Sequence[str] = ()
    """The credentials that it was made with."""
    failures: Mapping[FailureMode, Callable[[], Any]] = field(
        default_factory=dict[FailureMode, "Callable[[], Any]"]
    )
    """Function that switches on each failure."""
    restore: Callable[[], Any] = lambda: None
    """Switches off all failures."""
    requested_paths: Callable[[], Collection[str]] | None = None
    """Lists the paths that the stand-in was asked for so far, still percent-encoded."""
    paths: str | None = None
    """A regular expression that each of them must match as a whole."""
    changes: Sequence[ChangeRequest] = ()
    """Changes that the backend can carry out on the stand-in, and that it has not carried out yet."""
