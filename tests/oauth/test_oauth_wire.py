from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from phonesys import DecodeError, InvalidArgument, NotJson
from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken
from phonesys.backends.leadconnector.oauth.calls import location_token
from phonesys.backends.leadconnector.oauth.wire import read_locations, read_token
from phonesys.http.call import Call
from phonesys.oauth import MemoryTokenStore

read = partial(read_token, clock=lambda: 1000.0)


def answer(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


SPELLINGS = {
    "snake": {"access_token": "a", "refresh_token": "r", "expires_in": 100, "companyId": "c"},
    "camel": {"accessToken": "a", "refreshToken": "r", "expiresIn": 100, "companyId": "c"},
    "wrapped": {"data": {"accessToken": "a", "refreshToken": "r", "expiresIn": 100.0, "companyId": "c"}},
    "in words": {"access_token": "a", "refresh_token": "r", "expires_in": "100", "company_id": "c"},
}


@pytest.mark.parametrize("fields", SPELLINGS.values(), ids=SPELLINGS)
def test_a_token_is_read_in_every_spelling(fields: dict[str, Any]) -> None:
    """The same token comes of it, its end an absolute time."""
    token = read(answer(**fields))
    assert token.refresh is not None
    assert (token.access.reveal(), token.refresh.reveal()) == ("a", "r")
    assert (token.obtained_at, token.expires_at, token.subject) == (1000.0, 1100.0, "company/c")
    assert token.renew_at == 1090.0


@pytest.mark.parametrize("life", [None, 0, -1, "soon", 0.5, [1]])
def test_an_end_that_cannot_be_is_none(life: Any) -> None:
    """Such a token is used until it is refused, instead of fetched over and over."""
    assert read(answer(access_token="a", expires_in=life)).expires_at is None


@pytest.mark.parametrize(
    ("fields", "holder"),
    [
        ({"userType": "Company", "companyId": "c", "locationId": "l"}, "company/c"),
        ({"userType": "Location", "companyId": "c", "locationId": "l"}, "location/l"),
        ({"companyId": "c", "locationId": "l"}, "location/l"),
        ({"locationId": "l"}, "location/l"),
        ({}, ""),
    ],
)
def test_a_token_says_whose_it_is(fields: dict[str, str], holder: str) -> None:
    """By its `userType`, or else by the ids that it names."""
    assert read(answer(access_token="a", **fields)).subject == holder


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"PLANTED", b"{}", b'{"access_token": ""}', b'{"access_token": "PLANTED\\n"}',
     b'{"data": 7, "x": "PLANTED"}', b'{"access_token": 5}', b"\xff"],
)  # fmt: skip
def test_what_is_no_token_is_an_error_that_does_not_quote_it(raw: bytes) -> None:
    """Unlike other answers, this one may hold secrets."""
    with pytest.raises(DecodeError) as failure:
        read(raw)
    assert "PLANTED" not in str(failure.value) + repr(vars(failure.value))
    assert isinstance(failure.value, NotJson) is (raw in {b"", b"PLANTED", b"\xff"})


def test_locations_are_read_under_either_id() -> None:
    """`_id` where the app is installed, `id` in a search; counts may be written as floats."""
    rows = [{"_id": "a", "isInstalled": True}, {"id": "b"}, {"name": "?"}]
    page = read_locations(answer(locations=rows, count=3.0))
    assert [row.location_id for row in page.locations] == ["a", "b", None]
    assert page.count == 3
    with pytest.raises(DecodeError):
        read_locations(b"{}")


def test_an_exchange_is_spelled_as_the_vendor_spells_it() -> None:
    """`companyId` and `locationId`, charged to the company, about the location."""
    call = location_token("c 1", "l&1", clock=lambda: 0.0)
    assert call.body == b"companyId=c+1&locationId=l%261"
    assert (call.rate_key, call.account, call.idempotent) == ("c 1", "l&1", True)
    for bad in ("", "..", " ", "a\nb"):
        with pytest.raises(InvalidArgument):
            location_token("c", bad, clock=lambda: 0.0)


@pytest.mark.parametrize("company", ["", " ", "a\nb", None])
def test_ids_are_looked_at_when_they_are_given(company: Any) -> None:
    """Not when the first call fails."""
    with pytest.raises(InvalidArgument, match="company_id"):
        AgencyTokens("a-b", "s", company_id=company, store=MemoryTokenStore())


def test_the_app_is_the_first_part_of_its_client() -> None:
    """Unless it is given."""
    store = MemoryTokenStore()
    assert AgencyTokens("app1-x", "s", company_id="c", store=store).app_id == "app1"
    assert AgencyTokens("app1-x", "s", company_id="c", store=store, app_id="other").app_id == "other"


def test_one_locations_token_opens_no_other() -> None:
    """A call about another location is refused before it is sent."""
    auth = OAuthToken("a-b", "s", location_id="mine", store=MemoryTokenStore())
    call: Call[Any] = Call(operation="o", method="GET", target="/", decode=bytes, account="theirs")
    with pytest.raises(InvalidArgument, match="does not open 'theirs'"):
        auth.sign(call)
