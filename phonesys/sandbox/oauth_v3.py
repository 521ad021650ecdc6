"""LeadConnector's OAuth as version v3 writes it: other paths, and camelCase for underscores."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from phonesys.sandbox.leadconnector import Rejection, json_answer
from phonesys.sandbox.oauth import LeadConnectorOAuth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from phonesys.sandbox.limits import LimitDecision
    from phonesys.sandbox.routes import Route

_VERSIONS = ("2021-07-28", "v3")


class LeadConnectorOAuthV3(LeadConnectorOAuth):
    """Serves both versions of OAuth.

    The version is told by the field names that are sent. The spelling of the answers is the sandbox's to
    choose (`oauth_spelling`), since the vendor's documents and answers differ there.
    """

    def routes(self) -> Iterable[Route]:
        """List what it serves: each route of v3 counts as the older one of the same meaning."""
        for route in super().routes():
            if route.name == "leadconnector.token":
                yield replace(route, handler=self._token_v3)
                continue
            yield route
            if route.name == "leadconnector.location_token":
                yield replace(route, path="/oauth/location-token")

    def _admit(self, request: web.Request, verdict: LimitDecision) -> None:
        if not verdict.allowed:
            raise Rejection(429, "Too Many Requests")
        if request.headers.get("Version") not in _VERSIONS:
            raise Rejection(400, "version header is required", "Bad Request")

    async def _token_v3(self, request: web.Request, account: str) -> web.Response:
        form = await request.post()
        if "grantType" not in form:
            return await self._token(request, account)
        fields = {_underscored(name): value for name, value in form.items() if isinstance(value, str)}
        client = fields.get("client_id"), fields.get("client_secret")
        if client != (self._state.client_id, self._state.client_secret):
            return json_answer({"error": "invalid_client"}, status=401)
        if fields["grant_type"] == "refresh_token":
            answer = self._state.refresh(fields.get("refresh_token", ""))
        else:
            answer = self._state.redeem(fields.get("code", ""), fields.get("redirect_uri"))
        return json_answer(answer or {"error": "invalid_grant"}, status=400 if answer is None else 200)


def _underscored(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
