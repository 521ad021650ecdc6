"""The format of every file of a token store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from phonesys.errors import ConfigError, InvalidArgument
from phonesys.oauth.token import Token, decode_secret, encode_with_secrets

if TYPE_CHECKING:
    from phonesys.oauth.cipher import Cipher

FORMAT = "phonesys-tokens"
VERSION = 1

Tokens: TypeAlias = dict[str, Token | None]
"""Tokens by key; None marks a deleted one."""


class _Envelope(msgspec.Struct, omit_defaults=True):
    format: str
    version: int
    tokens: Tokens | None = None
    sealed: str | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope, dec_hook=decode_secret).decode
_decode_tokens = msgspec.json.Decoder(Tokens, dec_hook=decode_secret).decode
# msgspec's errors for foreign bytes, and that of `Secret` for values that cannot be credentials.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidArgument)


class Codec:
    """Encodes and decodes tokens, encrypted if there is a cipher.

    Decoding raises ConfigError, which names the file without quoting it.
    """

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    def encode(self, tokens: Tokens) -> bytes:
        """Encode tokens as one line."""
        if self._cipher is None:
            return encode_with_secrets(_Envelope(FORMAT, VERSION, tokens=tokens)) + b"\n"
        sealed = self._cipher.encrypt(encode_with_secrets(tokens)).decode()
        return encode_with_secrets(_Envelope(FORMAT, VERSION, sealed=sealed)) + b"\n"

    def decode(self, raw: bytes, source: str) -> Tokens:
        """Decode one line."""
        try:
            document = _decode_envelope(raw)
        except _UNREADABLE:
            document = None
        if document is None or document.format != FORMAT:
            raise _unusable(source, "it is damaged, or not a token file of phonesys")
        if document.version != VERSION:
            raise _unusable(
                source, f"it has version {document.version!s:.20}, but this phonesys reads {VERSION}"
            )
        return self._open_envelope(document, source)

    def _open_envelope(self, document: _Envelope, source: str) -> Tokens:
        if document.sealed is None:
            if self._cipher is not None:
                raise _unusable(source, "a key was given, but it is not encrypted")
            return document.tokens or {}
        if self._cipher is None:
            raise _unusable(source, "it is encrypted, but no key was given")
        plain = self._cipher.decrypt(document.sealed.encode())
        if plain is None:
            raise _unusable(source, "the key does not match")
        try:
            return _decode_tokens(plain)
        except _UNREADABLE:
            pass
        raise _unusable(source, "it is damaged")


def _unusable(source: str, reason: str) -> ConfigError:
    return ConfigError(f"token store: {source} cannot be used: {reason}; it was not changed")
