"""LeadConnector's side: the active numbers and the number pools of locations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from phonesys.sandbox import leadconnector_shop as shop
from phonesys.sandbox.number_plan import describe, mix, mix128
from phonesys.sandbox.paging import Pager
from phonesys.sandbox.routes import JSON, Route
from phonesys.sandbox.state import random_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from phonesys.sandbox.auth import Authenticator
    from phonesys.sandbox.limits import LimitDecision, SlidingWindows
    from phonesys.sandbox.paging import BeyondEnd
    from phonesys.sandbox.state import Location, VendorState

_MOST = 1000
_VERSIONS = frozenset({"2021-04-15", "2021-07-28", "2023-02-21", "v3"})
"""Published versions. The dated ones of these operations do not differ."""
_MISSING_PHONE_SYSTEM = "Phone system is not connected to this account"


class Capabilities(msgspec.Struct, frozen=True):
    """Capabilities of a number."""

    voice: bool
    sms: bool
    mms: bool
    fax: bool


class Service(msgspec.Struct, frozen=True):
    """Service that answers calls to a number."""

    type: str
    value: str


class ActiveNumber(msgspec.Struct, rename="camel", gc=False):
    """A row of version 2021-07-28, which writes null for what it does not know."""

    phone_number: str
    sid: str
    country_code: str
    capabilities: Capabilities
    type: str
    is_default_number: bool
    linked_ring_all_users: tuple[str, ...]
    is_group_conversation_enabled: bool
    date_added: str
    date_updated: str
    origin: str
    friendly_name: str | None = None
    linked_user: str | None = None
    inbound_call_service: Service | None = None
    forwarding_number: str | None = None
    address_sid: str | None = None
    bundle_sid: str | None = None


class ActiveNumberV3(ActiveNumber, rename="camel", omit_defaults=True, gc=False):
    """A row of version v3, which leaves out what it does not know."""


class PageV1(msgspec.Struct, rename="camel"):
    """The documented page; an empty one is another shape altogether."""

    numbers: list[ActiveNumber]
    is_under_ghl: bool
    page_size: int
    page: int
    account_status: str


_ENCODE = msgspec.json.Encoder().encode
_NULL = b'{"numbers":null}'
_EMPTY = b'{"numbers":[],"total":0}'
_TEXT = Capabilities(voice=True, sms=True, mms=True, fax=False)
_CAPABILITIES = {
    "toll-free": (Capabilities(voice=True, sms=False, mms=False, fax=False), _TEXT),
    "mobile": (Capabilities(voice=True, sms=True, mms=False, fax=False),) * 2,
    "national": (Capabilities(voice=True, sms=False, mms=False, fax=False),) * 2,
    "local": (_TEXT, _TEXT, _TEXT, Capabilities(voice=True, sms=True, mms=True, fax=True)),
}
_ORIGINS = ("twilio", "twilio", "twilio", "twilio", "twilio", "twilio", "hosted", "ported")
_SERVICES = ("voice_ai", "ivr", "forward")


def active_number(kind: type[ActiveNumber], number: str, place: int) -> ActiveNumber:
    """Make a number's row, derived from the number itself; the first of a location is its default."""
    bits = mix(int(number[1:]))
    country, type_ = describe(number)
    choice = _CAPABILITIES[type_]
    capabilities = choice[bits % len(choice)]
    regulated = country not in {"US", "CA"}
    return kind(
        phone_number=number,
        sid=f"PN{mix128(bits):032x}",
        country_code=country,
        capabilities=capabilities,
        type=type_,
        is_default_number=place == 0,
        linked_ring_all_users=(f"user_{bits >> 40:06x}",) if bits & 3 == 0 else (),
        is_group_conversation_enabled=capabilities.mms and not regulated,
        date_added=random_time(bits),
        date_updated=f"2025{random_time(bits >> 5)[4:]}",
        origin=_ORIGINS[bits >> 8 & 7],
        friendly_name=f"Sales Line {place + 1}" if bits >> 12 & 7 else None,
        linked_user=f"user_{bits >> 36:07x}" if bits & 4 else None,
        inbound_call_service=_service(bits >> 16),
        forwarding_number=f"+1415555{bits % 10_000:04}" if bits & 24 == 0 else None,
        address_sid=f"AD{mix128(~bits):032x}" if regulated else None,
        bundle_sid=f"BU{mix128(bits + 1):032x}" if regulated else None,
    )


