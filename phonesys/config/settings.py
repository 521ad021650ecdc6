"""Sections of the configuration, from a file or from environment variables."""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys._validation import MAX_DEPTH, exceeds_depth, is_object, suggestion
from phonesys.config.described import default_credentials
from phonesys.config.paths import expand
from phonesys.config.section import Section, literal_secrets
from phonesys.config.stores import KEYS, read_store
from phonesys.errors import ConfigError, UnknownProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("phonesys")

FILE = "phonesys.toml"
VARIABLE = "PHONESYS_CONFIG"
ALERTS = "alerts"
"""The section that is no backend."""
OAUTH = "oauth"
"""The table of an app, in the section of its backend."""
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
_MAX_BYTES = 16 * 2**20  # a token for each of a hundred thousand accounts
_EXCERPT = 200


@dataclass(frozen=True)
class Settings:
    """Sections of the configuration, as written."""

    source: str
    folder: Path
    sections: Mapping[str, dict[str, Any]]
    env: Mapping[str, str]
    trusted: bool = True
    """False for a file that was found in the current directory, and not named by the user."""
    top: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keys above all sections: those of the store of snapshots."""

    alert_values: dict[str, Any] | None = None
    token_store: str | None = None
    """Where the tokens of apps are, instead of what the sections name."""

    def store(self) -> str | None:
        """Return the store of snapshots that the file names, if it names one; raise ConfigError."""
        return read_store(self._section(dict(self.top), ()), "numbers")

    @property
    def alerts(self) -> Section | None:
        """The section `[alerts]`, if there is one."""
        return None if self.alert_values is None else self._section(self.alert_values, (ALERTS,))

    def section(self, name: str) -> Section:
        """Return one section; raise UnknownProvider with the nearest name."""
        if name not in self.sections:
            raise UnknownProvider(
                f"{self.source}: no backend is named {name!r}{suggestion(name, self.sections)}"
            )
        return self._section(self.sections[name], (name,))

    def _section(self, values: dict[str, Any], path: tuple[str, ...]) -> Section:
        return Section(
            values,
            source=self.source,
            path=path,
            folder=self.folder,
            env=self.env,
            trusted=self.trusted,
            token_store=self.token_store,
        )


def read_settings(
    file: Path | None, env: Mapping[str, str] = os.environ, *, token_store: str | None = None
) -> Settings:
    """Read `file`, `PHONESYS_CONFIG`, or `phonesys.toml` in this directory; else the environment alone.

    - `token_store`: a file or a URL, instead of the token stores that the file names.
    """
    named = file or env.get(VARIABLE)
    path = expand(named, "configuration" if file else VARIABLE) if named else None
    if path is None and not Path(FILE).is_file():
        if token_store is not None:
            _require_app({}, "environment")
        return environment_settings(env)
    path = path or Path(FILE)
    where = f"{VARIABLE}: {path}" if env.get(VARIABLE) and not file else str(path)
    values = _parse(_read(path, where), where)
    sections = {name: value for name, value in values.items() if is_object(value)}
    top = {name: value for name, value in values.items() if name not in sections}
    for name in top:
        if name not in KEYS:
            raise ConfigError(
                f"{path}: {name}: expected a section named for a backend, as in [leadconnector]"
            )
    _warn_if_readable(path, top, sections)
    alerts = sections.pop(ALERTS, None)
    # A section of alerts alone goes with backends of the environment.
    backends = sections if sections or alerts is None else environment_settings(env).sections
    if token_store is not None:
        _require_app(backends, str(path))
    return Settings(
        str(path),
        path.parent,
        backends,
        env,
        trusted=named is not None,
        top=top,
        alert_values=alerts,
        token_store=token_store,
    )


def _require_app(sections: Mapping[str, dict[str, Any]], source: str) -> None:
    if not any(OAUTH in values for values in sections.values()):
        raise ConfigError(f"{source}: no backend has an [….{OAUTH}] table, whose tokens --token-store holds")


def environment_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Return an empty section for each backend whose credential is in its default variable."""
    sections = {name: dict[str, Any]() for name, at in default_credentials(env).items() if env.get(at)}
    return Settings("environment", Path(), sections, env)


def _read(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: expected UTF-8") from None
    except ValueError as error:  # a path with a null character
        raise ConfigError(f"{where!r}: {error}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{where}: expected a configuration, got more than {_MAX_BYTES:,} bytes")
    return text


def _parse(text: str, where: str) -> dict[str, Any]:
    values: dict[str, Any] | None = None
    try:
        values = tomllib.loads(text)
    except RecursionError:
        pass  # reported below, with nesting that could be read
    except ValueError as error:  # tomllib's own, and numbers of thousands of digits
        raise ConfigError(f"{where}: expected TOML: {error!s:.{_EXCERPT}}") from None
    if values is None or exceeds_depth(values):
        raise ConfigError(f"{where}: expected at most {MAX_DEPTH} nested tables and lists")
    return values


def _warn_if_readable(path: Path, top: Mapping[str, Any], sections: Mapping[str, dict[str, Any]]) -> None:
    if os.name != "posix" or not any(map(literal_secrets, (top, *sections.values()))):
        return
    if path.stat().st_mode & _READABLE_BY_OTHERS:
        log.warning("%s holds credentials and others can read it; `chmod 600 %s`", path, path)
