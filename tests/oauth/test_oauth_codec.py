"""The format of token files: what is written, and what is said of a file that cannot be used."""

from __future__ import annotations

import msgspec
import pytest

from phonesys import ConfigError
from phonesys.oauth import Token, new_key
from phonesys.oauth.cipher import FernetCipher
from phonesys.oauth.codec import Codec
from phonesys.secret import Secret

TOKENS = {"k": Token(access=Secret("a"), obtained_at=1.0), "gone": None}
PLAIN = (
    b'{"format":"phonesys-tokens","version":1,"tokens":{"k":{"access":"a","refresh":null,"obtained_at":1.0,'
    b'"expires_at":null,"subject":"","scope":""},"gone":null}}\n'
)


def test_tokens_are_one_line_of_json() -> None:
    """Its format and version come first, and it is read back unchanged."""
    assert Codec(None).encode(TOKENS) == PLAIN
    assert Codec(None).decode(PLAIN, "file") == TOKENS
    assert Codec(None).decode(b'{"format":"phonesys-tokens","version":1}', "file") == {}


def test_sealed_tokens_are_one_line_of_json() -> None:
    """Which shows the format, the version, and nothing else."""
    codec = Codec(FernetCipher(new_key()))
    raw = codec.encode(TOKENS)
    envelope = msgspec.json.decode(raw)
    assert (list(envelope), raw[-1:], raw.count(b"\n")) == (["format", "version", "sealed"], b"\n", 1)
    assert (envelope["format"], envelope["version"]) == ("phonesys-tokens", 1)
    assert codec.decode(raw, "file") == TOKENS


KEY = new_key()
ENVELOPE = '{"format":"phonesys-tokens","version":1,'
SEALED = ENVELOPE + f'"sealed":"{FernetCipher(KEY).encrypt(b"[1, 2]").decode()}"}}'
SEALED_OTHERWISE = ENVELOPE + f'"sealed":"{FernetCipher(new_key()).encrypt(b"{}").decode()}"}}'
NO_TOKENS = "it is damaged, or not a token file of phonesys"
UNUSABLE = {
    "empty": ("", None, NO_TOKENS),
    "without a version": ('{"format":"phonesys-tokens"}', None, NO_TOKENS),
    "of another format": ('{"format":"other","version":1}', None, NO_TOKENS),
    "newer": (ENVELOPE.replace("1", "2") + '"x":1}', None, "it has version 2, but this phonesys reads 1"),
    "much newer": (
        ENVELOPE.replace("1", "1234567890123456789") + '"x":1}',
        None,
        "it has version 1234567890123456789, but this phonesys reads 1",
    ),
    "plain": (ENVELOPE + '"tokens":{}}', KEY, "a key was given, but it is not encrypted"),
    "sealed": (SEALED, None, "it is encrypted, but no key was given"),
    "sealed otherwise": (SEALED_OTHERWISE, KEY, "the key does not match"),
    "sealed and damaged": (SEALED, KEY, "it is damaged"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(kind: str) -> None:
    """And was not changed, which a person wants to know first."""
    raw, key, reason = UNUSABLE[kind]
    codec = Codec(None if key is None else FernetCipher(key))
    with pytest.raises(ConfigError) as caught:
        codec.decode(raw.encode(), "tokens.json")
    assert str(caught.value) == f"token store: tokens.json cannot be used: {reason}; it was not changed"
