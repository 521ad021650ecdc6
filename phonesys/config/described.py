"""Backends whose class describes its configuration with `info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.config.section import default_variable
from phonesys.provider import installed, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.backends.info import BackendInfo


def info_of(factory: Any) -> BackendInfo | None:
    """Return the description that a backend's class has, if any."""
    info: BackendInfo | None = getattr(factory, "info", None)
    return info


def default_credentials(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variable of each described backend's credential.

    With `env`, only backends with a variable in it are imported.
    """
    return {
        name: default_variable(name, info.credential)
        for name in _mentioned(env, installed())
        if (info := info_of(load(name))) is not None
    }


def _mentioned(env: Mapping[str, str] | None, names: Iterable[str]) -> list[str]:
    prefixes = {name: default_variable(name, "") for name in names}
    return [
        name
        for name, prefix in prefixes.items()
        if env is None or any(variable.startswith(prefix) for variable in env)
    ]
