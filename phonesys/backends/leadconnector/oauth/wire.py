"""The vendor's answers about tokens and locations, in the spellings it has used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from phonesys._validation import is_object
from phonesys.errors import DecodeError, InvalidArgument, NotJson
from phonesys.http.response import UNREADABLE, json_decoder
from phonesys.oauth.token import Token
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORTEST_LIFE = 1.0
"""Seconds; what is said to end sooner is kept until it is refused, or it would be fetched over and over."""
_LONGEST = 2**20  # no token comes near it, and objects take up to thirty times the room of their JSON


def read_token(body: bytes, *, clock: Callable[[], float]) -> Token:
    """Read a token answer: `access_token` or `accessToken`, bare or under `data`.

    Raises a DecodeError that shows nothing of the answer, since it may hold a token.
    """
    answer = _token_fields(body)
    access = _text(answer, "access_token", "accessToken")
    if access is None:
        del answer, body  # tracebacks may show locals
        raise DecodeError("the answer holds no access token; it is not shown, since it may hold others")
    now, refresh = clock(), _text(answer, "refresh_token", "refreshToken")
    life = _seconds(answer.get("expires_in", answer.get("expiresIn")))
    return Token(
        access=_secret(access),
        refresh=None if refresh is None else _secret(refresh),
        obtained_at=now,
        expires_at=None if life is None else now + life,
        subject=_holder(answer),
        scope=_text(answer, "scope") or "",
    )


def _token_fields(body: bytes) -> dict[str, Any]:
    if len(body) > _LONGEST:
        return {}
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        answer = None
    if answer is None and body.strip() != b"null":
        del body  # tracebacks may show locals
        raise NotJson("the answer is not JSON; it is not shown, since it may hold a token")
    fields = _object(answer)
    return _object(fields["data"]) if "data" in fields else fields


def _object(value: Any) -> dict[str, Any]:
    return value if is_object(value) else {}


def _text(answer: dict[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := answer.get(name), str) and value), None)


def _secret(value: str) -> Secret:
    try:
        return Secret(value, what="token")
    except InvalidArgument as failure:
        reason = str(failure)
    del value
    raise DecodeError(f"the answer holds a token that cannot be one: {reason}")


def _seconds(value: Any) -> float | None:
    try:
        life = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return life if _SHORTEST_LIFE <= life < float("inf") else None


def _holder(answer: dict[str, Any]) -> str:
    company, location = _text(answer, "companyId", "company_id"), _text(answer, "locationId", "location_id")
    of_company = _text(answer, "userType", "user_type") == "Company" or location is None
    if of_company:
        return f"company/{company}" if company else ""
    return f"location/{location}"


class Row(msgspec.Struct, frozen=True, rename={"is_installed": "isInstalled"}):
    """A location, as far as listing them goes; the vendor calls its id `_id` or `id`."""

    _id: str | None = msgspec.field(default=None, name="_id")
    id: str | None = None
    is_installed: bool | None = None

    @property
    def location_id(self) -> str | None:
        return self._id or self.id


class Locations(msgspec.Struct, frozen=True):
    """A page of locations. `count` counts those on all pages, and only where the app is installed."""

    locations: tuple[Row, ...]
    count: float | None = None


read_locations = json_decoder(Locations)
