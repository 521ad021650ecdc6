"""The changes that Leadping's API can make to an organization's numbers.

`PUT /phone-numbers/{phoneNumberId}` replaces the record, and `POST /phone-numbers` creates one (the vendor's
OpenAPI file, schemas `PhoneNumberRequest` and `PhoneNumberResponse`).
"""

from __future__ import annotations

import msgspec

from phonesys.change_rules import ChangeRules, FieldRule, NewNumberRule

_ADD_ON = "the number-health add-on is paid for unless number_health_enabled is false"

_CREATE = NewNumberRule(
    kind="create",
    fields=("label", "is_enabled", "organization", "number_health_enabled"),
    required=("label",),
    needs_number=False,
    cost=f"Leadping may charge for the number; {_ADD_ON}",
)
_MANAGED = "Leadping keeps {} by itself, and documents no way to change it"

RULES = ChangeRules(
    vendor="Leadping",
    fields={
        "label": FieldRule(parameter="name", max_length=255),
        "is_enabled": FieldRule(parameter="enabled", type="flag"),
        "organization": FieldRule(parameter="organization_id", attribute="organization_id"),
        "number_health_enabled": FieldRule(
            parameter="number_health_enabled",
            type="flag",
            cost="the number-health add-on is paid for",
            attribute="number_health_enabled",
        ),
    },
    update=("label", "is_enabled", "organization", "number_health_enabled"),
    create=_CREATE,
    buy=msgspec.structs.replace(_CREATE, needs_number=True),
    deletes=True,
    delete_irreversible="Leadping releases the number, which may then belong to others",
    follows={"status": "is_enabled"},
    refusals={
        "status": "Leadping documents no way to change status: set is_enabled",
        **{
            column: _MANAGED.format(column)
            for column in (
                "vendor_status", "inventory_state", "sms_ready", "voice_ready", "warmup_state",
                "warmup_health", "warmup_reason", "ten_dlc_registered", "ten_dlc_status", "ten_dlc_failure",
                "monthly_amount", "billed", "origin",
            )
        },
    },
    switch="is_enabled",
    switched_off=False,
)  # fmt: skip
