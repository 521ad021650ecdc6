"""The agent-number account's side: assignments of numbers to agents, in any of the envelopes seen in use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

import msgspec
from aiohttp import web

from phonesys.sandbox.routes import JSON, Route
from phonesys.sandbox.state import DEFAULT, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phonesys.sandbox.auth import Authenticator
    from phonesys.sandbox.limits import SlidingWindows
    from phonesys.sandbox.state import Agent, Assignment, VendorState

Envelope: TypeAlias = Literal["bare", "data", "numbers", "items", "results", "nested"]
"""Where the rows are: alone, under a key, or one level down as in `{"data": {"numbers": […]}}`."""
Paging: TypeAlias = Literal["pagination", "meta", "top", "none"]
"""Where the paging is. Each place has its own spelling, as seen: `meta` says `pages` and no `hasMore`."""

_MOST = 100
_T = TypeVar("_T")
_ENCODE = msgspec.json.Encoder().encode


class Assign(msgspec.Struct, rename="camel"):
    """The body of an assignment."""

    phone_number: str = ""
    agent_id: str = ""
    friendly_name: str | None = None


class Change(msgspec.Struct, rename="camel"):
    """The body of an update: what is not sent stays as it is."""

    friendly_name: str | msgspec.UnsetType | None = msgspec.UNSET
    agent_id: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET


class Rejection(Exception):
    """A request that this vendor answers with an error."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers

    def response(self) -> web.Response:
        """Write the error as an answer."""
        raw = _ENCODE({"error": {"message": self.message}})
        return web.Response(status=self.status, body=raw, content_type=JSON, headers=self.headers)


