"""LeadConnector's OAuth: consent, codes, refresh tokens that die when used, and who holds which token."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from aiohttp import web
from yarl import URL

from phonesys.sandbox.auth import Grant
from phonesys.sandbox.leadconnector import (
    BAD_TOKEN,
    Rejection,
    check_version,
    json_answer,
    serve_within_limits,
)
from phonesys.sandbox.number_plan import mix, mix128, uuid_like
from phonesys.sandbox.routes import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phonesys.sandbox.auth import Authenticator
    from phonesys.sandbox.limits import LimitDecision, SlidingWindows
    from phonesys.sandbox.state import VendorState

Spelling: TypeAlias = Literal["version", "snake", "camel"]
"""Spelling of token responses: camelCase for version v3 and snake_case before, or always the same."""

EVERYTHING = frozenset(
    {
        "phonenumbers.read", "phonenumbers.write", "numberpools.read", "oauth.write", "oauth.readonly",
        "locations.readonly",
    }
)  # fmt: skip
_DAY = 86_399
_COMPANY, _LOCATION = "Company", "Location"
_V3 = "v3"
_V3_PATHS = ("/oauth/location-token", "/oauth/installed-locations")


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject and scopes of a token."""

    user_type: str
    id: str
    scopes: frozenset[str] = EVERYTHING


@dataclass(slots=True)
class Issued:
    """An access token that was handed out; `ends` is by the sandbox's clock."""

    subject: Subject
    ends: float


@dataclass(slots=True)
class Spent:
    """A refresh token that was used, and what it bought."""

    at: float
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code, bound to a redirect address and to a PKCE challenge if it has them."""

    subject: Subject
    redirect_uri: str | None = None
    challenge: str | None = None

    def matches(self, redirect_uri: str | None, verifier: str | None) -> bool:
        """Return True if the code may be redeemed with these."""
        if self.redirect_uri not in {None, redirect_uri}:
            return False
        digest = hashlib.sha256((verifier or "").encode()).digest()
        return self.challenge in {None, base64.urlsafe_b64encode(digest).decode().rstrip("=")}


@dataclass(slots=True)
class OAuthState:
    """Everything that the vendor knows about tokens; it outlives its clients.

    `refreshes` counts refresh tokens that were used, by subject; `refused` those that were refused;
    `exchanges` location tokens that were handed out.
    """

    seed: int
    clock: Callable[[], float]
    expires_in: float = _DAY
    grace: float = 0.0
    """Seconds for which a spent refresh token answers once more what it bought."""
    spelling: Spelling = "version"
    location_refresh: bool = False
    """Include a refresh token in the response to an exchange."""
    client_id: str = ""
    client_secret: str = ""
    company_id: str = ""
    refreshes: Counter[str] = field(default_factory=Counter[str])
    exchanges: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    uninstalled: set[str] = field(default_factory=set[str])
    _codes: dict[str, Code] = field(default_factory=dict[str, "Code"])
    _live: dict[str, Subject] = field(default_factory=dict[str, Subject])
    _spent: dict[str, Spent] = field(default_factory=dict[str, Spent])
    _access: dict[str, Issued] = field(default_factory=dict[str, Issued])
    _serial: int = 0

    def __post_init__(self) -> None:
        self.client_id = f"{mix128(self.seed + 3):024x}-{mix(self.seed) & 0xFFFFFFFF:08x}"
        self.client_secret = uuid_like(self.seed + 4)
        self.company_id = f"{mix128(self.seed + 5):020x}"[:20]

    # --- What tests ask for ----------------------------------------------------------------------------

    def grant_company(
        self, scopes: Iterable[str] = EVERYTHING, *, expires_in: float | None = None
    ) -> dict[str, Any]:
        """Grant the company's consent without a browser, and return the token response."""
        return self._issue(Subject(_COMPANY, self.company_id, frozenset(scopes)), expires_in)

    def grant_location(
        self, location_id: str, scopes: Iterable[str] = EVERYTHING, *, expires_in: float | None = None
    ) -> dict[str, Any]:
        """Grant one location's consent, and return the token response."""
        return self._issue(Subject(_LOCATION, location_id, frozenset(scopes)), expires_in)

    def issue_code(
        self, subject: Subject, redirect_uri: str | None = None, challenge: str | None = None
    ) -> str:
        """Make an authorization code, good once."""
        code = self._secret()
        self._codes[code] = Code(subject, redirect_uri, challenge)
        return code

    def expire(self) -> None:
        """End every access token now; refresh tokens stay."""
        self._access.clear()

    def revoke(self, subject_id: str) -> None:
        """Throw an app out: none of its tokens is good any more."""
        self._access = {k: v for k, v in self._access.items() if v.subject.id != subject_id}
        self._live = {k: v for k, v in self._live.items() if v.id != subject_id}

    def is_live(self, refresh_token: str) -> bool:
        """Return whether a refresh token is still valid."""
        return refresh_token in self._live

    # --- What the routes do ----------------------------------------------------------------------------

    def subject(self, access_token: str) -> Subject | None:
        """Return the subject of an access token; None if it has expired or is unknown."""
        issued = self._access.get(access_token)
        return issued.subject if issued is not None and self.clock() < issued.ends else None

    def redeem(
        self, code: str, redirect_uri: str | None, verifier: str | None = None
    ) -> dict[str, Any] | None:
        """Exchange a code."""
        issued = self._codes.pop(code, None)
        if issued is None or not issued.matches(redirect_uri, verifier):
            return None
        return self._issue(issued.subject)

    def refresh(self, refresh_token: str) -> dict[str, Any] | None:
        """Spend a refresh token."""
        subject = self._live.pop(refresh_token, None)
        if subject is None:
            return self._again(refresh_token)
        self.refreshes[subject.id] += 1
        answer = self._issue(subject)
        self._spent[refresh_token] = Spent(self.clock(), answer)
        return answer

    def exchange(self, company: Subject, location_id: str) -> dict[str, Any]:
        """Issue a location's token, with a refresh token if `location_refresh` is set."""
        self.exchanges[location_id] += 1
        answer = self._issue(Subject(_LOCATION, location_id, company.scopes))
        if not self.location_refresh:
            del answer[self._spelled("refresh_token")]
        return answer

    def _again(self, refresh_token: str) -> dict[str, Any] | None:
        spent = self._spent.get(refresh_token)
        if spent is not None and self.clock() < spent.at + self.grace:
            return spent.answer
        self.refused += 1
        return None

    def _issue(self, subject: Subject, expires_in: float | None = None) -> dict[str, Any]:
        life = self.expires_in if expires_in is None else expires_in
        access, refresh = self._secret(), self._secret()
        self._access[access] = Issued(subject, self.clock() + life)
        self._live[refresh] = subject
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": life,
            "refresh_token": refresh,
            "scope": " ".join(sorted(subject.scopes)),
            "userType": subject.user_type,
            "companyId": self.company_id,
            "userId": f"{mix(self.seed):020x}",
        }
        if subject.user_type == _LOCATION:
            answer["locationId"] = subject.id
        return {self._spelled(name): value for name, value in answer.items()}

    def _spelled(self, name: str) -> str:
        return _camel_case(name) if self.spelling == "camel" else name

    def _secret(self) -> str:
        self._serial += 1
        bits = mix128(self.seed ^ mix(self._serial << 8 | 7))
        return f"eyJ{bits:032x}{mix(bits):016x}"


