"""The configuration: `phonesys.toml` and environment variables, made into backends that are ready."""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys._validation import MAX_DEPTH, exceeds_depth
from phonesys.cli.config.backends import BACKEND_SPECS, Configured, build
from phonesys.cli.config.section import Section, default_variable, literal_secrets, nearest_or_all
from phonesys.cli.terminal import complain
from phonesys.errors import ConfigError, UnknownProvider

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Configured", "Settings", "configured", "one", "read"]

FILE = "phonesys.toml"
VARIABLE = "PHONESYS_CONFIG"
_OTHERS = stat.S_IRGRP | stat.S_IROTH
_LARGEST = 16 * 2**20  # room for a token for each of a hundred thousand accounts
_SHOWN = 200


@dataclass(frozen=True)
class Settings:
    """What is configured, section by section, as it was written."""

    source: str
    folder: Path
    sections: Mapping[str, dict[str, Any]]
    env: Mapping[str, str]

    def section(self, name: str) -> Section:
        """Return one section; raises UnknownProvider, with the nearest name."""
        if name not in self.sections:
            raise UnknownProvider(
                f"{self.source}: no backend is named {name!r}{nearest_or_all(name, self.sections)}"
            )
        values = self.sections[name]
        return Section(values, source=self.source, path=(name,), folder=self.folder, env=self.env)


def configured(file: Path | None, names: Iterable[str] = (), **overrides: Any) -> list[Configured]:
    """Make the backends of these names, all that are configured by default.

    `overrides` are keys that the command line sets, for the backends that know them. Raises ConfigError.
    """
    settings = read(file)
    sections = [settings.section(name) for name in dict.fromkeys(names) or settings.sections]
    if not sections:
        raise ConfigError(f"{settings.source}: nothing is configured; {_HOW}")
    for section in sections:
        known = BACKEND_SPECS.get(str(section.values.get("backend", section.name)))
        section.values.update(
            {key: value for key, value in overrides.items() if known and key in known.flags}
        )
    return [build(section) for section in sections]


def one(file: Path | None, name: str) -> Configured:
    """Make one backend."""
    return configured(file, [name])[0]


def read(file: Path | None, env: Mapping[str, str] = os.environ) -> Settings:
    """Read the file that is named, `PHONESYS_CONFIG`, or `phonesys.toml` here; else only the environment."""
    path = file or (Path(env[VARIABLE]) if env.get(VARIABLE) else None)
    if path is None and not Path(FILE).is_file():
        return Settings("environment", Path(), _from_environment(env), env)
    path = path or Path(FILE)
    where = f"{VARIABLE}: {path}" if env.get(VARIABLE) and not file else str(path)
    sections = _parse(_text(path, where), where)
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ConfigError(
                f"{path}: {name}: expected a section named for a backend, as in [leadconnector]"
            )
    _warn_if_readable(path, sections)
    return Settings(str(path), path.parent, sections, env)


_HOW = (
    f"write a {FILE} or set "
    + ", ".join(default_variable(name, known.credential) for name, known in BACKEND_SPECS.items())
    + " (`phonesys sweep --sandbox` needs neither)"
)


def _from_environment(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {
        name: {} for name, known in BACKEND_SPECS.items() if env.get(default_variable(name, known.credential))
    }


def _text(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: expected UTF-8") from None
    except ValueError as error:  # a path with a null character in it
        raise ConfigError(f"{where!r}: {error}") from None
    if len(raw) > _LARGEST:
        raise ConfigError(f"{where}: expected a configuration, got more than {_LARGEST:,} bytes")
    return text


def _parse(text: str, where: str) -> dict[str, dict[str, Any]]:
    values: dict[str, Any] | None = None
    try:
        values = tomllib.loads(text)
    except RecursionError:
        pass  # told below, with what is deep and was read
    except ValueError as error:  # tomllib's own, and numbers of thousands of digits
        raise ConfigError(f"{where}: expected TOML: {error!s:.{_SHOWN}}") from None
    if values is None or exceeds_depth(values):
        raise ConfigError(f"{where}: expected at most {MAX_DEPTH} tables and lists in one another")
    return values


def _warn_if_readable(path: Path, sections: Mapping[str, dict[str, Any]]) -> None:
    if os.name != "posix" or not any(map(literal_secrets, sections.values())):
        return
    if path.stat().st_mode & _OTHERS:
        complain(f"{path} holds credentials and others can read it; `chmod 600 {path}`")
