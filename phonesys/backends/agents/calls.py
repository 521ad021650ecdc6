"""The agent-number operations as data."""

from __future__ import annotations

from typing import Literal

import msgspec

from phonesys._validation import validate_e164
from phonesys.backends.agents.wire import (
    Agent,
    AgentNumber,
    Rows,
    decode_agent,
    decode_agents,
    decode_number,
    decode_numbers,
)
from phonesys.errors import InvalidArgument
from phonesys.http.call import Call, encode_json, encode_query, encode_segment
from phonesys.http.response import expect_no_content

_NULL = msgspec.Raw(b"null")  # encode_json leaves out None
_RECOVERY_HINT = "get(number_id), or list the numbers"


def list_numbers(
    *,
    page: int = 1,
    limit: int = 50,
    status: str | None = None,
    agent_id: str | None = None,
    account: str = "",
) -> Call[Rows[AgentNumber]]:
    """`GET /numbers`; `page` counts from 1."""
    parameters = {"page": page, "limit": limit, "status": status, "agentId": agent_id}
    return Call(
        operation="list_numbers",
        method="GET",
        target="/numbers" + encode_query(parameters),
        url_template="/numbers",
        decode=decode_numbers,
        account=account,
    )


def list_agents(
    *,
    page: int = 1,
    limit: int = 50,
    status: str | None = None,
    search: str | None = None,
    account: str = "",
) -> Call[Rows[Agent]]:
    """`GET /agents`; `page` counts from 1, `limit` goes up to 100."""
    parameters = {"page": page, "limit": limit, "status": status, "search": search}
    return Call(
        operation="list_agents",
        method="GET",
        target="/agents" + encode_query(parameters),
        url_template="/agents",
        decode=decode_agents,
        account=account,
    )


def get_agent(agent_id: str, *, account: str = "") -> Call[Agent]:
    """`GET /agents/{id}`."""
    return Call(
        operation="get_agent",
        method="GET",
        target=f"/agents/{encode_segment(agent_id, 'agent id')}",
        url_template="/agents/{id}",
        decode=decode_agent,
        account=account,
    )


def numbers_of_agent(agent_id: str, *, page: int | None = None, account: str = "") -> Call[Rows[AgentNumber]]:
    """`GET /agents/{id}/numbers`; not documented to be paged."""
    return Call(
        operation="numbers_of_agent",
        method="GET",
        target=f"/agents/{encode_segment(agent_id, 'agent id')}/numbers" + encode_query({"page": page}),
        url_template="/agents/{id}/numbers",
        decode=decode_numbers,
        account=account,
    )


def get_number(number_id: str, *, account: str = "") -> Call[AgentNumber]:
    """`GET /numbers/{id}`."""
    return Call(
        operation="get_number",
        method="GET",
        target=_number_path(number_id),
        url_template="/numbers/{id}",
        decode=decode_number,
        account=account,
    )


def assign_number(
    *, phone_number: str, agent_id: str, friendly_name: str | None = None, account: str = ""
) -> Call[AgentNumber | None]:
    """`POST /numbers`: routes live calls to the agent, so it is not idempotent."""
    encode_segment(agent_id, "agent id")  # validates it: the rule is the same as in a path
    body = {"phoneNumber": validate_e164(phone_number), "agentId": agent_id, "friendlyName": friendly_name}
    return Call(
        operation="assign_number",
        method="POST",
        target="/numbers",
        url_template="/numbers",
        decode=decode_changed,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=f"find({phone_number!r})",
    )


def update_number(
    number_id: str,
    *,
    friendly_name: str | None = None,
    agent_id: str | None = None,
    status: str | None = None,
    unassign: bool = False,
    method: Literal["PUT", "PATCH"] = "PUT",
    account: str = "",
) -> Call[AgentNumber | None]:
    """`PUT /numbers/{id}`, or `PATCH`, with only the given fields. `unassign` sends an `agentId` of null."""
    agent = _NULL if unassign else agent_id
    body = {"friendlyName": friendly_name, "agentId": agent, "status": status}
    if not any(value is not None for value in body.values()):
        raise InvalidArgument("update: expected at least one of friendly_name, agent_id, status")
    return Call(
        operation="update_number",
        method=method,
        target=_number_path(number_id),
        url_template="/numbers/{id}",
        decode=decode_changed,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=_RECOVERY_HINT,
    )


def delete_number(number_id: str, *, account: str = "") -> Call[None]:
    """`DELETE /numbers/{id}`; the response has no content."""
    return Call(
        operation="delete_number",
        method="DELETE",
        target=_number_path(number_id),
        url_template="/numbers/{id}",
        decode=expect_no_content,
        idempotent=False,
        account=account,
        recovery_hint=_RECOVERY_HINT,
    )


def decode_changed(body: bytes) -> AgentNumber | None:
    """Decode a number that was changed; None if the response has no content."""
    return decode_number(body) if body.strip() else None


def _number_path(number_id: str) -> str:
    return f"/numbers/{encode_segment(number_id, 'number id')}"
