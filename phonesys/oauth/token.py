"""A token as it is kept: two secrets and when the first of them ends."""

from __future__ import annotations

from typing import Any

import msgspec

from phonesys.secret import Secret

_EARLY = 60.0
_EARLY_SHARE = 0.1


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor granted. Times are seconds since the epoch, kept as they were when the answer came.

    Its secrets hide as `Secret` does: from `repr`, copies and pickles. `dump` is the only way out.
    """

    access: Secret
    refresh: Secret | None = None
    obtained_at: float
    expires_at: float | None = None
    """None where the vendor did not say: it is good until it is refused."""
    subject: str = ""
    """Whom it speaks for, such as `company/…` or `location/…`."""
    scope: str = ""

    @property
    def renew_at(self) -> float:
        """When to fetch the next one: a minute before the end, or a tenth of a short life."""
        if self.expires_at is None:
            return float("inf")
        return self.expires_at - min(_EARLY, max(0.0, self.expires_at - self.obtained_at) * _EARLY_SHARE)

    def usable(self, now: float, refused: Token | None = None) -> bool:
        """Say whether it is good for a while, and not the one that was refused."""
        known_bad = refused is not None and self.access == refused.access
        return not known_bad and now < self.renew_at

    def without_refresh(self) -> Token:
        """Leave out what could refresh it."""
        return self if self.refresh is None else msgspec.structs.replace(self, refresh=None)


def dump(value: Any) -> bytes:
    """Write tokens as JSON, secrets included: for a store, and nothing else."""
    return msgspec.json.encode(value, enc_hook=_revealed)


def _revealed(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"cannot be stored: {type(value).__name__}")


def as_secret(kind: type, value: Any) -> Any:
    """Read a stored string as the secret that it is; msgspec's `dec_hook`."""
    if kind is Secret:
        return Secret(value, what="stored token")
    raise NotImplementedError(f"cannot be read: {kind.__name__}")
