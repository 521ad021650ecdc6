"""Leadping's operations as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phonesys._calling_codes import country_of
from phonesys._validation import validate_e164
from phonesys.backends.countries import alpha_2
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.leadping.wire import (
    Availability,
    LeadpingNumber,
    LeadpingStatus,
    Listing,
    Location,
    PurchasableNumber,
    decode_availability,
    decode_listing,
    decode_number,
    decode_purchasable,
    decode_status,
)
from phonesys.errors import InvalidArgument
from phonesys.http.call import Call, encode_json, encode_query, encode_segment
from phonesys.http.response import expect_no_content
from phonesys.model import NumberForSale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

_MAX_NAME_LENGTH = 255
_NO_OPTIONS = ListOptions()
# Once: msgspec evaluates the annotations on each call, which takes 80 µs.
_OPTIONS = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(ListOptions))


def list_numbers(
    *,
    page_size: int = 100,
    continuation_token: str | None = None,
    options: ListOptions = _NO_OPTIONS,
    account: str = "",
) -> Call[Listing]:
    """`POST /phone-numbers/all/organization`: a POST that only reads, so it is idempotent."""
    requested = {wire: getattr(options, name) for name, wire in _OPTIONS}
    return Call(
        operation="list_numbers",
        method="POST",
        target="/phone-numbers/all/organization",
        url_template="/phone-numbers/all/organization",
        decode=decode_listing,
        body=encode_json({"pageSize": page_size, "continuationToken": continuation_token, **requested}),
        account=account,
    )


def create_number(
    *,
    name: str,
    number: str | None = None,
    organization_id: str | None = None,
    business_id: str | None = None,
    enabled: bool | None = None,
    number_health_enabled: bool | None = None,
    number_id: str | None = None,
    account: str = "",
) -> Call[LeadpingNumber]:
    """`POST /phone-numbers`: may cost money and has no idempotency key, so it is not idempotent."""
    body = {
        "name": _validate_name(name),
        "number": None if number is None else validate_e164(number),
        "organizationId": organization_id,
        "businessId": business_id,
        "enabled": enabled,
        "numberHealthEnabled": number_health_enabled,
        "id": number_id,
    }
    return Call(
        operation="create_number",
        method="POST",
        target="/phone-numbers",
        url_template="/phone-numbers",
        decode=decode_number,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=f"find({number!r})" if number else f"list the numbers named {name!r}",
    )


def get_number(number_id: str, *, account: str = "") -> Call[LeadpingNumber]:
    """`GET /phone-numbers/{phoneNumberId}`."""
    return Call(
        operation="get_number",
        method="GET",
        target=_number_path(number_id),
        url_template="/phone-numbers/{phoneNumberId}",
        decode=decode_number,
        account=account,
    )


def update_number(
    number_id: str,
    *,
    name: str | None,
    number: str | None,
    organization_id: str | None = None,
    business_id: str | None = None,
    enabled: bool | None = None,
    number_health_enabled: bool | None = None,
    account: str = "",
) -> Call[LeadpingNumber]:
    """`PUT /phone-numbers/{phoneNumberId}` replaces the whole record.

    Name and number are not validated: they may be what the vendor holds, in its own spelling.
    """
    body = {
        "name": name,
        "number": number,
        "organizationId": organization_id,
        "businessId": business_id,
        "enabled": enabled,
        "numberHealthEnabled": number_health_enabled,
        "id": number_id,
    }
    return Call(
        operation="update_number",
        method="PUT",
        target=_number_path(number_id),
        url_template="/phone-numbers/{phoneNumberId}",
        decode=decode_number,
        idempotent=False,
        body=encode_json(body),
        account=account,
        recovery_hint=f"get({number_id!r})",
    )


def delete_number(number_id: str, *, account: str = "") -> Call[None]:
    """`DELETE /phone-numbers/{phoneNumberId}`; the response is 204."""
    return Call(
        operation="delete_number",
        method="DELETE",
        target=_number_path(number_id),
        url_template="/phone-numbers/{phoneNumberId}",
        decode=expect_no_content,
        idempotent=False,
        account=account,
        recovery_hint=f"get({number_id!r}), which raises NotFound once it is deleted",
    )


def search_purchasable(
    *, phone_number: str | None = None, location: Mapping[str, str | None] | None = None, account: str = ""
) -> Call[tuple[PurchasableNumber, ...]]:
    """`POST /phone-numbers/search`: a POST that only reads, so it is idempotent."""
    place = {key: value for key, value in (location or {}).items() if value is not None}
    return Call(
        operation="search_purchasable",
        method="POST",
        target="/phone-numbers/search",
        url_template="/phone-numbers/search",
        decode=decode_purchasable,
        body=encode_json({"phoneNumber": phone_number, "location": place or None}),
        account=account,
    )


def is_available_for_purchase(phone_number: str, *, account: str = "") -> Call[Availability]:
    """`POST /phone-numbers/is-available-for-purchase`: a POST that only reads, so it is idempotent."""
    return Call(
        operation="is_available_for_purchase",
        method="POST",
        target="/phone-numbers/is-available-for-purchase",
        url_template="/phone-numbers/is-available-for-purchase",
        decode=decode_availability,
        body=encode_json({"phoneNumber": validate_e164(phone_number)}),
        account=account,
    )


def number_status(
    phone_number: str,
    *,
    window_days: int | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    account: str = "",
) -> Call[LeadpingStatus]:
    """`GET /phone-numbers/{phoneNumber}/status`, by the number itself instead of its id."""
    path = f"/phone-numbers/{encode_segment(validate_e164(phone_number), 'phone number')}/status"
    template = "/phone-numbers/{phoneNumber}/status"
    return _status("number_status", path, template, window_days, start_date, end_date, account)


def number_warmup(
    number_id: str,
    *,
    window_days: int | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    account: str = "",
) -> Call[LeadpingStatus]:
    """`GET /phone-numbers/{phoneNumberId}/warmup`."""
    path, template = f"{_number_path(number_id)}/warmup", "/phone-numbers/{phoneNumberId}/warmup"
    return _status("number_warmup", path, template, window_days, start_date, end_date, account)


def _status(
    operation: str,
    path: str,
    template: str,
    window_days: int | None,
    start: date | None,
    end: date | None,
    account: str,
) -> Call[LeadpingStatus]:
    parameters = {"windowDays": window_days, "startDate": start, "endDate": end}
    return Call(
        operation=operation,
        method="GET",
        target=path + encode_query(parameters),
        url_template=template,
        decode=decode_status,
        account=account,
    )


def _number_path(number_id: str) -> str:
    return f"/phone-numbers/{encode_segment(number_id, 'number id')}"


def validate_fields(name: str | None, number: str | None) -> None:
    """Raise InvalidArgument for a given name or number that the vendor would not accept."""
    if name is not None:
        _validate_name(name)
    if number is not None:
        validate_e164(number)


def _validate_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME_LENGTH:
        raise InvalidArgument(f"name: expected 1 to {_MAX_NAME_LENGTH} characters, got {name!r:.40}")
    return name


def as_offer(number: PurchasableNumber, account: str) -> NumberForSale:
    """Return the number in the form that all vendors share."""
    place = number.location or Location()
    return NumberForSale(
        number=number.number,
        account=account,
        country=alpha_2(place.country_code) or country_of(number.number),
        region=place.state,
        locality=place.location,
    )
