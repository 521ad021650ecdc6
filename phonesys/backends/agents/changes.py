"""The changes that can be made to agent numbers.

The vendor's page on phone numbers: `PATCH /numbers/{id}` sets `friendlyName`, `agentId` and `status`, and an
`agentId` of null unassigns. `POST /numbers` assigns a number that the account has.
"""

from __future__ import annotations

from phonesys.change_rules import ChangeRules, FieldRule, NewNumberRule

RULES = ChangeRules(
    vendor="the vendor of agent numbers",
    fields={
        "label": FieldRule(parameter="friendly_name", nullable=True),
        "assignee": FieldRule(parameter="agent_id", nullable=True, clearable=True, checked=True),
        "status": FieldRule(parameter="status", words={"active": "ACTIVE", "inactive": "INACTIVE"}),
    },
    update=("label", "assignee", "status"),
    create=NewNumberRule(kind="assign", fields=("label", "assignee"), required=("assignee",)),
    deletes=True,
    follows={"inbound": "assignee", "is_routed": "assignee", "vendor_status": "status"},
    refusals={
        column: f"the vendor of agent numbers keeps no {column}: calls go to the agent, which is the assignee"
        for column in ("forwarding_number", "ring_users", "routing_summary")
    },
    route="assignee",
    switch="status",
    switched_off="inactive",
)
