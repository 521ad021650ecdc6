"""Leadping's side: the phone numbers of one organization."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from phonesys.sandbox import leadping_wire as wire
from phonesys.sandbox.leadping_query import LARGEST_PAGE, Options, Place, Tokens
from phonesys.sandbox.routes import JSON, Route
from phonesys.sandbox.state import DEFAULT, now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phonesys.sandbox.auth import Authenticator
    from phonesys.sandbox.limits import SlidingWindows
    from phonesys.sandbox.state import LeadpingNumber, VendorState

_PROBLEM = "application/problem+json"
_ENCODE = msgspec.json.Encoder().encode
_T = TypeVar("_T")
_E164 = r"^\+[1-9]\d{6,14}$"
_OFFERED = 10
_WINDOW = (1, 365)


class NumberRequest(msgspec.Struct, rename="camel"):
    """Body of a request that creates or changes a number."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    number: Annotated[str, msgspec.Meta(pattern=_E164)] | None = None
    business_id: str | None = None
    organization_id: str | None = None
    enabled: bool | None = None
    id: str | None = None


class SearchRequest(msgspec.Struct, rename="camel"):
    """Body of a search for numbers to buy."""

    phone_number: str | None = None
    location: dict[str, Any] | None = None


class AvailabilityRequest(msgspec.Struct, rename="camel"):
    """Body of an availability check."""

    phone_number: Annotated[str, msgspec.Meta(pattern=_E164)]


class Rejection(Exception):
    """A request that this vendor answers with problem details."""

    TITLES = {  # noqa: RUF012 -- never changed
        400: ("validation", "Request validation failed"),
        401: ("unauthorized", "Unauthorized"),
        404: ("not-found", "Not Found"),
        415: ("unsupported-media-type", "Unsupported Media Type"),
        429: ("rate-limit", "Too Many Requests"),
    }

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def response(self, method: str, path: str) -> web.Response:
        """Write the problem as an answer, under the content type that the vendor gives it.

        Only 403 and 429 are declared as problem+json; what goes wrong with DELETE may be text/plain.
        """
        kind, title = self.TITLES[self.status]
        problem = {
            "type": f"https://leadping.ai/docs/errors/{kind}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "instance": path,
        }
        labelled = _PROBLEM if self.status == 429 else "text/plain" if method == "DELETE" else JSON  # noqa: PLR2004
        return web.Response(
            status=self.status, body=_ENCODE(problem), content_type=labelled, headers=self.headers
        )


