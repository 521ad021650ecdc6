"""The vendor's OAuth operations as calls.

Source: https://marketplace.gohighlevel.com/docs/ghl/oauth/ and the OpenAPI file of version 2021-07-28.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlencode

from phonesys.backends.leadconnector.oauth.wire import LocationPage, decode_locations, decode_token
from phonesys.http.call import Call, encode_query, encode_segment
from phonesys.secret import HiddenBytes, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.oauth.token import Token

HEADERS = {"Version": "2021-07-28"}
"""Headers of every call in this module, whichever version the phone system calls use."""
TOKEN_RATE_KEY = "oauth/token"  # noqa: S105 -- a rate key
"""Rate key of token requests, which belong to no company and no location and have no quota."""
MARKETPLACE = "https://marketplace.gohighlevel.com"

UserType: TypeAlias = Literal["Company", "Location"]

_FORM = "application/x-www-form-urlencoded"


def authorization_url(
    client_id: str,
    redirect_uri: str,
    scopes: Iterable[str],
    *,
    state: str,
    marketplace_url: str = MARKETPLACE,
) -> str:
    """Return the address at which a person consents. It redirects to `redirect_uri` with a code.

    `state` comes back with the code. Compare the two, or a stranger can hand you a code of their own.
    """
    parameters = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "client_id": client_id,
        "scope": " ".join(scopes),
        "state": state,
    }
    return f"{marketplace_url.rstrip('/')}/oauth/chooselocation{encode_query(parameters)}"


def refresh_token(
    client_id: str,
    client_secret: Secret,
    refresh_token: Secret,
    *,
    user_type: UserType,
    account: str,
    clock: Callable[[], float],
) -> Call[Token]:
    """`POST /oauth/token`, grant `refresh_token`. Not idempotent: a refresh token dies when used."""
    return Call(
        operation="refresh_token",
        method="POST",
        target="/oauth/token",
        decode=partial(decode_token, clock=clock),
        account=account,
        idempotent=False,
        body=_form(
            client_id=client_id,
            client_secret=client_secret,
            grant_type="refresh_token",
            refresh_token=refresh_token,
            user_type=user_type,
        ),
        content_type=_FORM,
        rate_key=TOKEN_RATE_KEY,
        secrets=(client_secret, refresh_token),
        recovery_hint="the next refresh; if it is rejected, the token was spent: authorise the app again",
    )


def exchange_code(
    client_id: str,
    client_secret: Secret,
    code: Secret,
    *,
    redirect_uri: str | None,
    user_type: UserType,
    clock: Callable[[], float],
) -> Call[Token]:
    """`POST /oauth/token`, grant `authorization_code`. Not idempotent: a code is valid once."""
    return Call(
        operation="exchange_code",
        method="POST",
        target="/oauth/token",
        decode=partial(decode_token, clock=clock),
        idempotent=False,
        body=_form(
            client_id=client_id,
            client_secret=client_secret,
            grant_type="authorization_code",
            code=code,
            user_type=user_type,
            redirect_uri=redirect_uri,
        ),
        content_type=_FORM,
        rate_key=TOKEN_RATE_KEY,
        secrets=(client_secret, code),
        recovery_hint="log in again: a code is valid once",
    )


def location_token(company_id: str, location_id: str, *, clock: Callable[[], float]) -> Call[Token]:
    """`POST /oauth/locationToken`, scope `oauth.write`, charged to the company. Idempotent."""
    encode_segment(location_id, "location id")
    return Call(
        operation="location_token",
        method="POST",
        target="/oauth/locationToken",
        decode=partial(decode_token, clock=clock),
        account=location_id,
        body=_form(companyId=company_id, locationId=location_id),
        content_type=_FORM,
        rate_key=company_id,
    )


def installed_locations(company_id: str, app_id: str, skip: int, limit: int) -> Call[LocationPage]:
    """`GET /oauth/installedLocations`, scope `oauth.readonly`. `count` is documented as the total."""
    parameters = {
        "companyId": company_id,
        "appId": app_id,
        "isInstalled": True,
        "skip": skip,
        "limit": limit,
    }
    return Call(
        operation="installed_locations",
        method="GET",
        target="/oauth/installedLocations" + encode_query(parameters),
        decode=decode_locations,
        account=company_id,
    )


def search_locations(company_id: str, skip: int, limit: int) -> Call[LocationPage]:
    """`GET /locations/search`, scope `locations.readonly`. The response has no total."""
    return Call(
        operation="search_locations",
        method="GET",
        target="/locations/search" + encode_query({"companyId": company_id, "skip": skip, "limit": limit}),
        decode=decode_locations,
        account=company_id,
    )


def _form(**fields: str | Secret | None) -> HiddenBytes:
    return HiddenBytes(
        urlencode(
            {
                name: value.reveal() if isinstance(value, Secret) else value
                for name, value in fields.items()
                if value is not None
            }
        ).encode()
    )