class AgentsApi:
    """Serves assignments and agents.

    Where the documents are silent: an unknown agent is a 404 when a number is assigned and a 400 when one
    is moved; a number may be assigned twice, so that a repeated request shows; a page beyond the end is
    empty; an unknown status matches nothing; `/agents/{id}/numbers` is not paged.
    """

    name = "agents"
    prefix = "/agents/api/v1"

    def __init__(
        self,
        vendors: VendorState,
        auth: Authenticator,
        limits: SlidingWindows,
        envelope: Envelope = "data",
        paging: Paging = "pagination",
    ) -> None:
        if envelope not in get_args(Envelope) or paging not in get_args(Paging):
            raise ValueError(f"no such envelope: {envelope}, {paging}")
        self._vendors, self._auth, self._limits = vendors, auth, limits
        self._envelope: Envelope = envelope
        self._paging: Paging = paging

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        yield Route("agents.list", "GET", "/numbers", self._list)
        yield Route("agents.assign", "POST", "/numbers", self._assign)
        yield Route("agents.get", "GET", "/numbers/{id}", self._get)
        yield Route("agents.update", "PUT", "/numbers/{id}", self._update)
        yield Route("agents.delete", "DELETE", "/numbers/{id}", self._delete)
        yield Route("agents.of_agent", "GET", "/agents/{id}/numbers", self._of_agent)
        yield Route("agents.agents", "GET", "/agents", self._agents)

    def account(self, _: web.Request, /) -> str:
        """Name the only one."""
        return DEFAULT

    async def serve(self, route: Route, request: web.Request, account: str, /) -> web.Response:
        """Authenticate, count against the limit if there is one, and carry out."""
        try:
            self._admit(request, account)
            return await route.handler(request, account)
        except Rejection as refused:
            return refused.response()

    def unknown(self, _: web.Request, /) -> web.Response:
        """Answer in the vendor's words."""
        return Rejection(404, "Not found").response()

    def _admit(self, request: web.Request, account: str) -> None:
        if self._auth.grant(request.headers) is None:
            raise Rejection(401, "Invalid API key")
        verdict = self._limits.try_acquire(account)
        if not verdict.allowed:
            raise Rejection(429, "Too many requests", {"Retry-After": str(math.ceil(verdict.retry_after))})

    async def _list(self, request: web.Request, _: str) -> web.Response:
        status = request.query.get("status")
        rows = [row for row in self._vendors.assignments.values() if status in {None, row.status}]
        return self._page(request, "numbers", [_row(row) for row in rows])

    async def _assign(self, request: web.Request, _: str) -> web.Response:
        body = await _body(request, Assign)
        for value, name in ((body.phone_number, "phoneNumber"), (body.agent_id, "agentId")):
            if not value:
                raise Rejection(400, f"{name} is required")
        if body.agent_id not in self._vendors.agents:
            raise Rejection(404, "Agent not found")
        row = self._vendors.assign(
            number=body.phone_number, agent_id=body.agent_id, friendly_name=body.friendly_name
        )
        return self._one(row, status=201)

    async def _get(self, request: web.Request, _: str) -> web.Response:
        return self._one(self._known(request))

    async def _update(self, request: web.Request, _: str) -> web.Response:
        row, change = self._known(request), await _body(request, Change)
        if change.agent_id is not msgspec.UNSET:
            if change.agent_id not in self._vendors.agents:
                raise Rejection(400, "Agent not found")
            row.agent_id = change.agent_id
        if change.friendly_name is not msgspec.UNSET:
            row.friendly_name = change.friendly_name
        if change.status is not msgspec.UNSET:
            row.status = change.status
        row.updated_at = now()
        return self._one(row)

    async def _delete(self, request: web.Request, _: str) -> web.Response:
        del self._vendors.assignments[self._known(request).id]
        return web.Response()

    async def _of_agent(self, request: web.Request, _: str) -> web.Response:
        agent_id = request.match_info["id"]
        if agent_id not in self._vendors.agents:
            raise Rejection(404, "Agent not found")
        rows = [_row(row) for row in self._vendors.assignments.values() if row.agent_id == agent_id]
        return _json(self._wrap("numbers", rows))

    async def _agents(self, request: web.Request, _: str) -> web.Response:
        status, search = request.query.get("status"), request.query.get("search", "").lower()
        agents = [agent for agent in self._vendors.agents.values() if status in {None, agent.status}]
        return self._page(
            request, "agents", [_agent(agent) for agent in agents if search in agent.name.lower()]
        )

    def _known(self, request: web.Request) -> Assignment:
        row = self._vendors.assignments.get(request.match_info["id"])
        if row is None:
            raise Rejection(404, "Phone number not found")
        return row

    def _page(self, request: web.Request, noun: str, rows: Sequence[dict[str, Any]]) -> web.Response:
        page, limit = _integer(request, "page", 1, None), _integer(request, "limit", 50, _MOST)
        start = (page - 1) * limit
        answer = self._wrap(noun, rows[start : start + limit])
        if isinstance(answer, dict):
            answer |= self._paged(page, limit, len(rows))
        return _json(answer)

    def _wrap(self, noun: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | Sequence[dict[str, Any]]:
        if self._envelope == "bare":
            return rows
        if self._envelope == "nested":
            return {"data": {noun: rows}}
        return {noun if self._envelope == "numbers" else self._envelope: rows}

    def _paged(self, page: int, limit: int, total: int) -> dict[str, Any]:
        pages, more = -(-total // limit), page * limit < total
        paging = {"page": page, "limit": limit, "total": total}
        match self._paging:
            case "pagination":
                return {"pagination": {**paging, "totalPages": pages, "hasMore": more}}
            case "meta":
                return {"meta": {**paging, "pages": pages}}
            case "top":
                return {**paging, "totalPages": pages, "hasMore": more}
            case _:
                return {}

    def _one(self, row: Assignment, status: int = 200) -> web.Response:
        if self._envelope == "bare":
            return _json(_row(row), status)
        return _json({"number" if self._envelope in {"numbers", "nested"} else "data": _row(row)}, status)


def _row(row: Assignment) -> dict[str, Any]:
    return {
        "id": row.id,
        "phoneNumber": row.number,
        "agentId": row.agent_id,
        "status": row.status,
        "friendlyName": row.friendly_name,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
    }


def _agent(agent: Agent) -> dict[str, Any]:
    return {"id": agent.id, "name": agent.name, "status": agent.status, "createdAt": agent.created_at}


def _integer(request: web.Request, name: str, default: int, most: int | None) -> int:
    text = request.query.get(name, str(default))
    value = int(text[:20]) if text.isascii() and text.isdecimal() else 0
    if value < 1 or (most is not None and value > most):
        raise Rejection(400, f"{name} must be a number from 1" + (f" to {most}" if most else ""))
    return value


async def _body(request: web.Request, kind: type[_T]) -> _T:
    """Read a JSON body; one of another type is as good as none, as in the frameworks that do this."""
    raw = await request.read() if request.content_type == JSON else b"{}"
    try:
        return msgspec.json.decode(raw, type=kind)
    except ValueError as exc:
        raise Rejection(400, f"Invalid request body: {exc}") from None


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODE(value), content_type=JSON)
