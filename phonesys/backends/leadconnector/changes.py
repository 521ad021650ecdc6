"""The changes that LeadConnector's API can make: it documents the purchase of a number, and nothing else.

`POST /phone-system/numbers/location/{locationId}/purchase` (the vendor's page on the phone system).
"""

from __future__ import annotations

from phonesys.change_rules import ChangeRules, FieldRule, NewNumberRule

_BY_HAND = "LeadConnector documents no way to change {}; change it in the location's settings"

RULES = ChangeRules(
    vendor="LeadConnector",
    fields={
        "country": FieldRule(parameter="country_code"),
        "kind": FieldRule(
            parameter="number_type",
            words={"local": "local", "toll-free": "tollFree", "mobile": "mobile", "national": "national"},
        ),
    },
    buy=NewNumberRule(
        kind="purchase",
        fields=("country", "kind"),
        required=("country",),
        cost="LeadConnector charges the location for the number",
        irreversible="LeadConnector documents no way to release a number",
    ),
    refusals={
        column: _BY_HAND.format(column)
        for column in (
            "label", "assignee", "inbound", "forwarding_number", "ring_users", "is_default", "pool",
            "pool_name", "pool_active", "pool_route",
        )
    },
)  # fmt: skip
