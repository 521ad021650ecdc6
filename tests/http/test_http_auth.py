from __future__ import annotations

from typing import Any

import pytest

from phonesys import ApiKey, Auth, Bearer, InvalidArgument, PerAccount, Secret
from phonesys.http.auth import StaticAuth, Unsigned
from phonesys.http.call import Call
from phonesys.secret import HeaderValue

KEY = "sk_Planted0Secret"


def call(account: str = "loc_1") -> Call[int]:
    return Call(operation="read", method="GET", target="/x", decode=len, account=account)


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Bearer(KEY), "Authorization", f"Bearer {KEY}"),
        (Bearer(Secret(KEY)), "Authorization", f"Bearer {KEY}"),
        (ApiKey(KEY), "X-API-Key", KEY),
        (ApiKey(Secret(KEY), header="X-Token"), "X-Token", KEY),
        (StaticAuth("X-Any", HeaderValue(KEY)), "X-Any", KEY),
    ],
)
async def test_a_static_credential_is_one_header(auth: Auth, header: str, value: str) -> None:
    """The same on every call; there is nothing to prepare, and no other to try."""
    headers = auth.sign(call())
    assert headers == {header: value}
    await auth.ensure_valid(call())
    assert auth.on_unauthorized(call(), headers) is False
    assert auth.accounts() == ()


async def test_a_call_that_needs_no_credential_gets_no_header() -> None:
    """And nothing is fetched for it, nor after a 401."""
    auth = Unsigned()
    assert auth.sign(call()) == {}
    await auth.ensure_valid(call())
    assert auth.on_unauthorized(call(), {}) is False


@pytest.mark.parametrize(("kind", "what"), [(Bearer, "token"), (ApiKey, "API key")])
def test_a_value_that_no_header_can_carry_is_refused(kind: Any, what: str) -> None:
    """The error names it, and does not show it."""
    with pytest.raises(InvalidArgument, match=f"^{what}: expected printable ASCII") as caught:
        kind(f"{KEY}\u00e9")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("auth", [Bearer(KEY), ApiKey(KEY), PerAccount({"loc_1": KEY})])
def test_no_credential_shows_in_what_holds_it(auth: Auth) -> None:
    """Neither its repr, nor its attributes, nor the headers that it signs with."""
    shown = [repr(auth), str(auth), repr(vars(auth)), repr(auth.sign(call())), str(auth.sign(call()))]
    assert not [text for text in shown if KEY in text]


class Renewing:
    """A credential that has to be fetched, and of which another is to be had."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.refused: list[tuple[str, Any]] = []

    def sign(self, call: Call[Any]) -> dict[str, str] | None:
        return {"Authorization": "Bearer fetched"} if call.account in self.prepared else None

    async def ensure_valid(self, call: Call[Any]) -> None:
        self.prepared.append(call.account)

    def on_unauthorized(self, call: Call[Any], headers: Any) -> bool:
        self.refused.append((call.account, headers))
        return True

    def accounts(self) -> tuple[str, ...]:
        return ()


async def test_each_account_has_its_own() -> None:
    """Strings and secrets are Bearer tokens; anything else signs, prepares and renews for itself."""
    renewing = Renewing()
    auth = PerAccount({"a": "tok_a", "b": Secret("tok_b"), "c": ApiKey("tok_c"), "d": renewing})
    assert auth.accounts() == ("a", "b", "c", "d")
    assert auth.sign(call("a")) == {"Authorization": "Bearer tok_a"}
    assert auth.sign(call("b")) == {"Authorization": "Bearer tok_b"}
    assert auth.sign(call("c")) == {"X-API-Key": "tok_c"}
    assert auth.sign(call("d")) is None
    await auth.ensure_valid(call("d"))
    assert renewing.prepared == ["d"]
    headers = {"Authorization": "Bearer fetched"}
    assert auth.sign(call("d")) == headers
    assert auth.on_unauthorized(call("d"), headers) is True
    assert renewing.refused == [("d", headers)]
    assert auth.on_unauthorized(call("a"), {}) is False


async def test_an_account_without_a_credential_is_refused_before_anything_is_sent() -> None:
    """The message names the account, and no credential."""
    auth = PerAccount({"a": KEY})
    for attempt in (auth.sign, lambda asked: auth.on_unauthorized(asked, {})):
        with pytest.raises(InvalidArgument, match="no credential for account 'loc_1'; there are 1 others"):
            attempt(call())
    with pytest.raises(InvalidArgument):
        await auth.ensure_valid(call())


def test_a_bad_credential_is_refused_when_it_is_given() -> None:
    """Not when it is used, thousands of accounts later; and it is not shown."""
    with pytest.raises(InvalidArgument) as caught:
        PerAccount({"a": "tok_a", "b": f"{KEY}\n"})
    assert KEY not in str(caught.value)


def test_credentials_can_be_added_from_any_mapping() -> None:
    """The mapping is read once: changing it later changes nothing."""
    given = {"a": "tok_a"}
    auth = PerAccount(given)
    given["b"] = "tok_b"
    assert auth.accounts() == ("a",)


class Refreshing(Renewing):
    """A credential that is opened, closed and renewed, and may fail to."""

    grantors = ("company",)

    def __init__(self, log: list[str], name: str, *, fails: str = "") -> None:
        super().__init__()
        self.log, self.name, self.fails = log, name, fails

    def _note(self, act: str) -> None:
        self.log.append(f"{act} {self.name}")
        if act == self.fails:
            raise OSError(f"{act} {self.name}")

    async def open(self, client: Any) -> None:
        self._note(f"open with {client}:")

    async def close(self, client: Any) -> None:
        self._note(f"close with {client}:")

    async def renew(self, account: str, *, valid_for: float) -> bool:
        self._note(f"renew {account} for {valid_for:g} s:")
        return True


async def test_all_credentials_are_opened_or_none() -> None:
    """Those that were opened before one failed are closed, last first, with the same client."""
    log: list[str] = []
    one, two = Refreshing(log, "one"), Refreshing(log, "two")
    bad = Refreshing(log, "bad", fails="open with http:")
    with pytest.raises(OSError, match="open with http: bad"):
        await PerAccount({"a": one, "b": KEY, "c": two, "d": bad}).open("http")  # type: ignore[arg-type]
    assert log == [
        "open with http: one", "open with http: two", "open with http: bad",
        "close with http: two", "close with http: one",
    ]  # fmt: skip
    log.clear()
    await PerAccount({"a": one, "b": KEY, "c": two}).open("http")  # type: ignore[arg-type]
    assert log == ["open with http: one", "open with http: two"]


async def test_one_credential_that_cannot_be_closed_keeps_no_other_open() -> None:
    """The failure is raised once all have been asked to close."""
    log: list[str] = []
    auths = {name: Refreshing(log, name, fails="close with http:" if name == "b" else "") for name in "abc"}
    with pytest.raises(OSError, match="close with http: b"):
        await PerAccount(auths).close("http")  # type: ignore[arg-type]
    assert sorted(log) == ["close with http: a", "close with http: b", "close with http: c"]


async def test_a_credential_is_renewed_if_it_can_be() -> None:
    """A static one cannot, and an account without one is an error."""
    log: list[str] = []
    auth = PerAccount({"a": Refreshing(log, "one"), "b": KEY})
    assert await auth.renew("a", valid_for=60) is True
    assert log == ["renew a for 60 s: one"]
    assert await auth.renew("b", valid_for=60) is False
    with pytest.raises(InvalidArgument, match="no credential for account 'c'"):
        await auth.renew("c", valid_for=60)
    assert auth.grantors == ()
