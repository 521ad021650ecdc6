"""The section `[alerts]`: destinations of `phonesys watch`, and what is sent to them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phonesys.config.durations import parse_duration
from phonesys.config.settings import read_settings
from phonesys.errors import ConfigError, InvalidArgument
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phonesys.config.section import Section

URLS_VARIABLE = "PHONESYS_ALERTS_URLS"


@dataclass(frozen=True)
class AlertSettings:
    """Addresses of apprise by name, and the options that are set."""

    urls: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of `phonesys.inventory.Alerts`."""


def read_alerts(file: Path | None, env: Mapping[str, str] = os.environ) -> AlertSettings:
    """Return the section `[alerts]`, with the addresses of PHONESYS_ALERTS_URLS if it names none.

    Raise ConfigError. A file that was merely found in this directory may name variables, but no addresses:
    it could send the inventory to its author.
    """
    section = read_settings(file, env).alerts
    if section is None:
        return AlertSettings(_from_environment(env))
    key = section.one_of("urls", "urls_env")
    options = _options(section)
    urls = _urls(section, key) if key else _from_environment(env)
    section.reject_unknown_keys()
    return AlertSettings(urls, options)


def _urls(section: Section, key: str) -> dict[str, Secret]:
    table = section.table(key, 'a table of one for each destination, as in { ops = "…" }')
    assert table is not None  # noqa: S101 -- the caller found the key
    if key == "urls" and not section.trusted:
        raise ConfigError(
            f"{section.where(key)}: this file was found, not named; name it with --config, or use urls_env"
        )
    read = table.secret if key == "urls" else table.secret_from_env
    return {name: read(name) for name in table.values}


def _from_environment(env: Mapping[str, str]) -> dict[str, Secret]:
    """Return the addresses of the variable, each named for its service: `slack`, `slack-2`."""
    found: dict[str, Secret] = {}
    for url in env.get(URLS_VARIABLE, "").split():
        service, separator, _ = url.partition("://")
        if not separator or not service.isalnum():
            raise ConfigError(
                f"{URLS_VARIABLE}: expected addresses such as slack://…, with spaces between them"
            )
        count = sum(name.partition("-")[0] == service for name in found)
        found[f"{service}-{count + 1}" if count else service] = Secret(url, what=URLS_VARIABLE)
    return found


def _options(section: Section) -> dict[str, Any]:
    values = {
        "severity": section.string("severity"),
        "quiet_period": _duration(section, "quiet_period"),
        "changes": section.boolean("changes"),
        "resolved": section.boolean("resolved"),
        "max_items": section.integer("max_items"),
        "max_length": section.integer("max_length"),
    }
    return {name: value for name, value in values.items() if value is not None}


def _duration(section: Section, key: str) -> Any:
    text = section.string(key)
    if text is None:
        return None
    try:
        return parse_duration(text)
    except InvalidArgument as error:
        raise ConfigError(f"{section.where(key)}: {error}") from None