class OAuthTokens:
    """Access tokens that end, beside others that do not."""

    def __init__(self, state: OAuthState, others: Authenticator) -> None:
        self._state, self._others = state, others

    def grant(self, headers: Mapping[str, str], /) -> Grant | None:
        """Find the grant behind the header; a company's token opens none of the company's locations."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        subject = self._state.subject(token) if scheme.lower() == "bearer" else None
        if subject is None:
            return self._others.grant(headers)
        return Grant(subject.id, subject.scopes)


_SPENT = {"error": "invalid_grant", "error_description": "This refresh token is invalid"}
_BAD_CODE = {"error": "invalid_grant", "error_description": "Invalid grant: authorization code is invalid"}
_NO_CLIENT = {"error": "invalid_client", "error_description": "Client authentication failed"}
_NOT_INSTALLED = (400, "The app is not installed on this location", "Bad Request")
_NO_SCOPE = (403, "The token is not authorized for this scope.", "Forbidden")
_OTHER_COMPANY = (403, "The token does not have access to this company.", "Forbidden")
_SCOPES = {
    "leadconnector.location_token": "oauth.write",
    "leadconnector.installed": "oauth.readonly",
    "leadconnector.location_token_v3": "oauth.write",
    "leadconnector.installed_v3": "oauth.readonly",
    "leadconnector.search": "locations.readonly",
    "leadconnector.location": "locations.readonly",
}
_AGENCY_SCOPES = {"oauth.write", "oauth.readonly"}
_MOST_ROWS = 1000


class LeadConnectorOAuth:
    """Serves consent, tokens and the lists of locations.

    Where the documents are silent: asking for a token counts against no window; the others count
    against the company's; a location where the app is not installed is a 400.
    """

    name = "leadconnector"
    prefix = "/leadconnector"

    def __init__(
        self, vendors: VendorState, state: OAuthState, auth: Authenticator, limits: SlidingWindows
    ) -> None:
        self._vendors, self._state, self._auth, self._limits = vendors, state, auth, limits

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        yield Route("leadconnector.consent", "GET", "/oauth/chooselocation", self._consent)
        yield Route("leadconnector.consent_v2", "GET", "/v2/oauth/chooselocation", self._consent)
        yield Route("leadconnector.token", "POST", "/oauth/token", self._token)
        yield Route("leadconnector.location_token", "POST", "/oauth/locationToken", self._location_token)
        yield Route("leadconnector.installed", "GET", "/oauth/installedLocations", self._installed)
        yield Route("leadconnector.location_token_v3", "POST", "/oauth/location-token", self._location_token)
        yield Route("leadconnector.installed_v3", "GET", "/oauth/installed-locations", self._installed_v3)
        yield Route("leadconnector.search", "GET", "/locations/search", self._search)
        yield Route("leadconnector.location", "GET", "/locations/{locationId}", self._get_location)

    def account(self, request: web.Request, /) -> str:
        """Find the company: everything here is about the only one there is."""
        return self._state.company_id

    async def serve(self, route: Route, request: web.Request, account: str, /) -> web.Response:
        """Carry out; what needs a token is authenticated and counted first."""
        try:
            if request.path.endswith(_V3_PATHS) and request.headers.get("Version") != _V3:
                return self.unknown(request)
            if route.name not in _SCOPES:
                return await route.handler(request, account)
            self._authenticate(request, _SCOPES[route.name])
        except Rejection as refused:
            return refused.response()
        return await serve_within_limits(
            self._limits,
            account,
            lambda verdict: self._admit(request, verdict),
            lambda: route.handler(request, account),
        )

    def _admit(self, request: web.Request, verdict: LimitDecision) -> None:
        if not verdict.allowed:
            raise Rejection(429, "Too Many Requests")
        check_version(request)

    def unknown(self, request: web.Request, /) -> web.Response:
        """Answer as the vendor's framework does."""
        return Rejection(404, f"Cannot {request.method} {request.path}", "Not Found").response()

    def _authenticate(self, request: web.Request, scope: str) -> None:
        grant = self._auth.grant(request.headers)
        if grant is None:
            raise Rejection(*BAD_TOKEN)
        if not grant.covers(self._state.company_id):
            raise Rejection(*_OTHER_COMPANY)
        if not grant.allows(scope):
            raise Rejection(*_NO_SCOPE)

    async def _consent(self, request: web.Request, account: str) -> web.Response:
        """Consent at once, in place of a person; `deny=1` declines."""
        query = request.query
        back = URL(query.get("redirect_uri", ""))
        if query.get("client_id") != self._state.client_id or not back.host:
            raise Rejection(400, "client_id or redirect_uri is not registered", "Bad Request")
        scopes = frozenset(query.get("scope", "").split())
        where = query.get("location")
        if query.get("deny"):
            answer = {"error": "access_denied"}
        elif where and scopes & _AGENCY_SCOPES:
            answer = {"error": "invalid_scope"}
        else:
            subject = Subject(_LOCATION if where else _COMPANY, where or account, scopes)
            code = self._state.issue_code(subject, query["redirect_uri"], query.get("code_challenge"))
            answer = {"code": code}
        raise web.HTTPFound(back.update_query(**answer, state=query.get("state", "")))

    async def _token(self, request: web.Request, account: str) -> web.Response:
        fields = await _fields(request)
        client = fields.get("client_id"), fields.get("client_secret")
        if client != (self._state.client_id, self._state.client_secret):
            return json_answer(_NO_CLIENT, status=401)
        match fields.get("grant_type"):
            case "refresh_token":
                answer, why = self._state.refresh(fields.get("refresh_token", "")), _SPENT
            case "authorization_code":
                answer = self._state.redeem(
                    fields.get("code", ""), fields.get("redirect_uri"), fields.get("code_verifier")
                )
                why = _BAD_CODE
            case _:
                raise Rejection(422, ["grant_type must be a valid enum value"], "Unprocessable Entity")
        return json_answer(why, status=400) if answer is None else self._token_response(request, answer)

    def _token_response(self, request: web.Request, answer: dict[str, Any]) -> web.Response:
        if self._state.spelling == "version" and request.headers.get("Version") == _V3:
            answer = {_camel_case(name): value for name, value in answer.items()}
        return json_answer(answer)

    async def _location_token(self, request: web.Request, account: str) -> web.Response:
        fields = await _fields(request)
        company, location = fields.get("company_id"), fields.get("location_id")
        if not (company and location):
            wrong = ["companyId should not be empty", "locationId should not be empty"]
            raise Rejection(422, wrong, "Unprocessable Entity")
        if company != account:
            raise Rejection(*_OTHER_COMPANY)
        if self._vendors.location(location) is None or location in self._state.uninstalled:
            raise Rejection(*_NOT_INSTALLED)
        token = request.headers["Authorization"].partition(" ")[2]
        subject = self._state.subject(token) or Subject(_COMPANY, account)
        return self._token_response(request, self._state.exchange(subject, location))

    def _installations(self, request: web.Request) -> list[dict[str, Any]]:
        query = request.query
        self._check_company(request, "companyId", "appId")
        if query["appId"] != self._state.client_id.partition("-")[0]:
            raise Rejection(400, "appId is not that of the token", "Bad Request")
        wanted, text, named = query.get("isInstalled"), query.get("query", ""), query.get("locationId")
        return [
            {"_id": id_, "name": f"Location {id_}", "address": "1 Main St", "isInstalled": installed}
            for id_ in self._vendors.location_ids
            for installed in [id_ not in self._state.uninstalled]
            if wanted is None or (wanted == "true") == installed
            if text in f"Location {id_}" and named in {None, id_}
        ]

    def _check_company(self, request: web.Request, *required: str) -> None:
        """Raise 422 for query parameters that are missing, and 403 for another company."""
        missing = [f"{name} should not be empty" for name in required if not request.query.get(name)]
        if missing:
            raise Rejection(422, missing, "Unprocessable Entity")
        if request.query["companyId"] != self._state.company_id:
            raise Rejection(*_OTHER_COMPANY)

    async def _installed(self, request: web.Request, account: str) -> web.Response:
        rows = self._installations(request)
        page = _page(request, rows, 20)
        return json_answer({"locations": page, "count": len(rows), "installToFutureLocations": True})

    async def _installed_v3(self, request: web.Request, account: str) -> web.Response:
        """List a page by token: the number of rows before it."""
        before = request.query.get("pageToken") or "0"
        size = request.query.get("pageSize", "20")
        if not (before.isdecimal() and size.isdecimal() and int(size)):
            raise Rejection(422, ["pageToken and pageSize must be valid"], "Unprocessable Entity")
        rows = self._installations(request)
        start, end = int(before), int(before) + min(int(size), _MOST_ROWS)
        more = end < len(rows)
        pagination = {
            "totalRecords": len(rows),
            "hasNextPage": more,
            "nextPageToken": str(end) if more else None,
            "currentPageSize": len(rows[start:end]),
        }
        return json_answer({"items": rows[start:end], "pagination": pagination})

    async def _search(self, request: web.Request, account: str) -> web.Response:
        self._check_company(request, "companyId")
        rows = [{"id": id_, "name": f"Location {id_}"} for id_ in self._vendors.location_ids]
        return json_answer({"locations": _page(request, rows, 10)})

    async def _get_location(self, request: web.Request, account: str) -> web.Response:
        id_ = request.match_info["locationId"]
        if self._vendors.location(id_) is None:
            raise Rejection(400, f"Location with id {id_} not found", "Bad Request")
        location = {"id": id_, "companyId": account, "name": f"Location {id_}", "country": "US"}
        return json_answer({"location": location})


async def _fields(request: web.Request) -> dict[str, str]:
    """Read a form or a JSON body, with names in snake case whichever way they are written."""
    if request.content_type == "application/json":
        try:
            value = msgspec.json.decode(await request.read(), type=dict[str, Any])
        except msgspec.MsgspecError:
            value = {}
    else:
        value = dict(await request.post())
    return {_snake_case(name): text for name, text in value.items() if isinstance(text, str)}


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _snake_case(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _page(request: web.Request, rows: list[dict[str, Any]], usual: int) -> list[dict[str, Any]]:
    try:
        skip, limit = int(request.query.get("skip", "0")), int(request.query.get("limit", str(usual)))
    except ValueError:
        skip = limit = -1
    if skip < 0 or limit < 1:
        wrong = ["skip and limit must be numbers"]
        raise Rejection(422, wrong, "Unprocessable Entity")
    return rows[skip : skip + min(limit, _MOST_ROWS)]
