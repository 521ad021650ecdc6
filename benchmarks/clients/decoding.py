"""Decoding alone, no network: what phonesys makes of a page, and what others make of the same bytes."""

from __future__ import annotations

import functools
import gc
import operator
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from benchmarks.clients.by_hand import Capabilities, Number, Service, decode
from benchmarks.data import location_pages
from benchmarks.job import Job, Outcome, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH = 20


def phonesys_unified(job: Job) -> Outcome:
    """Do what a sweep does with a page: read it, and write the account on each number."""
    from phonesys.backends.leadconnector.provider import _fill_in
    from phonesys.backends.leadconnector.wire import decode_listing

    def unify(body: bytes) -> Any:
        listing = decode_listing(body)
        _fill_in(listing, "leadconnector", "location", {})
        return listing.numbers

    return _time(job, unify)


def phonesys_every_attribute(job: Job) -> Outcome:
    """Do the same, and then read all twelve attributes of the unified number, dates parsed."""
    from phonesys.backends.leadconnector.provider import _fill_in
    from phonesys.backends.leadconnector.wire import decode_listing

    def unify(body: bytes) -> Any:
        listing = decode_listing(body)
        _fill_in(listing, "leadconnector", "location", {})
        for n in listing.numbers:
            _ = (n.provider, n.account, n.id, n.number, n.label, n.country)
            _ = (n.kind, n.capabilities, n.status, n.assignee, n.created_at, n.updated_at)
        return listing.numbers

    return _time(job, unify)


def bare_msgspec(job: Job) -> Outcome:
    """Structs of the same fields, as one would write them."""
    return _time(job, lambda body: decode(body).numbers)


def tuned_msgspec(job: Job) -> Outcome:
    """Do the same with all that msgspec has to save time: no garbage collection, tuples."""
    number = msgspec.defstruct("Number", _tuned(Number), rename="camel", gc=False)
    listing: Any = msgspec.defstruct("Listing", [("numbers", tuple[number, ...])])  # type: ignore[valid-type]
    decode = msgspec.json.Decoder(listing).decode
    return _time(job, lambda body: decode(body).numbers)


def _tuned(kind: type[msgspec.Struct]) -> list[tuple[str, Any, Any]]:
    """Return the fields of a struct, with tuples for lists and nested structs that are not collected."""
    swapped = {Capabilities: _uncollected(Capabilities), Service: _uncollected(Service)}
    return [
        (field.name, _swap(field.type, swapped), msgspec.NODEFAULT if field.required else field.default)
        for field in msgspec.structs.fields(kind)
    ]


def _uncollected(kind: type[msgspec.Struct]) -> Any:
    fields = [(f.name, f.type, f.default) for f in msgspec.structs.fields(kind)]
    return msgspec.defstruct(kind.__name__, fields, gc=False, frozen=True)


def _swap(annotation: Any, swapped: dict[Any, Any]) -> Any:
    options = [tuple[str, ...] if o == list[str] else swapped.get(o, o) for o in get_args(annotation)]
    return functools.reduce(operator.or_, options) if options else annotation


def pydantic_models(job: Job) -> Outcome:
    """Pydantic models of the same fields."""
    from benchmarks.clients.httpx_pydantic import Listing

    return _time(job, lambda body: Listing.model_validate_json(body).numbers)


def untyped(job: Job) -> Outcome:
    """Decode into dicts and lists, nothing checked: msgspec alone."""
    return _time(job, lambda body: msgspec.json.decode(body)["numbers"])


def _time(job: Job, read: Callable[[bytes], Any]) -> Outcome:
    body = location_pages(1, job.rows)[0]
    watch = Stopwatch()
    gc.collect()
    gc.freeze()  # what a client imports is another case
    assert len(read(body)) == job.numbers
    for _ in range(_BATCH):
        read(body)
    while watch.seconds < job.least_seconds or not watch.passes:
        with watch.lap():
            for _ in range(_BATCH):
                read(body)
    outcome = watch.outcome(job.numbers)
    outcome.seconds, outcome.cpu = outcome.seconds / _BATCH, outcome.cpu / _BATCH
    return outcome
