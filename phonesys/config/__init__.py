"""Configuration: backends made from `phonesys.toml` and environment variables."""

from __future__ import annotations

from phonesys.config.backends import ConfiguredBackend, load_backend, load_backends
from phonesys.config.settings import Settings, read_settings

__all__ = ["ConfiguredBackend", "Settings", "load_backend", "load_backends", "read_settings"]
