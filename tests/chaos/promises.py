"""Promises for each kind of fault, and the faults of that kind for a seed.

=================  =========================================================================================
Kind               An account whose requests meet it
=================  =========================================================================================
latency, drip      is read whole: within the time-out, slowness is nothing
content-type       is read whole: the label is not believed, the body is
unknown-enum,      is read whole: what no document knows is kept or passed over
unknown-fields
missing-fields     is read whole by its phone numbers, since each row keeps its own. A row that has lost its
                   id is known by its number
duplicate-rows     is read whole, every row once. It may fail with RepeatedPage where the pages no longer add
                   up with the vendor's count
bad-row            is read whole but for that row, which is counted and kept, raw, on `page.rejected`
stalled-headers,   is asked again, and read whole unless every try of one request met a fault that is asked
stalled-body,      again; then it fails with the error of the last one
reset, reset-body,
truncated,
lost-answer,
huge-headers,
charset, html,
invalid-json
status             is asked again for 408, 429 and the 5xx that pass; fails otherwise, with the error of that
                   status. 401 is answered with another token where there may be one
refused            is asked again; an outage reaches every account
redirect           fails with UnexpectedRedirect
null, wrong-shape, fails with DecodeError: it is JSON, but no list of rows, and never taken for an empty one
empty-object
gzip-bomb          fails with ResponseTooLarge
repeated-token     fails with RepeatedPage where the page was not the first
moving-rows        is not read twice, and has every row that was there all the time, or fails with
                   InconsistentListing. Where no total is named, or another row moves the other way, it may
                   be done and short: how often is counted
=================  =========================================================================================

No promise covers a response that is well-formed, consistent, and wrong: a vendor that lists no
numbers for an account that has some is believed. No kind of fault here does that.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from phonesys.errors import (
    DecodeError,
    InconsistentListing,
    RepeatedPage,
    ResponseTooLarge,
    UnexpectedRedirect,
    status_class,
)
from phonesys.sandbox import FaultPlan, faults
from phonesys.sandbox.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from phonesys.sandbox import Served
    from phonesys.sandbox.faults import AnyRule
    from phonesys.sandbox.faults.answers import RetryAfter

MOVING = frozenset({"moving-rows"})
"""The kinds that change the data."""


Errors: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | None"


class Fate(Enum):
    """The fate of an account one of whose requests met a fault."""

    READ = "read all the same"
    AGAIN = "asked again"
    MAY_FAIL = "may fail"
    FAILS = "fails"


_PASSES = (
    "stalled-headers",
    "stalled-body",
    "reset",
    "reset-body",
    "truncated",
    "lost-answer",
    "huge-headers",
    "charset",
    "html",
    "invalid-json",
    "refused",
)
_FATES: dict[str, tuple[Fate, Errors]] = {
    "latency": (Fate.READ, None),
    "drip": (Fate.READ, None),
    "content-type": (Fate.READ, None),
    "unknown-enum": (Fate.READ, None),
    "unknown-fields": (Fate.READ, None),
    "missing-fields": (Fate.READ, None),
    "bad-row": (Fate.READ, None),
    "odd-types": (Fate.READ, None),
    "live-spelling": (Fate.READ, None),
    "broken-text": (Fate.READ, None),
    "no-number": (Fate.READ, None),
    "duplicate-rows": (Fate.MAY_FAIL, (InconsistentListing, RepeatedPage)),
    "moving-rows": (Fate.MAY_FAIL, (InconsistentListing, RepeatedPage)),
    "repeated-token": (Fate.MAY_FAIL, RepeatedPage),
    **dict.fromkeys(_PASSES, (Fate.AGAIN, None)),
    "redirect": (Fate.FAILS, UnexpectedRedirect),
    **dict.fromkeys(("null", "wrong-shape", "empty-object"), (Fate.FAILS, DecodeError)),
    "gzip-bomb": (Fate.FAILS, ResponseTooLarge),
}


HARMLESS = frozenset(kind for kind, (what, _) in _FATES.items() if what in {Fate.READ, Fate.AGAIN}) - {
    "refused"
}
"""The kinds that cost no account, with retries enough; an outage may cost more retries than there are."""


def promised() -> set[str]:
    """Name the kinds that something is promised for."""
    return {*_FATES, "status"}


def fate(served: Served) -> tuple[Fate, Errors]:
    """Return what a request that met a fault does to its account, and the error if it fails it."""
    if served.fault != "status":
        return _FATES[served.fault or ""]
    error = status_class(served.status or 0)
    if error.transient:
        return Fate.AGAIN, None
    return (Fate.MAY_FAIL if served.status == 401 else Fate.FAILS), error


_PASSING = (408, 429, 500, 502, 503, 504)
_LASTING = (400, 401, 403, 404, 409, 422, 501, 505)
_WAITS: tuple[RetryAfter | None, ...] = (None, 0, 0.02, "date", "past", "negative", "malformed")

_MAKE: dict[str, Callable[[Random], Iterable[AnyRule]]] = {
    "latency": lambda draw: [
        faults.Latency(
            seconds=draw.uniform(0, 0.05),
            jitter=0.05,
            tail=0.01,
            most=0.4,
            when=draw.choice(("before", "after")),
        )
    ],
    "stalled-headers": lambda draw: [faults.StalledHeaders(seconds=draw.choice((None, 0.1)))],
    "stalled-body": lambda draw: [faults.StalledBody(seconds=draw.choice((None, 0.1)))],
    "drip": lambda draw: [faults.Drip(piece=draw.choice((500, 1000, 4000)), pause=0.0005)],
    "status": lambda draw: [
        faults.Status(code=draw.choice(_PASSING), retry_after=draw.choice(_WAITS)),
        faults.Status(code=429, retry_after=draw.choice(_WAITS)),
        faults.Status(code=draw.choice((503, 504)), carry_out=True),
        faults.Status(code=draw.choice(_LASTING)),
    ],
    "html": lambda draw: [faults.Html(code=draw.choice((200, 502, 503)))],
    "redirect": lambda draw: [faults.Redirect(code=draw.choice((301, 302, 303, 307, 308)))],
    "refused": lambda draw: [faults.Refused(seconds=draw.uniform(0, 0.05), times=draw.choice((1, 2, 5)))],
    "charset": lambda draw: [faults.Charset(encoding=draw.choice(("utf-16", "utf-32", "cp037")))],
    "gzip-bomb": lambda _: [faults.GzipBomb(megabytes=4)],
    "missing-fields": lambda draw: [faults.MissingFields(share=draw.choice((0.1, 0.5, 1.0)))],
    "duplicate-rows": lambda draw: [faults.DuplicateRows(count=draw.randint(1, 4))],
    "moving-rows": lambda draw: [
        faults.MovingRows(
            direction=draw.choice(("later", "earlier", "either", "exchange")),
            where=draw.choice(("front", "end", "anywhere")),
            rows=draw.choice((1, 1, 2)),
        )
    ],
}


def plan_of(draw: Random, kinds: Iterable[str], rate: float) -> FaultPlan:
    """Make a plan by which this share of all requests meets a fault, all kinds being equally likely.

    A kind that has several rules shares its part among them.
    """
    chosen = [kind for kind in KINDS if kind in set(kinds)]
    each = 1 - (1 - rate) ** (1 / max(len(chosen), 1))
    rules: list[AnyRule] = []
    for kind in chosen:
        made = list(_MAKE[kind](draw)) if kind in _MAKE else [_plain(kind)]
        share = 1 - (1 - each) ** (1 / len(made))
        rules += [_with_rate(rule, share) for rule in made]
    draw.shuffle(rules)
    return FaultPlan(tuple(rules), seed=draw.getrandbits(32))


def _plain(kind: str) -> AnyRule:
    return cast("AnyRule", KINDS[kind]())


def _with_rate(rule: AnyRule, rate: float) -> AnyRule:
    return msgspec.structs.replace(rule, rate=rate)