def _service(bits: int) -> Service | None:
    if bits & 1:
        return None
    return Service(_SERVICES[(bits >> 1) % len(_SERVICES)], f"{bits & 0xFFFFFFFFFFFF:022x}")


class Rejection(Exception):
    """A request that this vendor answers with an error."""

    def __init__(self, status: int, message: str | list[str], error: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"statusCode": status, "message": message}
        if error is not None:
            self.body["error"] = error

    def response(self) -> web.Response:
        """Write the error as an answer."""
        return web.Response(status=self.status, body=_ENCODE(self.body), content_type=JSON)


_BAD_ID = (400, "Invalid locationId format or pagination parameters", "Bad Request")
BAD_TOKEN = (401, "Invalid token: access token is invalid", "Unauthorized")
_OTHER_LOCATION = (403, "The token does not have access to this location.", "Forbidden")
_NO_SCOPE = (401, "The token is not authorized for this scope.", "Unauthorized")
_SCOPES = {
    "leadconnector.numbers": "phonenumbers.read",
    "leadconnector.pools": "numberpools.read",
    "leadconnector.available": "phonenumbers.read",
    "leadconnector.purchase": "phonenumbers.write",
}
_NO_VERSION = (401, "version header was not found.", "Unauthorized")
_UNKNOWN_VERSION = (401, "version header is invalid", "Unauthorized")


class LeadConnectorApi:
    """Serves both versions of the phone system: listing, pools, and buying.

    A missing or unknown `Version` header and a missing scope are 401, as the vendor was seen to answer. Where
    the documents are silent: malformed and unknown ids are the same documented 400; a token for another
    location is a 403; a location without a phone system has no pools; v3 always has a `total`. A rejected
    token is charged to no account, so its response has no quota headers.
    """

    name = "leadconnector"
    prefix = "/leadconnector"

    def __init__(
        self,
        vendors: VendorState,
        auth: Authenticator,
        limits: SlidingWindows,
        *,
        page_cap: int | None = None,
        beyond_end: BeyondEnd = "empty",
        missing_phone_system: str = _MISSING_PHONE_SYSTEM,
    ) -> None:
        self._vendors, self._auth, self._limits = vendors, auth, limits
        self._pager = Pager(page_cap, beyond_end, Rejection)
        self._missing_phone_system = missing_phone_system

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        yield Route(
            "leadconnector.numbers", "GET", "/phone-system/numbers/location/{locationId}", self._numbers
        )
        yield Route("leadconnector.pools", "GET", "/phone-system/number-pools", self._pools)
        numbers = "/phone-system/numbers/location/{locationId}"
        yield Route("leadconnector.available", "GET", numbers + "/available", self._available)
        yield Route("leadconnector.purchase", "POST", numbers + "/purchase", self._purchase)

    def account(self, request: web.Request, /) -> str:
        """Find the location that a request names; else the only one that its token opens; else nothing."""
        named = request.match_info.get("locationId") or request.query.get("locationId")
        if named:
            return named
        grant = self._auth.grant(request.headers)
        return grant.account or "" if grant is not None else ""

    async def serve(self, route: Route, request: web.Request, account: str, /) -> web.Response:
        """Authenticate, count against the location's windows, and carry out."""
        try:
            self._authenticate(route, request, account)
        except Rejection as refused:
            return refused.response()
        return await serve_within_limits(
            self._limits,
            account,
            lambda verdict: self._admit(request, verdict),
            lambda: route.handler(request, account),
        )

    def unknown(self, request: web.Request, /) -> web.Response:
        """Answer as the vendor's framework does."""
        return Rejection(
            404, f"Cannot {request.method} {_below(self.prefix, request)}", "Not Found"
        ).response()

    def _authenticate(self, route: Route, request: web.Request, account: str) -> None:
        grant = self._auth.grant(request.headers)
        if grant is None:
            raise Rejection(*BAD_TOKEN)
        if not grant.covers(account):
            raise Rejection(*_OTHER_LOCATION)
        if not grant.allows(_SCOPES[route.name]):
            raise Rejection(*_NO_SCOPE)

    def _admit(self, request: web.Request, verdict: LimitDecision) -> None:
        if not verdict.allowed:
            raise Rejection(429, "Too Many Requests")
        check_version(request)

    def _location(self, account: str) -> Location:
        location = self._vendors.location(account)
        if location is None:
            raise Rejection(*_BAD_ID)
        return location

    async def _numbers(self, request: web.Request, account: str) -> web.Response:
        query, location = Query.of(request), self._phone_system(account)
        wanted = query.select(location)
        page = self._pager.cut(wanted, query.page, query.page_size).rows
        if page is None:
            return _raw(_NULL)
        if request.headers["Version"] == "v3":
            return json_answer(_page_v3(query, location, page, len(wanted)))
        return json_answer(_page_v1(query, location, page)) if page else _raw(_EMPTY)

    async def _pools(self, request: web.Request, account: str) -> web.Response:
        location = self._location(account)
        pools = [_pool(location, place) for place in range(location.pools)]
        return json_answer({"success": True, "data": pools, "total": len(pools)})

    async def _available(self, request: web.Request, account: str) -> web.Response:
        self._phone_system(account)
        if not request.query.get("countryCode"):
            raise Rejection(400, ["countryCode should not be empty"], "Bad Request")
        return json_answer(shop.offer(self._vendors, request.query))

    async def _purchase(self, request: web.Request, account: str) -> web.Response:
        location, version = self._phone_system(account), request.headers["Version"]
        try:
            number = shop.buy(self._vendors, location, version, await request.read())
        except shop.Unfit as unfit:
            raise Rejection(400, list(unfit.args), "Bad Request") from None
        write = shop.account_v3 if version == "v3" else shop.account
        return json_answer(write(location, number), status=201)

    def _phone_system(self, account: str) -> Location:
        location = self._location(account)
        if not location.connected:
            raise Rejection(404, self._missing_phone_system)
        return location


