"""Redaction: credentials of a request are masked in the error that it ends with.

Servers echo credentials: in error bodies, request ids, status lines, pages of HTML. So an error is redacted
as a whole, once, when it is finished, wherever its words come from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phonesys.errors import DecodeError, StatusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.errors import CallError
    from phonesys.secret import Secret

MASK = "***"

_has_escapes = re.compile(r"\\+(?:[ux/]|['\"]?\)?$)|%[0-9A-Fa-f]{2}|&#").search
_ESCAPE = re.compile(r"\\+u00([0-9A-Fa-f]{2})|%([0-9A-Fa-f]{2})|\\+(/)")
_ESCAPE_CUT = re.compile(r"\\+(?:u[0-9A-Fa-f]{0,3})?(?=['\")\]} ]*$)")
_MAX_ESCAPE = 12  # characters, as in a backslash that is escaped itself several times
_MIN_CUT = 8
"""Characters of a credential from which on its beginning is masked where a text was cut off."""
_AFTER_CUT = "'\"…)]} "


class Redactor:
    """Masks the credentials of one request.

    - `signed`: the headers that signed it.
    - `secrets`: those in its body.
    """

    def __init__(self, signed: Mapping[str, str], secrets: Iterable[Secret] = ()) -> None:
        # Without the scheme in front of a token, which servers may leave out.
        bare = [value.rpartition(" ")[2] for value in signed.values()]
        bare += [secret.reveal() for secret in secrets]
        self._credentials = sorted(filter(None, bare), key=len, reverse=True)

    def error(self, error: CallError) -> CallError:
        """Mask the credentials in an error's message, facts, notes and causes, and return the error."""
        error.message = self.text(error.message)
        error.args = tuple(self.text(arg) if isinstance(arg, str) else arg for arg in error.args)
        if isinstance(error, StatusError | DecodeError):
            error.body = self.body(error.body)
        if isinstance(error, StatusError) and error.request_id is not None:
            error.request_id = self.text(error.request_id)
        if notes := getattr(error, "__notes__", None):
            notes[:] = map(self.text, notes)
        self._redact_causes(error)
        return error

    def text(self, text: str) -> str:
        """Mask the credentials in a text, also where they are escaped or cut off at its end."""
        for credential in self._credentials:
            text = text.replace(credential, MASK)
            if len(credential) > _MIN_CUT:
                text = _mask_cut(text, credential)
        if _has_escapes(text):
            for credential in self._credentials:
                text = _mask_escaped_cut(re.sub(_escaped(credential), MASK, text), credential)
        return text

    def body(self, body: bytes) -> bytes:
        """Mask the credentials in a response's body."""
        return self.text(body.decode("latin-1")).encode("latin-1")

    def _redact_causes(self, error: BaseException) -> None:
        """Drop the cause that shows a credential; an exception of a library cannot be rewritten."""
        link = error
        while (cause := link.__cause__) is not None:
            shown = f"{cause} {cause!r} {cause.args!r}"
            if self.text(shown) != shown:
                link.__cause__ = None
                return
            link = cause


def _mask_cut(text: str, credential: str) -> str:
    at = text.rfind(credential[:_MIN_CUT])
    if at < 0:
        return text
    cut = text[at:].rstrip(_AFTER_CUT)
    return text[:at] + MASK + text[at + len(cut) :] if credential.startswith(cut) else text


def _mask_escaped_cut(text: str, credential: str) -> str:
    tail = text[-_MAX_ESCAPE * len(credential) :]
    plain = _ESCAPE.sub(_unescape, tail)
    masked = _mask_cut(_ESCAPE_CUT.sub("", plain), credential)
    return text if masked in plain else text[: len(text) - len(tail)] + masked


def _unescape(match: re.Match[str]) -> str:
    return match[3] or chr(int(match[1] or match[2], 16))


def _escaped(credential: str) -> str:
    """Return a pattern of the credential in which each character may be escaped, as in JSON, URLs or HTML."""
    return "".join(
        rf"(?:{re.escape(char)}|\\+u00(?i:{code:02x})|\\+x(?i:{code:02x})|%(?i:{code:02x})"
        rf"|&#0*{code};|&#[xX]0*(?i:{code:x});" + (r"|\\+/)" if char == "/" else ")")
        for char, code in ((char, ord(char)) for char in credential)
    )