class LeadpingApi:
    """Serves the phone numbers of the organization.

    Where the documents are silent: page sizes above 100 are taken for 100, below 1 they are refused;
    a number that the organization already holds, or an id in use, is refused with 400, as is the status or
    warm-up of something unknown (no 404 is declared for either); `enabled` is true for a new number unless
    it says otherwise, and stays what it is when an update leaves it out. The 2026 schema requires `number`;
    in the 2025 one it may be left out, and one is then bought. Any organization id is believed.
    """

    name = "leadping"
    prefix = "/leadping"

    def __init__(
        self,
        vendors: VendorState,
        auth: Authenticator,
        limits: SlidingWindows,
        schema: wire.Schema = "2026",
        *,
        page_cap: int | None = None,
    ) -> None:
        if schema not in {"2025", "2026"}:
            raise ValueError(f"no such schema: {schema}")
        self._vendors, self._auth, self._limits = vendors, auth, limits
        self._schema: wire.Schema = schema
        self._tokens = Tokens(vendors.seed)
        self._page_cap = LARGEST_PAGE if page_cap is None else min(page_cap, LARGEST_PAGE)

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        base = "/phone-numbers"
        yield Route("leadping.list", "POST", f"{base}/all/organization", self._list)
        yield Route("leadping.create", "POST", base, self._create)
        yield Route("leadping.search", "POST", f"{base}/search", self._search)
        yield Route("leadping.available", "POST", f"{base}/is-available-for-purchase", self._available)
        yield Route("leadping.get", "GET", base + "/{id}", self._get)
        yield Route("leadping.update", "PUT", base + "/{id}", self._update)
        yield Route("leadping.delete", "DELETE", base + "/{id}", self._delete)
        yield Route("leadping.status", "GET", base + "/{number}/status", self._status)
        yield Route("leadping.warmup", "GET", base + "/{id}/warmup", self._warmup)

    def account(self, _: web.Request, /) -> str:
        """Name the only one."""
        return DEFAULT

    async def serve(self, route: Route, request: web.Request, account: str, /) -> web.Response:
        """Authenticate, count against the organization's window, and carry out."""
        try:
            self._admit(request, account)
            return await route.handler(request, account)
        except Rejection as refused:
            return refused.response(request.method, request.path.removeprefix(self.prefix))

    def unknown(self, request: web.Request, /) -> web.Response:
        """Answer with problem details."""
        return Rejection(404, "No such resource.").response("", request.path.removeprefix(self.prefix))

    def _admit(self, request: web.Request, account: str) -> None:
        if self._auth.grant(request.headers) is None:
            raise Rejection(401, "The API key is missing or invalid.")
        verdict = self._limits.try_acquire(account)
        if not verdict.allowed:
            seconds = str(math.ceil(verdict.retry_after))
            raise Rejection(429, "The rate limit has been exceeded.", {"Retry-After": seconds})

    async def _list(self, request: web.Request, _: str) -> web.Response:
        options = await _body(request, Options)
        if options.page_size < 1:
            raise Rejection(400, "pageSize must be at least 1.")
        size = min(options.page_size, self._page_cap)
        try:
            ids = self._select(options)
            start = self._start(options, ids)
        except ValueError as exc:
            raise Rejection(400, str(exc)) from None
        shown = ids[start : start + size]
        return _json(
            {
                "items": [wire.table_row(self._vendors.leadping[id_], self._schema) for id_ in shown],
                "pageSize": min(options.page_size, LARGEST_PAGE),
                "totalCount": len(ids) if options.include_count else None,
                "continuationToken": self._token(options, ids, start + size),
            }
        )

    def _select(self, options: Options) -> list[str]:
        held = self._vendors.leadping
        if options.is_plain():
            return list(held)
        rows = [wire.table_row(record, self._schema) for record in held.values()]
        return [row["id"] for row in options.select(rows)]

    def _start(self, options: Options, ids: list[str]) -> int:
        if options.continuation_token is None:
            return 0
        place = self._tokens.read(options.continuation_token, options.fingerprint())
        return place.resume(ids, self._serial, ordered=bool(options.order_by))

    def _serial(self, id_: str) -> int:
        return self._vendors.leadping[id_].serial

    def _token(self, options: Options, ids: list[str], end: int) -> str | None:
        if end >= len(ids):
            return None
        last = ids[end - 1]
        return self._tokens.write(Place(options.fingerprint(), last, self._serial(last), end - 1))

    async def _create(self, request: web.Request, _: str) -> web.Response:
        wanted = await _body(request, NumberRequest)
        number = self._free(wanted, None) or self._vendors.allocate_number()
        if wanted.id in self._vendors.leadping:
            raise Rejection(400, "The id is already in use.")
        record = self._vendors.create_leadping(
            name=wanted.name,
            number=number,
            organization_id=wanted.organization_id or wanted.business_id,
            enabled=wanted.enabled is not False,
            id_=wanted.id,
        )
        return self._full(record)

    async def _get(self, request: web.Request, _: str) -> web.Response:
        return self._full(self._known(request, 404))

    async def _update(self, request: web.Request, _: str) -> web.Response:
        record, wanted = self._known(request, 404), await _body(request, NumberRequest)
        record.number = self._free(wanted, record) or record.number
        record.name = wanted.name
        record.organization_id = wanted.organization_id or wanted.business_id or record.organization_id
        record.enabled = record.enabled if wanted.enabled is None else wanted.enabled
        record.modified_at = now()
        return self._full(record)

    async def _delete(self, request: web.Request, _: str) -> web.Response:
        del self._vendors.leadping[self._known(request, 404).id]
        return web.Response(status=204)

    async def _status(self, request: web.Request, _: str) -> web.Response:
        days = _window(request)
        record = self._vendors.leadping_holder(request.match_info["number"])
        if record is None:
            raise Rejection(400, "The organization does not hold this number.")
        return _json(wire.status(record, days))

    async def _warmup(self, request: web.Request, _: str) -> web.Response:
        days = _window(request)
        return _json(wire.status(self._known(request, 400), days))

    async def _search(self, request: web.Request, _: str) -> web.Response:
        wanted = (await _body(request, SearchRequest)).phone_number or ""
        offers = [number for number in self._vendors.for_sale(100 * _OFFERED) if wanted in number][:_OFFERED]
        return _json({"numbers": [{"number": n, "location": wire.location(n)} for n in offers]})

    async def _available(self, request: web.Request, _: str) -> web.Response:
        number = (await _body(request, AvailabilityRequest)).phone_number
        free = self._vendors.leadping_holder(number) is None
        return _json(
            {
                "phoneNumber": number,
                "isAvailable": free,
                "price": 1.15 if free else None,
                "currency": "USD" if free else None,
                "location": wire.location(number),
            }
        )

    def _full(self, record: LeadpingNumber) -> web.Response:
        return _json(wire.full(record, self._schema))

    def _known(self, request: web.Request, status: int) -> LeadpingNumber:
        record = self._vendors.leadping.get(request.match_info["id"])
        if record is None:
            raise Rejection(status, "The phone number was not found.")
        return record

    def _free(self, wanted: NumberRequest, mine: LeadpingNumber | None) -> str | None:
        """Return the number asked for, or an unused one; rejects one that the organization holds."""
        if wanted.number is None:
            if self._schema == "2026":
                raise Rejection(400, "The number field is required.")
            return None
        holder = self._vendors.leadping_holder(wanted.number)
        if holder is not None and holder is not mine:
            raise Rejection(400, "The organization already holds this number.")
        return wanted.number


def _window(request: web.Request) -> int:
    """Read how many days a report covers; whatever cannot be a number of days or a date is refused."""
    dates = [_date(request, name) for name in ("startDate", "endDate")]
    days = request.query.get("windowDays", "30")
    if dates[0] is not None and dates[1] is not None:
        days = str((dates[1] - dates[0]).days + 1)
    if not re.fullmatch(r"[0-9]{1,3}", days) or not _WINDOW[0] <= int(days) <= _WINDOW[1]:
        raise Rejection(400, f"The window must be {_WINDOW[0]} to {_WINDOW[1]} days.")
    return int(days)


def _date(request: web.Request, name: str) -> date | None:
    text = request.query.get(name)
    try:
        return date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise Rejection(400, f"{name} is not a date.") from None


async def _body(request: web.Request, kind: type[_T]) -> _T:
    """Read a JSON body."""
    label = request.content_type
    if label != JSON and not (label.startswith("application/") and label.endswith("+json")):
        raise Rejection(415, "The body must be JSON.")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except ValueError as exc:
        raise Rejection(400, str(exc)) from None


def _json(value: object) -> web.Response:
    return web.Response(body=_ENCODE(value), content_type=JSON)
