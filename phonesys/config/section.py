"""One table of the configuration. Every value is validated when it is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import msgspec

from phonesys._validation import suggestion
from phonesys.config.store_urls import has_password
from phonesys.errors import ConfigError
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

T = TypeVar("T")

_EXCERPT = 60
_MAX_BITS = 63
_IS_SECRET = re.compile(r"(token|key|secret|password|credential)s?$|^urls$", re.IGNORECASE).search
# A credential written in place of its variable's name must not reach the screen.
_MAY_BE_SECRET = re.compile(
    r"(token|key|secret|password|credential)s?(_env)?$|^oauth$|^(store|urls)(_env)?$", re.IGNORECASE
).search
_IS_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}").fullmatch


class Section:
    """A table at `path` of `source`. Errors are ConfigError, with source, key and the expected value.

    Keys that were read are known. `reject_unknown_keys` raises for all others.
    """

    def __init__(
        self,
        values: dict[str, Any],
        *,
        source: str,
        path: tuple[str, ...],
        folder: Path,
        env: Mapping[str, str],
        trusted: bool = True,
        token_store: str | None = None,
    ) -> None:
        self.values = values
        self.source = source
        self.name = path[-1] if path else ""
        self.folder = folder
        self._path = path
        self.trusted = trusted
        """False for a file that happened to be in the current directory."""
        self.env = env
        self.token_store = token_store
        """Where tokens are, instead of what the table names."""
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        self._known[key] = None
        return key in self.values

    def where(self, key: str = "") -> str:
        """Return the source and path of a key, for the beginning of a message."""
        return f"{self.source}: {'.'.join((*self._path, key) if key else self._path)}"

    def fail(self, key: str, expected: str) -> NoReturn:
        """Raise ConfigError for a value, which is shown unless it may be a secret."""
        hidden = any(map(_MAY_BE_SECRET, (*self._path[1:], key)))
        got = "" if hidden else f", got {_excerpt(self.values[key])}"
        raise ConfigError(f"{self.where(key)}: expected {expected}{got}")

    def error_from(self, error: Exception) -> ConfigError:
        """Return a ConfigError with the place of the key that a message begins with, or of the table."""
        key, colon, rest = str(error).partition(": ")
        if colon and key in self.values:
            return ConfigError(f"{self.where(key)}: {rest}")
        return ConfigError(f"{self.where()}: {error}")

    def one_of(self, *keys: str) -> str:
        """Return the only one of these keys that is present, or an empty string; raise if there are two."""
        present = [key for key in keys if key in self]
        if len(present) > 1:
            raise ConfigError(f"{self.where(present[0])}: expected this or {present[1]}, and not both")
        return present[0] if present else ""

    # Values: None if the key is missing

    def string(self, key: str) -> str | None:
        """Return a string that is not empty."""
        value = self._typed(key, str, "a string")
        if value is not None and not value.strip():
            self.fail(key, "a string that is not empty")
        if value is not None and "\0" in value:
            self.fail(key, "a string without null characters")
        return value

    def boolean(self, key: str) -> bool | None:
        """Return true or false."""
        return self._typed(key, bool, "true or false")

    def integer(self, key: str) -> int | None:
        """Return a whole number. The constructor that receives it checks its range."""
        return self._typed(key, int, "a whole number")

    def number(self, key: str) -> float | None:
        """Return a number as a float."""
        value = self._typed(key, (int, float), "a number")
        return None if value is None else float(value)

    def strings(self, key: str) -> tuple[str, ...] | None:
        """Return a list of strings."""
        values = cast("list[Any] | None", self._typed(key, list, "a list of strings"))
        if values is None:
            return None
        if not all(isinstance(value, str) and value.strip() for value in values):
            self.fail(key, "a list of strings that are not empty")
        return tuple(values)

    def table(self, key: str, expected: str) -> Section | None:
        """Return a table in this one."""
        values = cast("dict[str, Any] | None", self._typed(key, dict, expected))
        if values is None:
            return None
        path = (*self._path, key)
        return Section(
            values,
            source=self.source,
            path=path,
            folder=self.folder,
            env=self.env,
            trusted=self.trusted,
            token_store=self.token_store,
        )

    def secret(self, key: str) -> Secret:
        """Return a credential that the file contains."""
        return Secret(self.values[key], what=self.where(key))

    def secret_from_env(self, key: str) -> Secret:
        """Return a credential from the environment variable that the key names."""
        variable = self.string(key)
        value = self.env.get(variable or "")
        if not value:
            if variable and _IS_VARIABLE(variable):
                raise ConfigError(f"{self.where(key)}: the environment variable {variable} is not set")
            raise ConfigError(f"{self.where(key)}: expected the name of an environment variable that is set")
        return Secret(value, what=f"environment variable {variable}")

    def from_environment(self, key: str) -> tuple[str, str | None]:
        """Return the environment variable that replaces a missing key of this table, and its value."""
        variable = default_variable(self.name, key)
        return variable, self.env.get(variable) or None

    def _typed(self, key: str, kind: type[T] | tuple[type[T], ...], expected: str) -> T | None:
        if key not in self:
            return None
        value = self.values[key]
        # True is an int in Python, and never the number that was meant.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or _is_huge(value):
            self.fail(key, expected)
        return value

    def reject_unknown_keys(self, others: Iterable[str] = ()) -> None:
        """Raise ConfigError for a key that was never read and is not among the others."""
        self._known.update(dict.fromkeys(others))
        for key in self.values:
            if key not in self._known:
                raise ConfigError(f"{self.where(key)}: no such key{suggestion(key, self._known)}")


def _is_huge(value: object) -> bool:
    """Return True for a whole number beyond TOML's range, which Python may refuse to print."""
    return isinstance(value, int) and value.bit_length() > _MAX_BITS


def default_variable(section: str, key: str) -> str:
    """Return the environment variable that replaces a key: PHONESYS_LEADPING_API_KEY."""
    return re.sub(r"[^A-Z0-9]", "_", f"PHONESYS_{section}_{key}".upper())


def literal_secrets(values: Mapping[str, Any]) -> list[str]:
    """Return the credentials that a table contains."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            found += _strings(inner) if _IS_SECRET(key) else literal_secrets(inner)
        elif isinstance(value, str) and (_IS_SECRET(key) or (key == "store" and has_password(value))):
            found.append(value)
    return found


def _strings(values: Mapping[str, Any]) -> list[str]:
    return [item for item in values.values() if isinstance(item, str)]


def _excerpt(value: Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except ValueError:  # a number of thousands of digits
        return "a number that is too long to show"
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
