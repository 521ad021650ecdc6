"""The vendor's OAuth operations as calls, in both versions of its API.

Sources: https://marketplace.gohighlevel.com/docs/ghl/oauth/ and the OpenAPI files of 2021-07-28 and v3.
Version v3 renames two paths, writes camelCase, takes JSON bodies, and pages the list of locations by token.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec

from phonesys.backends.leadconnector.oauth.wire import LocationPage, decode_locations, decode_token
from phonesys.errors import InvalidArgument
from phonesys.http.call import Call, encode_query, encode_segment
from phonesys.secret import HiddenBytes, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phonesys.oauth.token import Token

UserType: TypeAlias = Literal["Company", "Location"]
Version: TypeAlias = Literal["2021-07-28", "v3"]

VERSIONS: tuple[Version, ...] = ("2021-07-28", "v3")
DEFAULT_VERSION: Version = "2021-07-28"
TOKEN_TARGET = "/oauth/token"  # noqa: S105 -- a path
"""Target of the calls that carry their secrets in the body, and no token."""
MARKETPLACE = "https://marketplace.gohighlevel.com"

_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_V3 = "v3"


def validate_version(version: str) -> Version:
    """Return a version of the OAuth API. Raise InvalidArgument for any other string."""
    for known in VERSIONS:
        if version == known:
            return known
    raise InvalidArgument(f"version: expected one of {', '.join(VERSIONS)}, got {version!r}")


def headers(version: Version) -> dict[str, str]:
    """Return the headers of every call in this module, whichever version the phone system calls use."""
    return {"Version": version}


def authorization_url(
    client_id: str,
    redirect_uri: str,
    scopes: Iterable[str],
    *,
    state: str,
    code_challenge: str | None = None,
    marketplace_url: str = MARKETPLACE,
) -> str:
    """Return the address at which a person consents. It redirects to `redirect_uri` with a code.

    - `state` comes back with the code. Compare the two, or a stranger can hand you a code of their own.
    - `code_challenge`: the S256 challenge of PKCE (RFC 7636).
    - `marketplace_url`: the marketplace, or the host of a white-label agency.
    """
    parameters = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "client_id": client_id,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": code_challenge,
        "code_challenge_method": None if code_challenge is None else "S256",
    }
    return f"{marketplace_url.rstrip('/')}/v2/oauth/chooselocation{encode_query(parameters)}"


def refresh_token(
    client_id: str,
    client_secret: Secret,
    refresh_token: Secret,
    *,
    user_type: UserType,
    account: str,
    clock: Callable[[], float],
    version: Version = DEFAULT_VERSION,
) -> Call[Token]:
    """`POST /oauth/token`, grant `refresh_token`. Not idempotent: a refresh token dies when used."""
    return _token_call(
        version,
        clock,
        operation="refresh_token",
        account=account,
        recovery_hint="the next refresh; if it is rejected, the token was spent: authorise the app again",
        client_id=client_id,
        client_secret=client_secret,
        grant_type="refresh_token",
        refresh_token=refresh_token,
        user_type=user_type,
    )


def exchange_code(
    client_id: str,
    client_secret: Secret,
    code: Secret,
    *,
    redirect_uri: str | None,
    user_type: UserType,
    clock: Callable[[], float],
    code_verifier: Secret | None = None,
    version: Version = DEFAULT_VERSION,
) -> Call[Token]:
    """`POST /oauth/token`, grant `authorization_code`. Not idempotent: a code is valid once."""
    return _token_call(
        version,
        clock,
        operation="exchange_code",
        account="",
        recovery_hint="log in again: a code is valid once",
        client_id=client_id,
        client_secret=client_secret,
        grant_type="authorization_code",
        code=code,
        user_type=user_type,
        redirect_uri=redirect_uri,
        code_verifier=code_verifier,
    )


def _token_call(
    version: Version,
    clock: Callable[[], float],
    *,
    operation: str,
    account: str,
    recovery_hint: str,
    **fields: str | Secret | None,
) -> Call[Token]:
    if version == _V3:
        fields = {_camel_case(name): value for name, value in fields.items()}
    return Call(
        operation=operation,
        method="POST",
        target=TOKEN_TARGET,
        url_template=TOKEN_TARGET,
        decode=partial(decode_token, clock=clock),
        account=account,
        idempotent=False,
        body=_encode_body(version, fields),
        content_type=_content_type(version),
        # Not charged to the company, whose window is for exchanges. No quota is documented for refreshing.
        rate_key=f"oauth/token/{account}",
        secrets=tuple(value for value in fields.values() if isinstance(value, Secret)),
        recovery_hint=recovery_hint,
    )


def location_token(
    company_id: str,
    location_id: str,
    *,
    clock: Callable[[], float],
    version: Version = DEFAULT_VERSION,
) -> Call[Token]:
    """`POST /oauth/locationToken`, scope `oauth.write`, charged to the company. Idempotent."""
    encode_segment(location_id, "location id")
    path = "/oauth/location-token" if version == _V3 else "/oauth/locationToken"
    return Call(
        operation="location_token",
        method="POST",
        target=path,
        url_template=path,
        decode=partial(decode_token, clock=clock),
        account=location_id,
        body=_encode_body(version, {"companyId": company_id, "locationId": location_id}),
        content_type=_content_type(version),
        rate_key=company_id,
    )


def installed_locations(
    company_id: str, app_id: str, skip: int, limit: int, *, only_installed: bool = True
) -> Call[LocationPage]:
    """`GET /oauth/installedLocations`, scope `oauth.readonly`. `count` is documented as the total."""
    parameters = {
        "companyId": company_id,
        "appId": app_id,
        "isInstalled": only_installed or None,
        "skip": skip,
        "limit": limit,
    }
    return _list_call("installed_locations", "/oauth/installedLocations", parameters, company_id)


def installed_locations_v3(
    company_id: str, app_id: str, page_size: int, page_token: str | None
) -> Call[LocationPage]:
    """`GET /oauth/installed-locations`, scope `oauth.readonly`, paged by token."""
    parameters = {
        "companyId": company_id,
        "appId": app_id,
        "isInstalled": True,
        "pageSize": page_size,
        "pageToken": page_token,
    }
    return _list_call("installed_locations", "/oauth/installed-locations", parameters, company_id)


def search_locations(company_id: str, skip: int, limit: int) -> Call[LocationPage]:
    """`GET /locations/search`, scope `locations.readonly`. The response has no total."""
    parameters = {"companyId": company_id, "skip": skip, "limit": limit}
    return _list_call("search_locations", "/locations/search", parameters, company_id)


def _list_call(
    operation: str, path: str, parameters: Mapping[str, object], company_id: str
) -> Call[LocationPage]:
    return Call(
        operation=operation,
        method="GET",
        target=path + encode_query(parameters),
        url_template=path,
        decode=decode_locations,
        account=company_id,
    )


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _content_type(version: Version) -> str:
    return _JSON if version == _V3 else _FORM


def _encode_body(version: Version, fields: dict[str, str | Secret | None]) -> HiddenBytes:
    plain = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in fields.items()
        if value is not None
    }
    return HiddenBytes(msgspec.json.encode(plain) if version == _V3 else urlencode(plain).encode())
