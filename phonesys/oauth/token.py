"""A token: two secrets, and the time at which the first of them expires."""

from __future__ import annotations

from typing import Any

import msgspec

from phonesys.secret import Secret

_RENEWAL_MARGIN = 60.0
_RENEWAL_MARGIN_SHARE = 0.1


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and its refresh token. Times are seconds since the epoch, fixed when the response came.

    Both are masked in `repr`, copies and pickles, as every `Secret` is. Only `encode_with_secrets` writes
    them.
    """

    access: Secret
    refresh: Secret | None = None
    obtained_at: float
    expires_at: float | None = None
    """None if the vendor did not say. Such a token is used until it is rejected."""
    subject: str = ""
    """The company or location it belongs to, as `company/…` or `location/…`."""
    scope: str = ""

    @property
    def renew_at(self) -> float:
        """Time to fetch the next token: a minute before this one expires, or a tenth of a short lifetime."""
        if self.expires_at is None:
            return float("inf")
        return self.expires_at - min(
            _RENEWAL_MARGIN, max(0.0, self.expires_at - self.obtained_at) * _RENEWAL_MARGIN_SHARE
        )

    def is_usable(self, now: float, rejected: Token | None = None) -> bool:
        """Return True if the token is not about to expire, and is not the one that was rejected."""
        was_rejected = rejected is not None and self.access == rejected.access
        return not was_rejected and now < self.renew_at


def encode_with_secrets(value: Any) -> bytes:
    """Encode tokens as JSON, secrets included: for a store, and nothing else."""
    return msgspec.json.encode(value, enc_hook=_reveal_secret)


def _reveal_secret(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"cannot be stored: {type(value).__name__}")


def decode_secret(kind: type, value: Any) -> Any:
    """Decode a stored string as a Secret; msgspec's `dec_hook`."""
    if kind is Secret:
        return Secret(value, what="stored token")
    raise NotImplementedError(f"cannot be decoded: {kind.__name__}")
