"""Encryption of token files. `cryptography` is imported only if a key is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phonesys.errors import ConfigError
from phonesys.secret import Secret

if TYPE_CHECKING:
    from types import ModuleType


class Cipher(Protocol):
    """Encrypts and decrypts the tokens of a store."""

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt to ASCII without line ends."""
        ...

    def decrypt(self, sealed: bytes) -> bytes | None:
        """Decrypt. Return None if the key does not match."""
        ...


class FernetCipher:
    """AES-128-CBC with HMAC-SHA256 (https://github.com/fernet/spec)."""

    def __init__(self, key: str | Secret) -> None:
        fernet = _import_fernet()
        try:
            self._fernet = fernet.Fernet(Secret(key, what="store key").reveal().encode())
        except ValueError:
            is_valid = False
        else:
            is_valid = True
        if not is_valid:  # raised outside `except`, whose context may hold the key
            raise ConfigError("token store: key= is not a Fernet key; make one with phonesys.oauth.new_key()")
        self._invalid: type[Exception] = fernet.InvalidToken

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt to ASCII without line ends."""
        sealed: bytes = self._fernet.encrypt(plain)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes | None:
        """Decrypt. Return None if the key does not match."""
        try:
            plain: bytes = self._fernet.decrypt(sealed)
        except self._invalid:
            return None
        return plain


def new_key() -> str:
    """Generate a key for `FileTokenStore(key=…)`. Keep it apart from the file."""
    key: bytes = _import_fernet().Fernet.generate_key()
    return key.decode()


def _import_fernet() -> ModuleType:
    try:
        from cryptography import fernet
    except ImportError:
        raise ConfigError("token store: encryption needs `cryptography`; install phonesys[crypto]") from None
    return fernet
