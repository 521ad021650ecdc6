"""One table of the configuration, handed out value by value, each of them checked."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import msgspec

from phonesys.errors import ConfigError
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

T = TypeVar("T")

_SHOWN = 60
_BITS = 63
_IS_SECRET = re.compile(r"(token|key|secret|password|credential)s?$", re.IGNORECASE).search
# Whoever writes a credential where its variable's name belongs must not see it on the screen.
_MAY_BE_SECRET = re.compile(r"(token|key|secret|password|credential)s?(_env)?$|^oauth$", re.IGNORECASE).search
_IS_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}").fullmatch


class Section:
    """A table at `path` of `source`; raises ConfigError, with source, key and what was expected.

    What is asked for is known from then on: `finish` complains about the rest.
    """

    def __init__(
        self,
        values: dict[str, Any],
        *,
        source: str,
        path: tuple[str, ...],
        folder: Path,
        env: Mapping[str, str],
    ) -> None:
        self.values = values
        self.source = source
        self.name = path[-1]
        self.folder = folder
        self._path = path
        self._env = env
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        self._known[key] = None
        return key in self.values

    def where(self, key: str = "") -> str:
        """Name a key of this table, for the beginning of a message."""
        return f"{self.source}: {'.'.join((*self._path, key) if key else self._path)}"

    def wrong(self, key: str, expected: str) -> NoReturn:
        """Refuse a value; it is shown unless it may be a secret."""
        hidden = any(map(_MAY_BE_SECRET, (*self._path[1:], key)))
        got = "" if hidden else f", got {_as_written(self.values[key])}"
        raise ConfigError(f"{self.where(key)}: expected {expected}{got}")

    def refused(self, mistake: Exception) -> ConfigError:
        """Say where that is written which somebody else refused, if their message begins with its key."""
        key, colon, rest = str(mistake).partition(": ")
        if colon and key in self.values:
            return ConfigError(f"{self.where(key)}: {rest}")
        return ConfigError(f"{self.where()}: {mistake}")

    def only(self, *keys: str) -> str:
        """Find the one of these keys that is there; empty where none is."""
        there = [key for key in keys if key in self]
        if len(there) > 1:
            raise ConfigError(f"{self.where(there[0])}: expected this or {there[1]}, and not both")
        return there[0] if there else ""

    # Values: None where the key is not there

    def text(self, key: str) -> str | None:
        """Read a string that is not empty."""
        value = self._typed(key, str, "a string")
        if value is not None and not value.strip():
            self.wrong(key, "a string that is not empty")
        if value is not None and "\0" in value:
            self.wrong(key, "a string without null characters")
        return value

    def flag(self, key: str) -> bool | None:
        """Read a switch."""
        return self._typed(key, bool, "true or false")

    def whole(self, key: str) -> int | None:
        """Read a whole number; its range is checked by whoever takes it."""
        return self._typed(key, int, "a whole number")

    def number(self, key: str) -> float | None:
        """Read a number."""
        value = self._typed(key, (int, float), "a number")
        return None if value is None else float(value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Read a list of strings."""
        values = cast("list[Any] | None", self._typed(key, list, "a list of strings"))
        if values is None:
            return None
        if not all(isinstance(value, str) and value.strip() for value in values):
            self.wrong(key, "a list of strings that are not empty")
        return tuple(values)

    def table(self, key: str, expected: str) -> Section | None:
        """Read a table in this one."""
        values = cast("dict[str, Any] | None", self._typed(key, dict, expected))
        if values is None:
            return None
        path = (*self._path, key)
        return Section(values, source=self.source, path=path, folder=self.folder, env=self._env)

    def secret(self, key: str) -> Secret:
        """Read a credential that is written down here."""
        return Secret(self.values[key], what=self.where(key))

    def secret_from_env(self, key: str) -> Secret:
        """Read a credential from the environment variable that is named here."""
        variable = self.text(key)
        value = self._env.get(variable or "")
        if not value:
            if variable and _IS_VARIABLE(variable):
                raise ConfigError(f"{self.where(key)}: the environment variable {variable} is not set")
            raise ConfigError(f"{self.where(key)}: expected the name of an environment variable that is set")
        return Secret(value, what=f"environment variable {variable}")

    def default(self, key: str) -> tuple[str, str | None]:
        """Look up the environment variable that stands in for a key of this table."""
        variable = default_variable(self.name, key)
        return variable, self._env.get(variable) or None

    def _typed(self, key: str, kind: type[T] | tuple[type[T], ...], expected: str) -> T | None:
        if key not in self:
            return None
        value = self.values[key]
        # True is an int to Python, and never what was meant.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or _is_huge(value):
            self.wrong(key, expected)
        return value

    # The rest

    def finish(self, others: Iterable[str] = ()) -> None:
        """Raise ConfigError for a key that nobody asked for, and that is none of the others."""
        self._known.update(dict.fromkeys(others))
        for key in self.values:
            if key not in self._known:
                raise ConfigError(f"{self.where(key)}: no such key{nearest_or_all(key, self._known)}")


def _is_huge(value: object) -> bool:
    """Say whether it is a whole number that TOML need not hold, and that Python may refuse to print."""
    return isinstance(value, int) and value.bit_length() > _BITS


def default_variable(section: str, key: str) -> str:
    """Name the environment variable that stands in for a key: PHONESYS_LEADPING_API_KEY."""
    return re.sub(r"[^A-Z0-9]", "_", f"PHONESYS_{section}_{key}".upper())


def nearest_or_all(word: str, known: Iterable[str]) -> str:
    """Ask whether another word was meant; list all where none is close."""
    words = sorted(known)
    close = get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(words) or 'none'}"


def literal_secrets(values: Mapping[str, Any]) -> list[str]:
    """Collect the credentials that are written down in a section."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            found += _strings(inner) if _IS_SECRET(key) else literal_secrets(inner)
        elif _IS_SECRET(key) and isinstance(value, str):
            found.append(value)
    return found


def _strings(values: Mapping[str, Any]) -> list[str]:
    return [item for item in values.values() if isinstance(item, str)]


def _as_written(value: Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except ValueError:  # a number of thousands of digits
        return "a number that is too long to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
