"""The vendor's responses about tokens and locations, in every spelling it has used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from phonesys._validation import is_array, is_object
from phonesys.errors import DecodeError, InvalidArgument, NotJson
from phonesys.http.response import MSGSPEC_ERRORS, decode_error, one_line
from phonesys.oauth.token import Token
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

_MIN_LIFETIME = 1.0
"""Seconds. A token with a shorter lifetime is used until it is rejected, not fetched over and over."""
_MAX_BODY = (
    2**20
)  # no token comes near it, and decoded objects take up to thirty times the size of their JSON


def decode_token(body: bytes, *, clock: Callable[[], float]) -> Token:
    """Decode a token response: `access_token` or `accessToken`, bare or under `data`.

    Raises a DecodeError that does not quote the response, since it may hold a token.
    """
    fields = _token_fields(body)
    access = _text(fields, "access_token", "accessToken")
    if access is None:
        del fields, body  # tracebacks may show locals
        raise DecodeError(
            "the response has no access token; it is not shown, since it may hold another secret"
        )
    now, refresh = clock(), _text(fields, "refresh_token", "refreshToken")
    life = _seconds(fields.get("expires_in", fields.get("expiresIn")))
    return Token(
        access=_secret(access),
        refresh=None if refresh is None else _secret(refresh),
        obtained_at=now,
        expires_at=None if life is None else now + life,
        subject=_subject(fields),
        scope=_text(fields, "scope") or "",
    )


def _token_fields(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_BODY:
        return {}
    try:
        value = msgspec.json.decode(body)
    except MSGSPEC_ERRORS:
        value = None
    if value is None and body.strip() != b"null":
        del body  # tracebacks may show locals
        raise NotJson("the response is not JSON; it is not shown, since it may hold a token")
    fields = _object(value)
    return _object(fields["data"]) if "data" in fields else fields


def _object(value: Any) -> dict[str, Any]:
    return value if is_object(value) else {}


def _text(fields: dict[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), None)


def _secret(value: str) -> Secret:
    try:
        return Secret(value, what="token")
    except InvalidArgument as failure:
        reason = str(failure)
    del value
    raise DecodeError(f"the response has an invalid token: {reason}")


def _seconds(value: Any) -> float | None:
    try:
        life = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return life if _MIN_LIFETIME <= life < float("inf") else None


def _subject(fields: dict[str, Any]) -> str:
    company, location = _text(fields, "companyId", "company_id"), _text(fields, "locationId", "location_id")
    of_company = _text(fields, "userType", "user_type") == "Company" or location is None
    if of_company:
        return f"company/{company}" if company else ""
    return f"location/{location}"


class LocationRow(msgspec.Struct, frozen=True):
    """A row in a list of locations; `id` is None if the vendor sent none."""

    id: str | None
    name: str | None = None
    is_installed: bool | None = None


class LocationPage(msgspec.Struct, frozen=True):
    """A page of locations.

    - `count`: the total of all pages by the documents. Vendors also send the number of rows on the page, and
      the number of all locations whatever the filter.
    - `next_token`: token of the next page, in version v3.
    - `has_next`: False if the vendor says that this page is the last.
    """

    locations: tuple[LocationRow, ...]
    count: int | None = None
    next_token: str | None = None
    has_next: bool | None = None


def decode_locations(body: bytes) -> LocationPage:
    """Decode a page of locations, under `locations` or, in version v3, `items`. Raise DecodeError."""
    try:
        value = msgspec.json.decode(body)
    except MSGSPEC_ERRORS as failure:
        raise decode_error(body, str(failure)) from None
    fields = _object(value)
    rows = fields["locations"] if "locations" in fields else fields.get("items")
    if not is_array(rows):
        raise decode_error(body, "no list under locations or items")
    paging = _object(fields.get("pagination"))
    has_next = paging.get("hasNextPage")
    return LocationPage(
        tuple(_decode_row(_object(row)) for row in rows),
        count=_count(paging.get("totalRecords") if paging else fields.get("count")),
        next_token=_text(paging, "nextPageToken"),
        has_next=has_next if isinstance(has_next, bool) else None,
    )


def _decode_row(row: dict[str, Any]) -> LocationRow:
    id_ = _id(row.get("_id")) or _id(row.get("id")) or _id(row.get("locationId"))
    name = one_line(row["name"]) if isinstance(row.get("name"), str) else ""
    is_installed = row.get("isInstalled")
    return LocationRow(id_, name or None, is_installed if isinstance(is_installed, bool) else None)


def _id(value: Any) -> str | None:
    """Return an id, which vendors also write as a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count >= 0 else None
