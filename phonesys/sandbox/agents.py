"""The agent-number account's side: assignments of numbers to agents, in any of the envelopes seen in use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

import msgspec
from aiohttp import web

from phonesys.sandbox.paging import Pager
from phonesys.sandbox.routes import JSON, Route
from phonesys.sandbox.state import DEFAULT, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phonesys.sandbox.auth import Authenticator
    from phonesys.sandbox.limits import SlidingWindows
    from phonesys.sandbox.paging import BeyondEnd
    from phonesys.sandbox.state import Agent, Assignment, VendorState

Envelope: TypeAlias = Literal["documented", "bare", "data", "numbers", "items", "results", "nested"]
"""Envelope of rows: none, a key, or a key one level down as in `{"data": {"numbers": [...]}}`.

`documented` is the vendor's own: lists under `data`, single numbers and agents bare.
"""
Paging: TypeAlias = Literal[
    "pagination", "meta", "top", "none",
    "count", "totalCount", "total_pages", "last_page", "has_more", "hasNext", "hasNextPage", "nextPage",
]  # fmt: skip
"""Place and spelling of the paging: an object as vendors were seen to write it, or one key at the top."""
UpdateMethod: TypeAlias = Literal["PUT", "PATCH", "both"]
"""HTTP method that updates a number; the other one is answered with 405."""

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
    agent_id: str | msgspec.UnsetType | None = msgspec.UNSET
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
        *,
        update_method: UpdateMethod = "both",
        page_cap: int | None = None,
        beyond_end: BeyondEnd = "empty",
    ) -> None:
        if envelope not in get_args(Envelope) or paging not in get_args(Paging):
            raise ValueError(f"no such envelope: {envelope}, {paging}")
        if update_method not in get_args(UpdateMethod):
            raise ValueError(f"no such update method: {update_method}")
        self._update_method: UpdateMethod = update_method
        self._pager = Pager(page_cap, beyond_end, Rejection)
        self._vendors, self._auth, self._limits = vendors, auth, limits
        self._envelope: Envelope = envelope
        self._paging: Paging = paging

    def routes(self) -> Iterable[Route]:
        """List what it serves."""
        yield Route("agents.list", "GET", "/numbers", self._list)
        yield Route("agents.assign", "POST", "/numbers", self._assign)
        yield Route("agents.get", "GET", "/numbers/{id}", self._get)
        for method in ("PUT", "PATCH"):
            yield Route("agents.update", method, "/numbers/{id}", self._update)
        yield Route("agents.delete", "DELETE", "/numbers/{id}", self._delete)
        yield Route("agents.of_agent", "GET", "/agents/{id}/numbers", self._of_agent)
        yield Route("agents.agents", "GET", "/agents", self._agents)
        yield Route("agents.agent", "GET", "/agents/{id}", self._get_agent)

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
        status, agent_id = request.query.get("status"), request.query.get("agentId")
        rows = [
            row
            for row in self._vendors.assignments.values()
            if _has_status(row, status) and agent_id in {None, row.agent_id}
        ]
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
        return self._one(_row(row), status=201)

    async def _get(self, request: web.Request, _: str) -> web.Response:
        return self._one(_row(self._known(request)))

    async def _update(self, request: web.Request, _: str) -> web.Response:
        if self._update_method not in {"both", request.method}:
            raise Rejection(405, "Method not allowed", {"Allow": f"GET, {self._update_method}, DELETE"})
        row, change = self._known(request), await _body(request, Change)
        if change.agent_id is not msgspec.UNSET:
            if change.agent_id is not None and change.agent_id not in self._vendors.agents:
                raise Rejection(400, "Agent not found")
            row.agent_id = change.agent_id
        if change.friendly_name is not msgspec.UNSET:
            row.friendly_name = change.friendly_name
        if change.status is not msgspec.UNSET:
            row.status = change.status
        row.updated_at = now()
        return self._one(_row(row))

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

    async def _get_agent(self, request: web.Request, _: str) -> web.Response:
        agent = self._vendors.agents.get(request.match_info["id"])
        if agent is None:
            raise Rejection(404, "Agent not found")
        return self._one(_agent(agent), "agent")

    def _known(self, request: web.Request) -> Assignment:
        row = self._vendors.assignments.get(request.match_info["id"])
        if row is None:
            raise Rejection(404, "Phone number not found")
        return row

    def _page(self, request: web.Request, noun: str, rows: Sequence[dict[str, Any]]) -> web.Response:
        page, limit = _integer(request, "page", 1, None), _integer(request, "limit", 50, _MOST)
        cut = self._pager.cut(rows, page - 1, limit)
        response = self._wrap(noun, cut.rows)
        if isinstance(response, dict):
            response |= self._paging_fields(page, limit, cut.size, len(rows))
        return _json(response)

    def _wrap(
        self, noun: str, rows: Sequence[dict[str, Any]] | None
    ) -> dict[str, Any] | Sequence[dict[str, Any]] | None:
        if self._envelope == "bare":
            return rows
        if self._envelope == "nested":
            return {"data": {noun: rows}}
        key = {"documented": "data", "numbers": noun}.get(self._envelope, self._envelope)
        return {key: rows}

    def _paging_fields(self, page: int, limit: int, size: int, total: int) -> dict[str, Any]:
        """Return the paging of a list; `size` counts, `limit` is what the client asked for and is told."""
        pages, more = -(-total // size), page * size < total
        paging = {"page": page, "limit": limit, "total": total}
        spellings: dict[Paging, dict[str, Any]] = {
            "pagination": {"pagination": {**paging, "totalPages": pages, "hasMore": more}},
            "meta": {"meta": {**paging, "pages": pages}},
            "top": {**paging, "totalPages": pages, "hasMore": more},
            "none": {},
            "nextPage": {"nextPage": page + 1 if more else None},
        }
        keys = {"count": total, "totalCount": total, "total_pages": pages, "last_page": pages}
        if self._paging in spellings:
            return spellings[self._paging]
        return {self._paging: keys.get(self._paging, more)}

    def _one(self, row: dict[str, Any], noun: str = "number", status: int = 200) -> web.Response:
        if self._envelope in {"bare", "documented"}:
            return _json(row, status)
        return _json({noun if self._envelope in {"numbers", "nested"} else "data": row}, status)


def _has_status(row: Assignment, status: str | None) -> bool:
    """Return whether a number passes the filter: its status, `assigned` or `unassigned`."""
    if status in {"assigned", "unassigned"}:
        return (row.agent_id is not None) == (status == "assigned")
    return status in {None, row.status}


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
