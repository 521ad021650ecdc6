"""LeadConnector's numbers for sale: what can be bought for a location, and the buying."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from phonesys.sandbox.number_plan import describe, mix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phonesys.sandbox.state import Location, VendorState

_LOOKED_AT, _OFFERED = 2000, 30
_KINDS = {"local": "local", "tollFree": "toll-free", "mobile": "mobile", "national": "national"}
_NEEDED = {
    "2021-07-28": ("phoneNumber",),
    "v3": (
        "phoneNumber", "addressSid", "bundleSid", "countryCode", "numberType", "paymentIntentId",
        "stripeAccountId", "paymentMethodId", "locality", "region", "fingerprintId", "skipLocationKYC",
    ),
}  # fmt: skip


class Purchase(msgspec.Struct, rename="camel"):
    """Body of a purchase, as far as the sandbox reads it."""

    phone_number: Annotated[str, msgspec.Meta(pattern=r"^\+[1-9]\d{6,14}$")]


class Unfit(Exception):
    """A purchase that cannot be; its arguments say why, each in a sentence."""


def offer(vendors: VendorState, asked: Mapping[str, str]) -> dict[str, Any]:
    """List numbers that fit what is asked for."""
    fitting = islice(_fitting(vendors, asked), _OFFERED)
    return {"fingerprintId": str(mix(vendors.seed) % 10**13), "numbers": [_offered(n) for n in fitting]}


def _fitting(vendors: VendorState, asked: Mapping[str, str]) -> Iterator[str]:
    kinds = {_KINDS.get(word, word) for word in asked.get("numberTypes", "").split(",") if word}
    for number in vendors.for_sale(_LOOKED_AT):
        country, kind = describe(number)
        national = number.removeprefix("+1") if country in {"US", "CA"} else number[1:]
        if (
            country == asked.get("countryCode")
            and (not kinds or kind in kinds)
            and national.startswith(asked.get("firstPart", ""))
            and national.endswith(asked.get("lastPart", ""))
            and asked.get("anywhere", "") in national
        ):
            yield number


def _offered(number: str) -> dict[str, Any]:
    country, kind = describe(number)
    text = kind not in {"toll-free", "national"}
    return {
        "phoneNumber": number,
        "friendlyName": number,
        "lata": None,
        "locality": None,
        "rateCenter": None,
        "latitude": None,
        "longitude": None,
        "region": None,
        "postalCode": None,
        "isoCountry": country,
        "addressRequirements": "none" if country in {"US", "CA"} else "any",
        "beta": False,
        "capabilities": {"MMS": text, "SMS": text, "voice": True},
        "price": {"number_type": kind, "price": 1.15, "price_unit": "USD"},
    }


def buy(vendors: VendorState, location: Location, version: str, raw: bytes) -> str:
    """Carry a purchase out, and return the number; raises Unfit."""
    try:
        sent: Any = msgspec.json.decode(raw or b"{}")
        missing = [name for name in _NEEDED[version] if not (isinstance(sent, dict) and name in sent)]
        if missing:
            raise Unfit(*(f"{name} should not be empty" for name in missing))
        wanted = msgspec.convert(sent, Purchase)
    except msgspec.DecodeError as failure:
        raise Unfit(str(failure)) from None
    if not vendors.purchase(location.id, wanted.phone_number):
        raise Unfit(f"{wanted.phone_number} is not available")
    return wanted.phone_number


def account(location: Location, number: str) -> dict[str, Any]:
    """Write what a purchase answers: the location's account with the carrier, and its numbers."""
    bits = mix(int.from_bytes(location.id.encode(), "big"))
    return {
        "id": f"{bits:020x}",
        "account_sid": f"AC{bits:032x}",
        "under_ghl_account": True,
        "validate_sms": True,
        "location_id": location.id,
        "migration_status": None,
        "migration_numbers": [],
        "assigned_to_numbers": {},
        "numbers": dict.fromkeys((*location.numbers, number), "conversation"),
        "number_name": {},
        "new_account_sid": "",
    }


def account_v3(location: Location, number: str) -> dict[str, Any]:
    """Write the same in the words of v3."""
    whole = account(location, number)
    data = {
        "number": number,
        "locationId": location.id,
        "id": whole["id"],
        "underLcAccount": whole["under_ghl_account"],
    }
    return {"status": "success", "data": data, "message": "Number purchase successful", "statusCode": 201}
