"""Tokens: when one is renewed, which one is usable, and what may be stored of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import InvalidArgument
from phonesys.oauth import Token
from phonesys.oauth.token import decode_secret, encode_with_secrets
from phonesys.secret import Secret


def token(access: str = "a", *, lifetime: float | None = 3600.0, **fields: Any) -> Token:
    expires_at = None if lifetime is None else 1000.0 + lifetime
    return Token(access=Secret(access), obtained_at=1000.0, expires_at=expires_at, **fields)


@pytest.mark.parametrize(
    ("lifetime", "margin"),
    [(86_399.0, 60.0), (600.0, 60.0), (590.0, 59.0), (100.0, 10.0), (1.0, 0.1), (0.0, 0.0), (-50.0, 0.0)],
)
def test_a_token_is_renewed_shortly_before_it_expires(lifetime: float, margin: float) -> None:
    """A minute, or a tenth of a short lifetime."""
    given_ = token(lifetime=lifetime)
    assert given_.renew_at == pytest.approx(1000.0 + lifetime - margin)
    assert not given_.is_usable(given_.renew_at)
    assert given_.is_usable(given_.renew_at - 0.01)


@given(st.floats(0, 1e12))
def test_a_token_without_an_end_is_usable_until_it_is_rejected(now: float) -> None:
    """The vendor did not say when it expires."""
    assert token(lifetime=None).renew_at == float("inf")
    assert token(lifetime=None).is_usable(now)
    assert not token(lifetime=None).is_usable(now, token(lifetime=None))


def test_only_the_rejected_token_is_unusable() -> None:
    """It is known by its secret, whatever times were stored with it."""
    assert token("a").is_usable(1000.0, token("b"))
    assert not token("a").is_usable(1000.0, token("a", lifetime=None, refresh=Secret("r")))


def test_secrets_are_stored_and_nothing_else_in_their_place() -> None:
    """Both directions name a type that has no place in a store."""
    stored = encode_with_secrets(token("a", refresh=Secret("r"), subject="company/c", scope="x y"))
    assert msgspec.json.decode(stored) == {
        "access": "a", "refresh": "r", "obtained_at": 1000.0, "expires_at": 4600.0,
        "subject": "company/c", "scope": "x y",
    }  # fmt: skip
    decoded = msgspec.json.decode(stored, type=Token, dec_hook=decode_secret)
    assert decoded == token("a", refresh=Secret("r"), subject="company/c", scope="x y")
    with pytest.raises(NotImplementedError, match="cannot be stored: complex"):
        encode_with_secrets(1j)
    with pytest.raises(InvalidArgument, match=r"^stored token: "):
        decode_secret(Secret, "")
    with pytest.raises(NotImplementedError, match="cannot be decoded: complex"):
        decode_secret(complex, "1j")
