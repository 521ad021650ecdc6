"""Configuration: backends made from `phonesys.toml` and environment variables."""

from __future__ import annotations

from phonesys.config.backends import ConfiguredBackend, build_backends, load_backend, load_backends
from phonesys.config.settings import Settings, environment_settings, read_settings

__all__ = [
    "ConfiguredBackend",
    "Settings",
    "build_backends",
    "environment_settings",
    "load_backend",
    "load_backends",
    "read_settings",
]
