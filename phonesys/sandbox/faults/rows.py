"""Faults in the rows of a page: the answer is JSON, and mostly what it should be."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import msgspec

from phonesys._validation import is_array, is_object
from phonesys.sandbox.faults.exchange import payload, with_body
from phonesys.sandbox.faults.rule import Rule, expect

if TYPE_CHECKING:
    from aiohttp import web

    from phonesys.sandbox.faults.exchange import Exchange

_HOLDERS = ("numbers", "items", "data", "results", "agents", "locations")
PHONE_NUMBER_KEYS = ("phoneNumber", "number")
_WORDS = frozenset(
    {
        "accountStatus", "callStage", "healthStatus", "inventoryState", "origin", "ownership", "state",
        "status", "tenDlcCampaignStatus", "type", "warmupState",
    }
)  # fmt: skip
_REMEMBERED = 50
_LISTS = frozenset({"leadconnector.numbers", "leadping.list", "agents.list"})


class Found(NamedTuple):
    """The rows of an answer, and where they are in it."""

    rows: list[Any]
    holder: dict[str, Any] | None
    key: str = ""


def find_rows(value: Any) -> Found | None:
    """Find the rows in any of the vendors' envelopes; None where there are none to be found."""
    if is_array(value):
        return Found(value, None)
    if not is_object(value):
        return None
    for key in _HOLDERS:
        if is_array(rows := value.get(key)):
            return Found(rows, value, key)
    inner = value.get("data")
    return find_rows(inner) if is_object(inner) else None


class Page(NamedTuple):
    """A page of rows that is about to be spoilt."""

    exchange: Exchange
    sent: bytes
    """The body of the request."""
    value: Any
    found: Found

    @property
    def rows(self) -> list[Any]:
        """Its rows, to be changed in place."""
        return self.found.rows


class RowFault(Rule, frozen=True, kw_only=True):
    """Spoils pages of rows; answers of any other kind are left alone."""

    group: ClassVar[str] = "Rows"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Carry it out, and spoil what comes."""
        answer = await exchange.proceed()
        value = _decoded(answer)
        found = find_rows(value)
        if found is None:
            return answer
        page = Page(exchange, await exchange.request.read(), value, found)
        return with_body(answer, self.encode(self.spoil(page)))

    def encode(self, value: Any) -> bytes:
        """Return the changed page as JSON."""
        return msgspec.json.encode(value)

    def spoil(self, page: Page) -> Any:
        """Change the page, and return what to answer."""
        raise NotImplementedError


def _decoded(answer: web.Response) -> Any:
    try:
        return msgspec.json.decode(payload(answer)) if answer.status < 300 else None  # noqa: PLR2004
    except msgspec.DecodeError:
        return None


class WrongShape(RowFault, frozen=True, kw_only=True, tag="wrong-shape"):
    """Write the rows as an object, by their places, instead of as a list."""

    def spoil(self, page: Page) -> Any:
        """Replace the list."""
        rows = {str(place): row for place, row in enumerate(page.rows)}
        if page.found.holder is None:
            return rows
        page.found.holder[page.found.key] = rows
        return page.value


class BadRow(RowFault, frozen=True, kw_only=True, tag="bad-row"):
    """Write the phone number of one row as an object: no reader can make sense of that row."""

    def spoil(self, page: Page) -> Any:
        """Choose a row, if there is one."""
        if page.rows:
            row = page.exchange.rng.choice(page.rows)
            for key in PHONE_NUMBER_KEYS:
                if key in row:
                    row[key] = {"e164": row[key]}
        return page.value


class UnknownEnum(RowFault, frozen=True, kw_only=True, tag="unknown-enum"):
    """Answer every state and type with a `word` that no document knows."""

    word: str = "Quantum/Entangled v2"

    def spoil(self, page: Page) -> Any:
        """Go through all rows."""
        for row in page.rows:
            self._rename(row)
        return page.value

    def _rename(self, value: Any) -> None:
        if not is_object(value):
            return
        for key, inner in value.items():
            if key in _WORDS and isinstance(inner, str):
                value[key] = self.word
            else:
                self._rename(inner)


class UnknownFields(RowFault, frozen=True, kw_only=True, tag="unknown-fields"):
    """Add fields that no document knows, to rows and to what holds them."""

    def spoil(self, page: Page) -> Any:
        """Add some of every type."""
        for row in page.rows:
            row |= {"newInV9": {"deep": [1, None, {"er": "ü"}]}, "__proto__": 1.5e300}
        if page.found.holder is not None:
            page.found.holder["newInV9"] = [True]
        return page.value


class MissingFields(RowFault, frozen=True, kw_only=True, tag="missing-fields"):
    """Omit a `share` of each row's fields, never the phone number itself."""

    share: float = 0.5

    def check(self) -> None:
        """Refuse what is no share."""
        expect(0 <= self.share <= 1, "share: expected 0 to 1", self.share)

    def spoil(self, page: Page) -> Any:
        """Draw for every field."""
        for row in page.rows:
            for key in [key for key in row if key not in PHONE_NUMBER_KEYS]:
                if page.exchange.rng.random() < self.share:
                    del row[key]
        return page.value


