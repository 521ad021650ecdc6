"""Tokens as bytes, and back: one format for every file of a token store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from phonesys.errors import ConfigError, InvalidArgument
from phonesys.oauth.token import Token, as_secret, dump

if TYPE_CHECKING:
    from phonesys.oauth.cipher import Cipher

FORMAT = "phonesys-tokens"
VERSION = 1

Tokens: TypeAlias = dict[str, Token | None]
"""By key; None for one that was dropped."""


class _Document(msgspec.Struct, omit_defaults=True):
    format: str
    version: int
    tokens: Tokens | None = None
    sealed: str | None = None


_read = msgspec.json.Decoder(_Document, dec_hook=as_secret).decode
_read_tokens = msgspec.json.Decoder(Tokens, dec_hook=as_secret).decode
# What msgspec raises for foreign bytes, and what `Secret` does for values that cannot be credentials.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidArgument)


class Codec:
    """Writes and reads the format, encrypted where there is a seal.

    Reading raises ConfigError, which names the file and shows nothing of it.
    """

    def __init__(self, seal: Cipher | None) -> None:
        self._seal = seal

    def write(self, tokens: Tokens) -> bytes:
        """Write tokens as one line."""
        if self._seal is None:
            return dump(_Document(FORMAT, VERSION, tokens=tokens)) + b"\n"
        sealed = self._seal.encrypt(dump(tokens)).decode()
        return dump(_Document(FORMAT, VERSION, sealed=sealed)) + b"\n"

    def read(self, raw: bytes, where: str) -> Tokens:
        """Read one line."""
        try:
            document = _read(raw)
        except _UNREADABLE:
            document = _Document("", 0)
        if document.format != FORMAT:
            raise _complaint(where, "it is damaged, or not a file of phonesys")
        if document.version != VERSION:
            raise _complaint(
                where, f"it has version {document.version!s:.20}, and this phonesys reads {VERSION}"
            )
        return self._tokens(document, where)

    def _tokens(self, document: _Document, where: str) -> Tokens:
        if document.sealed is None:
            if self._seal is not None:
                raise _complaint(where, "a key was given, and it is not encrypted")
            return document.tokens or {}
        if self._seal is None:
            raise _complaint(where, "it is encrypted, and no key was given")
        plain = self._seal.decrypt(document.sealed.encode())
        if plain is None:
            raise _complaint(where, "the key that was given does not fit it")
        try:
            return _read_tokens(plain)
        except _UNREADABLE:
            pass
        raise _complaint(where, "it is damaged")


def _complaint(where: str, reason: str) -> ConfigError:
    return ConfigError(f"token store: {where} cannot be used: {reason}; it is left as it is")