async def serve_within_limits(
    limits: SlidingWindows,
    account: str,
    admit: Callable[[LimitDecision], None],
    carry_out: Callable[[], Awaitable[web.Response]],
) -> web.Response:
    """Count a request against the account's windows, carry it out if it is admitted, and say what is left."""
    verdict = limits.try_acquire(account)
    try:
        admit(verdict)
        response = await carry_out()
    except Rejection as refused:
        response = refused.response()
    response.headers.update(_quota(limits, verdict))
    return response


def _quota(limits: SlidingWindows, verdict: LimitDecision) -> dict[str, str]:
    """Return the remaining quota in the vendor's headers."""
    (most, seconds), (daily, _) = limits.limits
    return {
        "X-RateLimit-Max": str(most),
        "X-RateLimit-Remaining": str(verdict.remaining[0]),
        "X-RateLimit-Interval-Milliseconds": str(round(seconds * 1000)),
        "X-RateLimit-Limit-Daily": str(daily),
        "X-RateLimit-Daily-Remaining": str(verdict.remaining[1]),
        "X-RateLimit-Daily-Reset": str(round(1000 * verdict.resets_after[1])),
    }


def check_version(request: web.Request) -> None:
    """Raise the vendor's 401 for a missing or unpublished `Version` header."""
    version = request.headers.get("Version")
    if version not in _VERSIONS:
        raise Rejection(*(_UNKNOWN_VERSION if version else _NO_VERSION))


_BOOLEANS = {"true": True, "false": False}