class DuplicateRows(RowFault, frozen=True, kw_only=True, tag="duplicate-rows"):
    """Write rows of earlier pages of the listing, if those met this fault, into later ones as well."""

    count: int = 2

    def check(self) -> None:
        """Refuse to repeat none."""
        expect(self.count >= 1, "count: expected 1 or more", self.count)

    def spoil(self, page: Page) -> Any:
        """Strew some of what is remembered, and remember what came."""
        memory, rng = page.exchange.memory, page.exchange.rng
        seen: list[Any] = memory.get("rows", []) if _is_later(page.exchange, page.sent) else []
        fresh = copy.deepcopy(page.rows)
        for row in rng.sample(seen, min(self.count, len(seen))):
            page.rows.insert(rng.randint(0, len(page.rows)), row)
        memory["rows"] = (seen + fresh)[-_REMEMBERED:]
        return page.value


def _is_later(exchange: Exchange, sent: bytes) -> bool:
    """Return whether a page is a later page of its listing."""
    if exchange.route == "leadping.list":
        return _token(sent) is not None
    first = "0" if exchange.backend == "leadconnector" else "1"
    return exchange.request.query.get("page", first) != first


def _token(sent: bytes) -> str | None:
    try:
        return msgspec.json.decode(sent, type=_Sent).continuation_token
    except msgspec.DecodeError:
        return None


class _Sent(msgspec.Struct, rename="camel"):
    continuation_token: str | None = None


class RepeatedToken(RowFault, frozen=True, kw_only=True, tag="repeated-token"):
    """Answer with the continuation token that was sent, so that paging goes in a circle (Leadping only)."""

    def spoil(self, page: Page) -> Any:
        """Lead back to where the client is."""
        token = _token(page.sent)
        if token is not None and page.found.holder is not None:
            page.found.holder["continuationToken"] = token
        return page.value


class MovingRows(Rule, frozen=True, kw_only=True, tag="moving-rows"):
    """Change the list while it is read: numbers come or go before a page after the first is answered.

    - `direction`: `"later"` adds numbers, so that the rows behind them come twice; `"earlier"` removes some,
      so that rows are skipped, which only a total can tell; `"either"` does one or the other, and
      `"exchange"` removes one from anywhere for each that it adds, so that no total tells.
    - `where`: at the `"front"`, as in lists whose newest number comes first, at the `"end"`, as in those
      whose oldest does, or `"anywhere"`.
    - `rows`: how many at a time.

    The data really change. Leadping's list is paged by a token and in the order of creation: what is added is
    at its end, and nothing is skipped.
    """

    group: ClassVar[str] = "Rows"

    direction: Literal["later", "earlier", "either", "exchange"] = "later"
    where: Literal["front", "end", "anywhere"] = "front"
    rows: int = 1

    def check(self) -> None:
        """Refuse to move none."""
        expect(self.rows >= 1, "rows: expected 1 or more", self.rows)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Move, then answer."""
        if exchange.route in _LISTS and _is_later(exchange, await exchange.request.read()):
            for _ in range(self.rows):
                self._move(exchange)
        return await exchange.proceed()

    def _move(self, exchange: Exchange) -> None:
        state, rng, account = exchange.state, exchange.rng, (exchange.backend, exchange.account)
        direction = rng.choice(("later", "earlier")) if self.direction == "either" else self.direction
        at = {"front": 0.0, "end": 1.0, "anywhere": rng.random()}[self.where]
        if direction != "later":
            state.remove_at(*account, rng.random() if direction == "exchange" else at)
        if direction != "earlier":
            state.insert_at(*account, at)
