"""Encryption of what a token store writes, where a key is given: `cryptography`, loaded only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phonesys.errors import ConfigError
from phonesys.secret import Secret

if TYPE_CHECKING:
    from types import ModuleType


class Cipher(Protocol):
    """Encrypts and decrypts."""

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt; the result is ASCII without line ends."""
        ...

    def decrypt(self, sealed: bytes) -> bytes | None:
        """Decrypt; None where this key does not fit."""
        ...


class FernetCipher:
    """AES-128-CBC with HMAC-SHA256, as https://github.com/fernet/spec says."""

    def __init__(self, key: str | Secret) -> None:
        fernet = _fernet()
        try:
            self._fernet = fernet.Fernet(Secret(key, what="store key").reveal().encode())
        except ValueError:
            wrong = True
        else:
            wrong = False
        if wrong:  # outside of `except`, whose context may hold the key
            raise ConfigError("token store: key= is not a Fernet key; make one with phonesys.oauth.new_key()")
        self._invalid: type[Exception] = fernet.InvalidToken

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt."""
        sealed: bytes = self._fernet.encrypt(plain)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes | None:
        """Decrypt."""
        try:
            plain: bytes = self._fernet.decrypt(sealed)
        except self._invalid:
            return None
        return plain


def new_key() -> str:
    """Make a key for `FileTokenStore(key=…)`; keep it elsewhere than the file."""
    key: bytes = _fernet().Fernet.generate_key()
    return key.decode()


def _fernet() -> ModuleType:
    try:
        from cryptography import fernet
    except ImportError:
        raise ConfigError("token store: encryption needs `cryptography`; install phonesys[crypto]") from None
    return fernet