class Query(msgspec.Struct, frozen=True):
    """Query parameters of the active numbers of a location."""

    page_size: int
    page: int
    search: str
    skip_pooled: bool
    rcs: bool

    @classmethod
    def of(cls, request: web.Request) -> Query:
        """Read the query, and refuse all that is wrong with it at once, as the vendor's framework does."""
        wrong: list[str] = []
        query = cls(
            page_size=_integer(request, "pageSize", _MOST, (1, _MOST), wrong),
            page=_integer(request, "page", 0, (0, None), wrong),
            search=request.query.get("searchFilter", ""),
            skip_pooled=_boolean(request, "skipNumberPool", default=True, wrong=wrong),
            rcs=_boolean(request, "includeRcsSenderIds", default=False, wrong=wrong),
        )
        if wrong:
            raise Rejection(400, wrong, "Bad Request")
        return query

    def select(self, location: Location) -> Sequence[tuple[int, str]]:
        """Choose the numbers asked for, on whichever page, with their places at the location."""
        return [
            (place, number)
            for place, number in enumerate(location.numbers)
            if self.search in number and not (self.skip_pooled and location.pool_of[place] >= 0)
        ]


def _integer(
    request: web.Request, name: str, default: int, bounds: tuple[int, int | None], wrong: list[str]
) -> int:
    text, (least, most) = request.query.get(name), bounds
    if text is None:
        return default
    if not (text.removeprefix("-").isdecimal() and text.isascii()):
        wrong.append(f"{name} must be an integer number")
        return default
    value = int(text[:20])
    if value < least:
        wrong.append(f"{name} must not be less than {least}")
    if most is not None and value > most:
        wrong.append(f"{name} must not be greater than {most}")
    return value


def _boolean(request: web.Request, name: str, *, default: bool, wrong: list[str]) -> bool:
    text = request.query.get(name)
    if text is None:
        return default
    if text not in _BOOLEANS:
        wrong.append(f"{name} must be a boolean value")
    return _BOOLEANS.get(text, default)


def _page_v1(query: Query, location: Location, page: Sequence[tuple[int, str]]) -> PageV1:
    return PageV1(
        numbers=[active_number(ActiveNumber, number, place) for place, number in page],
        is_under_ghl=True,
        page_size=query.page_size,
        page=query.page,
        account_status=_account_status(location),
    )


def _page_v3(
    query: Query, location: Location, page: Sequence[tuple[int, str]], total: int
) -> dict[str, object]:
    data: dict[str, object] = {
        "numbers": [active_number(ActiveNumberV3, number, place) for place, number in page],
        "isUnderLc": True,
        "pageSize": query.page_size,
        "page": query.page,
        "accountStatus": _account_status(location),
        "total": total,
    }
    if query.rcs:
        data["rcsSenderIds"] = _senders(location)
    return {"status": "success", "data": data, "message": "OK", "statusCode": 200}


def _account_status(location: Location) -> str:
    return "suspended" if _bits(location.id) % 50 == 0 else "active"


def _senders(location: Location) -> list[dict[str, object]]:
    """Every third location has a brand that sends RCS."""
    bits = _bits(location.id)
    if bits % 3:
        return []
    meta = {"brandId": f"brand-{bits:016x}"}
    return [
        {"number": f"rcs_{bits:016x}", "numberType": "rcsSenderId", "friendlyName": "Brand", "rcsMeta": meta}
    ]


def _pool(location: Location, place: int) -> dict[str, object]:
    bits = _bits(location.id) + place
    held = [(i, n) for i, n in enumerate(location.numbers) if location.pool_of[i] == place]
    return {
        "id": f"{mix(bits):020x}",
        "name": f"Pool {place + 1}",
        "locationId": location.id,
        "numbers": [{"phoneNumber": n, "friendlyName": f"Sales Line {i + 1}"} for i, n in held],
        "forwardingNumber": f"+1415555{bits % 10_000:04}",
        "whisper": bool(bits & 1),
        "whisperMessage": "Incoming call from sales line",
        "callRecording": bool(bits & 2),
        "isActive": bool(bits & 12),
        "inboundCallService": _service(bits >> 16),
    }


def _bits(text: str) -> int:
    return mix(int.from_bytes(text.encode(), "big"))


def _below(prefix: str, request: web.Request) -> str:
    return request.path.removeprefix(prefix)


def _raw(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=JSON)


def json_answer(value: object, status: int = 200) -> web.Response:
    """Write anything as an answer."""
    return web.Response(status=status, body=_ENCODE(value), content_type=JSON)
