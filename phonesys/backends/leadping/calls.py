"""Leadping's operations as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phonesys._validation import validate_e164
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.leadping.wire import (
    LeadpingNumber,
    LeadpingStatus,
    Listing,
    read_listing,
    read_number,
    read_status,
)
from phonesys.errors import InvalidArgument
from phonesys.http.call import Call, encode_json, encode_query, encode_segment
from phonesys.http.response import expect_no_content

if TYPE_CHECKING:
    from datetime import date

_LONGEST_NAME = 255
_EVERYTHING = ListOptions()
# Once: msgspec evaluates the annotations anew whenever it is asked, which takes 80 µs.
_OPTIONS = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(ListOptions))


def list_numbers(
    *,
    page_size: int = 100,
    continuation_token: str | None = None,
    options: ListOptions = _EVERYTHING,
    account: str = "",
) -> Call[Listing]:
    """`POST /phone-numbers/all/organization`: a POST that only reads, and is safe to repeat."""
    asked = {wire: getattr(options, name) for name, wire in _OPTIONS}
    return Call(
        operation="list_numbers",
        method="POST",
        target="/phone-numbers/all/organization",
        decode=read_listing,
        body=encode_json({"pageSize": page_size, "continuationToken": continuation_token, **asked}),
        account=account,
    )


def create_number(
    *,
    name: str,
    number: str | None = None,
    organization_id: str | None = None,
    business_id: str | None = None,
    enabled: bool | None = None,
    number_id: str | None = None,
    account: str = "",
) -> Call[LeadpingNumber]:
    """`POST /phone-numbers`: may cost money, has no idempotency key, and is never repeated on a guess."""
    body = {
        "name": _checked_name(name),
        "number": None if number is None else validate_e164(number),
        "organizationId": organization_id,
        "businessId": business_id,
        "enabled": enabled,
        "id": number_id,
    }
    return Call(
        operation="create_number",
        method="POST",
        target="/phone-numbers",
        decode=read_number,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=f"find({number!r})" if number else f"list the numbers named {name!r}",
    )


def get_number(number_id: str, *, account: str = "") -> Call[LeadpingNumber]:
    """`GET /phone-numbers/{phoneNumberId}`."""
    return Call(
        operation="get_number", method="GET", target=_number(number_id), decode=read_number, account=account
    )


def update_number(
    number_id: str,
    *,
    name: str,
    number: str,
    organization_id: str | None = None,
    business_id: str | None = None,
    enabled: bool | None = None,
    account: str = "",
) -> Call[LeadpingNumber]:
    """`PUT /phone-numbers/{phoneNumberId}`, which takes the whole request: name and number are required."""
    body = {
        "name": _checked_name(name),
        "number": validate_e164(number),
        "organizationId": organization_id,
        "businessId": business_id,
        "enabled": enabled,
        "id": number_id,
    }
    return Call(
        operation="update_number",
        method="PUT",
        target=_number(number_id),
        decode=read_number,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=f"get({number_id!r})",
    )


def delete_number(number_id: str, *, account: str = "") -> Call[None]:
    """`DELETE /phone-numbers/{phoneNumberId}`, which answers 204."""
    return Call(
        operation="delete_number",
        method="DELETE",
        target=_number(number_id),
        decode=expect_no_content,
        idempotent=False,
        account=account,
        recovery_hint=f"get({number_id!r}), which is NotFound once it is gone",
    )


def number_status(
    phone_number: str,
    *,
    window_days: int | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    account: str = "",
) -> Call[LeadpingStatus]:
    """`GET /phone-numbers/{phoneNumber}/status`: by the number itself, not its id."""
    path = f"/phone-numbers/{encode_segment(validate_e164(phone_number), 'phone number')}/status"
    return _status("number_status", path, window_days, start_date, end_date, account)


def number_warmup(
    number_id: str,
    *,
    window_days: int | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    account: str = "",
) -> Call[LeadpingStatus]:
    """`GET /phone-numbers/{phoneNumberId}/warmup`."""
    return _status(
        "number_warmup", f"{_number(number_id)}/warmup", window_days, start_date, end_date, account
    )


def _status(
    operation: str, path: str, window_days: int | None, start: date | None, end: date | None, account: str
) -> Call[LeadpingStatus]:
    parameters = {"windowDays": window_days, "startDate": start, "endDate": end}
    return Call(
        operation=operation,
        method="GET",
        target=path + encode_query(parameters),
        decode=read_status,
        account=account,
    )


def _number(number_id: str) -> str:
    return f"/phone-numbers/{encode_segment(number_id, 'number id')}"


def check_fields(name: str | None, number: str | None) -> None:
    """Raise InvalidArgument for a name or a number that is given and that the vendor could not take."""
    if name is not None:
        _checked_name(name)
    if number is not None:
        validate_e164(number)


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
        raise InvalidArgument(f"name: expected 1 to {_LONGEST_NAME} characters, got {name!r:.40}")
    return name
