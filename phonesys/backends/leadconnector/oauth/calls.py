"""The vendor's OAuth operations as data.

Read off https://marketplace.gohighlevel.com/docs/ghl/oauth/ and its OpenAPI file of version 2021-07-28.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlencode

from phonesys.backends.leadconnector.oauth.wire import Locations, read_locations, read_token
from phonesys.http.call import Call, encode_query, encode_segment
from phonesys.secret import HiddenBytes, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.oauth.token import Token

HEADERS = {"Version": "2021-07-28"}
"""Of every call here, whatever version the phone system is asked in."""
TOKEN_KEY = "oauth/token"  # noqa: S105 -- a rate key
"""What asking for tokens is charged to: it is on behalf of no company and no location, and has no quota."""
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
    """Make the address at which a person lets the app in; it leads back to `redirect_uri` with a code.

    `state` comes back with it: compare the two, or anybody can hand you a code of theirs.
    """
    parameters = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "client_id": client_id,
        "scope": " ".join(scopes),
        "state": state,
    }
    return f"{marketplace_url.rstrip('/')}/oauth/chooselocation{encode_query(parameters)}"


def refreshed_token(
    client_id: str,
    client_secret: Secret,
    refresh_token: Secret,
    *,
    user_type: UserType,
    account: str,
    clock: Callable[[], float],
) -> Call[Token]:
    """`POST /oauth/token`, grant `refresh_token`: it dies when used, so this is not safe to repeat."""
    return Call(
        operation="refresh_token",
        method="POST",
        target="/oauth/token",
        decode=partial(read_token, clock=clock),
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
        rate_key=TOKEN_KEY,
        secrets=(client_secret, refresh_token),
        recovery_hint="the next refresh; if it is rejected, the token was spent: authorise the app again",
    )


def exchanged_code(
    client_id: str,
    client_secret: Secret,
    code: Secret,
    *,
    redirect_uri: str | None,
    user_type: UserType,
    clock: Callable[[], float],
) -> Call[Token]:
    """`POST /oauth/token`, grant `authorization_code`: a code is good once."""
    return Call(
        operation="exchange_code",
        method="POST",
        target="/oauth/token",
        decode=partial(read_token, clock=clock),
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
        rate_key=TOKEN_KEY,
        secrets=(client_secret, code),
        recovery_hint="another login: a code is good once",
    )


def location_token(company_id: str, location_id: str, *, clock: Callable[[], float]) -> Call[Token]:
    """`POST /oauth/locationToken`, scope `oauth.write`, charged to the company; safe: it spends nothing."""
    encode_segment(location_id, "location id")
    return Call(
        operation="location_token",
        method="POST",
        target="/oauth/locationToken",
        decode=partial(read_token, clock=clock),
        account=location_id,
        body=_form(companyId=company_id, locationId=location_id),
        content_type=_FORM,
        rate_key=company_id,
    )


def installed_locations(company_id: str, app_id: str, skip: int, limit: int) -> Call[Locations]:
    """`GET /oauth/installedLocations`, scope `oauth.readonly`; `count` says how many there are in all."""
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
        decode=read_locations,
        account=company_id,
    )


def search_locations(company_id: str, skip: int, limit: int) -> Call[Locations]:
    """`GET /locations/search`, scope `locations.readonly`; the answer has no total."""
    return Call(
        operation="search_locations",
        method="GET",
        target="/locations/search" + encode_query({"companyId": company_id, "skip": skip, "limit": limit}),
        decode=read_locations,
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
