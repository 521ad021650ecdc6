from __future__ import annotations

import pytest

from phonesys.sandbox.auth import ApiKey, BearerTokens, Grant


def test_grants_cover_what_they_say() -> None:
    """A grant without an account opens every one."""
    assert Grant().covers("anything")
    assert Grant("loc").covers("loc")
    assert not Grant("loc").covers("other")


@pytest.mark.parametrize("header", ["Bearer t-1", "bearer t-1", "BEARER t-1"])
def test_bearer_tokens_are_recognised(header: str) -> None:
    """The scheme is compared as HTTP says: in any case."""
    tokens = BearerTokens()
    tokens.issue("t-1", Grant("loc"))
    assert tokens.grant({"Authorization": header}) == Grant("loc")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer t-2", "Basic t-1", "t-1", "Bearer  t-1"])
def test_other_headers_are_strangers(header: str) -> None:
    """Only the exact token will do."""
    tokens = BearerTokens()
    tokens.issue("t-1", Grant())
    assert tokens.grant({"Authorization": header}) is None


def test_revoked_tokens_are_strangers() -> None:
    """Revoking takes effect at once, and twice is harmless."""
    tokens = BearerTokens()
    tokens.issue("t-1", Grant())
    tokens.revoke("t-1")
    tokens.revoke("t-1")
    assert tokens.grant({"Authorization": "Bearer t-1"}) is None


def test_api_keys_are_compared_whole() -> None:
    """A key opens everything; a wrong, foreign-looking or missing one nothing."""
    key = ApiKey("ak_1")
    assert key.grant({"X-API-Key": "ak_1"}) == Grant()
    assert key.grant({"X-API-Key": "ak_\udcff"}) is None
    assert key.grant({}) is None
