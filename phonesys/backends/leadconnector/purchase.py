"""Numbers for sale at LeadConnector, and their purchase: structs, and operations as data."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from phonesys._validation import validate_e164
from phonesys.backends.countries import alpha_2
from phonesys.backends.rows import RowDecoder, Text, decode_repaired
from phonesys.backends.words import kind_of
from phonesys.http.call import Call, encode_json, encode_query, encode_segment
from phonesys.http.response import MSGSPEC_ERRORS, decode_error
from phonesys.model import NO_CAPABILITIES, Capabilities, NumberForSale


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Monthly price of a number for sale."""

    price: float | None = None
    price_unit: Text | None = None
    number_type: Text | None = None


_RENAMED = {
    "number": "phoneNumber",
    "label": "friendlyName",
    "country": "isoCountry",
    "rate_center": "rateCenter",
    "postal_code": "postalCode",
    "address_requirements": "addressRequirements",
}


class AvailableNumber(msgspec.Struct, rename=_RENAMED, kw_only=True):
    """A number for sale (schema `AvailablePhoneNumberDto`)."""

    number: Text
    label: Text | None = None
    country: Text | None = None
    locality: Text | None = None
    region: Text | None = None
    postal_code: Text | None = None
    rate_center: Text | None = None
    lata: Text | None = None
    latitude: Text | None = None
    longitude: Text | None = None
    address_requirements: Text | None = None
    """`none`, `any`, `local` or `foreign`."""
    beta: bool | None = None
    capabilities: Capabilities | None = None
    price: Price | None = None


class AvailableNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a search for numbers for sale."""

    fingerprint_id: str | None
    """Id of the search, which a purchase of one of its numbers passes on."""
    numbers: tuple[AvailableNumber, ...]


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was purchased."""

    number: str
    location_id: str
    account_id: str | None = None
    """Id of the location's account with the carrier."""


class _Offer(msgspec.Struct, rename="camel", frozen=True):
    numbers: tuple[msgspec.Raw, ...] | msgspec.UnsetType = msgspec.UNSET
    fingerprint_id: str | int | None = None


class _OfferBody(_Offer, rename="camel", frozen=True):
    data: _Offer | None = None


class _Receipt(msgspec.Struct, rename="camel", frozen=True):
    id: Any = None
    number: Any = None


class _ReceiptBody(_Receipt, rename="camel", frozen=True):
    data: _Receipt | None = None


_decode_offer = msgspec.json.Decoder(_OfferBody, strict=False).decode
_decode_receipt = msgspec.json.Decoder(_ReceiptBody, strict=False).decode
_decode_number = RowDecoder(AvailableNumber, "number")


def decode_available(body: bytes) -> AvailableNumbers:
    """Decode numbers for sale, bare or in the envelope of v3."""
    answer = decode_repaired(_decode_offer, body)
    offer = answer.data or answer
    if offer.numbers is msgspec.UNSET:
        raise decode_error(body, "no `numbers` in it")
    try:
        numbers = tuple(map(_decode_number, offer.numbers))
    except MSGSPEC_ERRORS as failure:
        raise decode_error(body, str(failure)) from None
    fingerprint = offer.fingerprint_id
    return AvailableNumbers(fingerprint_id=None if fingerprint is None else str(fingerprint), numbers=numbers)


def _decode_purchase(body: bytes, *, location_id: str, number: str) -> Purchase:
    """Decode a purchase. The older version answers with the location's account, without the number."""
    answer = decode_repaired(_decode_receipt, body)
    receipt = answer.data or answer
    bought, account_id = receipt.number, receipt.id
    return Purchase(
        number=bought if isinstance(bought, str) and bought else number,
        location_id=location_id,
        account_id=account_id if isinstance(account_id, str) else None,
    )


def as_offer(number: AvailableNumber, location_id: str) -> NumberForSale:
    """Return the number in the form that all vendors share."""
    price = number.price or Price()
    return NumberForSale(
        number=number.number,
        account=location_id,
        country=alpha_2(number.country),
        region=number.region,
        locality=number.locality,
        kind=kind_of(price.number_type),
        capabilities=number.capabilities or NO_CAPABILITIES,
        monthly_price=price.price,
        currency=price.price_unit,
    )


def available_numbers(location_id: str, **filters: Any) -> Call[AvailableNumbers]:
    """`GET /phone-system/numbers/location/{locationId}/available`, scope `phonenumbers.read`."""
    return Call(
        operation="available_numbers",
        method="GET",
        target=_path(location_id) + "/available" + encode_query(filters),
        url_template="/phone-system/numbers/location/{locationId}/available",
        decode=decode_available,
        account=location_id,
    )


def purchase_number(location_id: str, *, phone_number: str, **fields: Any) -> Call[Purchase]:
    """`POST /phone-system/numbers/location/{locationId}/purchase`, scope `phonenumbers.write`.

    Not idempotent: the vendor calls `fingerprintId` an idempotency id, and nothing proves that it is one.
    """
    body = {"phoneNumber": validate_e164(phone_number), **fields}
    return Call(
        operation="purchase_number",
        method="POST",
        target=_path(location_id) + "/purchase",
        url_template="/phone-system/numbers/location/{locationId}/purchase",
        decode=partial(_decode_purchase, location_id=location_id, number=phone_number),
        idempotent=False,
        body=encode_json(body),
        account=location_id,
        recovery_hint=f"find({phone_number!r})",
    )


def _path(location_id: str) -> str:
    return f"/phone-system/numbers/location/{encode_segment(location_id, 'location id')}"
