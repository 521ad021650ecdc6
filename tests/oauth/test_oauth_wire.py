from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from phonesys import DecodeError, InvalidArgument, NotJson
from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken, calls
from phonesys.backends.leadconnector.oauth.calls import location_token
from phonesys.backends.leadconnector.oauth.wire import LocationRow, decode_locations, decode_token
from phonesys.http.call import Call
from phonesys.oauth import MemoryTokenStore
from phonesys.secret import Secret

decode = partial(decode_token, clock=lambda: 1000.0)


def encode(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


SPELLINGS = {
    "snake": {"access_token": "a", "refresh_token": "r", "expires_in": 100, "companyId": "c"},
    "camel": {"accessToken": "a", "refreshToken": "r", "expiresIn": 100, "companyId": "c"},
    "wrapped": {"data": {"accessToken": "a", "refreshToken": "r", "expiresIn": 100.0, "companyId": "c"}},
    "in words": {"access_token": "a", "refresh_token": "r", "expires_in": "100", "company_id": "c"},
}


@pytest.mark.parametrize("fields", SPELLINGS.values(), ids=SPELLINGS)
def test_a_token_is_decoded_in_every_spelling(fields: dict[str, Any]) -> None:
    """Every spelling gives the same token, with an absolute expiry time."""
    token = decode(encode(**fields))
    assert token.refresh is not None
    assert (token.access.reveal(), token.refresh.reveal()) == ("a", "r")
    assert (token.obtained_at, token.expires_at, token.subject) == (1000.0, 1100.0, "company/c")
    assert token.renew_at == 1090.0


@pytest.mark.parametrize("life", [None, 0, -1, "soon", 0.5, [1]])
def test_an_impossible_lifetime_is_none(life: Any) -> None:
    """A token with an impossible lifetime is used until it is rejected, not fetched over and over."""
    assert decode(encode(access_token="a", expires_in=life)).expires_at is None


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({"userType": "Company", "companyId": "c", "locationId": "l"}, "company/c"),
        ({"userType": "Location", "companyId": "c", "locationId": "l"}, "location/l"),
        ({"companyId": "c", "locationId": "l"}, "location/l"),
        ({"locationId": "l"}, "location/l"),
        ({}, ""),
    ],
)
def test_a_token_names_its_subject(fields: dict[str, str], subject: str) -> None:
    """The subject follows from `userType`, or else from the ids in the response."""
    assert decode(encode(access_token="a", **fields)).subject == subject


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"PLANTED", b"{}", b'{"access_token": ""}', b'{"access_token": "PLANTED\\n"}',
     b'{"data": 7, "x": "PLANTED"}', b'{"access_token": 5}', b"\xff"],
)  # fmt: skip
def test_an_invalid_token_response_is_not_quoted(raw: bytes) -> None:
    """An invalid token response is not quoted, since it may hold secrets."""
    with pytest.raises(DecodeError) as failure:
        decode(raw)
    assert "PLANTED" not in str(failure.value) + repr(vars(failure.value))
    assert isinstance(failure.value, NotJson) is (raw in {b"", b"PLANTED", b"\xff"})


ROWS: list[tuple[dict[str, Any], LocationRow]] = [
    ({"_id": "a", "isInstalled": True, "name": "A"}, LocationRow("a", "A", is_installed=True)),
    ({"id": "b", "isInstalled": False}, LocationRow("b", None, is_installed=False)),
    ({"locationId": "c", "name": "two\nlines"}, LocationRow("c", "two lines")),
    ({"_id": 7, "name": 5, "isInstalled": "yes"}, LocationRow("7")),
    ({"_id": "", "id": "d", "name": ""}, LocationRow("d")),
    ({"name": "?"}, LocationRow(None, "?")),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
@pytest.mark.parametrize("key", ["locations", "items"])
def test_a_location_survives_odd_fields(row: dict[str, Any], expected: LocationRow, key: str) -> None:
    """An id may have any of three names and be a number; any other odd field is unknown."""
    assert decode_locations(encode(**{key: [row]})).locations == (expected,)


def test_pages_of_both_versions_are_decoded() -> None:
    """Counts may be floats or absurd, and version v3 states its paging under `pagination`."""
    assert decode_locations(encode(locations=[], count=3.0)).count == 3
    assert decode_locations(encode(locations=[], count=-1)).count is None
    paging = {"totalRecords": 9, "hasNextPage": True, "nextPageToken": "t"}
    page = decode_locations(encode(items=[], pagination=paging))
    assert (page.count, page.next_token, page.has_next) == (9, "t", True)
    for bad in (b"{}", b"[]", b"null", b"", b"<html>", b'{"locations": null}'):
        with pytest.raises(DecodeError):
            decode_locations(bad)


def test_an_exchange_uses_the_vendors_spelling() -> None:
    """The exchange sends `companyId` and `locationId`, and is charged to the company."""
    call = location_token("c 1", "l&1", clock=lambda: 0.0)
    assert call.body == b"companyId=c+1&locationId=l%261"
    assert (call.rate_key, call.account, call.idempotent) == ("c 1", "l&1", True)
    call = location_token("c 1", "l&1", clock=lambda: 0.0, version="v3")
    assert (call.target, call.body) == ("/oauth/location-token", b'{"companyId":"c 1","locationId":"l&1"}')
    for bad in ("", "..", " ", "a\nb"):
        with pytest.raises(InvalidArgument):
            location_token("c", bad, clock=lambda: 0.0)


@pytest.mark.parametrize("company", ["", " ", "a\nb", None])
def test_ids_are_validated_by_the_constructor(company: Any) -> None:
    """An invalid id is rejected by the constructor."""
    with pytest.raises(InvalidArgument, match="company_id"):
        AgencyTokens("a-b", "s", company_id=company, store=MemoryTokenStore())


def test_the_app_id_is_the_first_part_of_the_client_id() -> None:
    """The app id is the first part of the client id, unless it is given."""
    store = MemoryTokenStore()
    for client_id in ("app1-x", "app1-x-y", "app1"):
        assert AgencyTokens(client_id, "s", company_id="c", store=store).app_id == "app1"
    assert AgencyTokens("app1-x", "s", company_id="c", store=store, app_id="other").app_id == "other"


def test_a_locations_token_signs_no_call_of_another() -> None:
    """A call about another location is rejected before it is sent."""
    auth = OAuthToken("a-b", "s", location_id="mine", store=MemoryTokenStore())
    call: Call[Any] = Call(operation="o", method="GET", target="/", decode=bytes, account="theirs")
    with pytest.raises(InvalidArgument, match="not to 'theirs'"):
        auth.sign(call)


def test_version_v3_writes_camel_case_json() -> None:
    """Token requests of version v3 have the same fields in another spelling, and masked in `repr`."""
    secret, spent = Secret("s"), Secret("r")
    call = calls.refresh_token(
        "a-b", secret, spent, user_type="Company", account="c", clock=lambda: 0.0, version="v3"
    )
    assert msgspec.json.decode(call.body or b"") == {
        "clientId": "a-b",
        "clientSecret": "s",
        "grantType": "refresh_token",
        "refreshToken": "r",
        "userType": "Company",
    }
    assert (call.content_type, repr(call.body), call.secrets) == (
        "application/json",
        "b'***'",
        (secret, spent),
    )


def test_a_version_is_validated_by_the_constructor() -> None:
    """An unknown version is rejected before a request."""
    with pytest.raises(InvalidArgument, match="version: expected one of 2021-07-28, v3"):
        AgencyTokens("a-b", "s", company_id="c", store=MemoryTokenStore(), version="v9")
