"""Limits of a configuration that the user did not name.

`phonesys.toml` in the current directory may be part of a repository or an archive from elsewhere. It may say
what is swept, but it must not carry credentials of the environment, or an app's stored tokens, to a host of
its own choice. Credentials that it contains are its own, as in the file that the sandbox writes.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from phonesys._validation import is_object
from phonesys.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.config.section import Section


def require_vendor_host(section: Section, factory: Callable[..., Any]) -> None:
    """Raise ConfigError if the section names a host that is not the vendor's, a proxy or an authority."""
    url = section.values.get("base_url")
    if isinstance(url, str) and _host(url) != _host(default_url(factory)):
        _refuse(section, "base_url")
    _require_no_interception(section)


def reject_foreign_urls(section: Section) -> None:
    """Raise ConfigError if a section has both a key that ends in `_env` and a URL.

    The backend does not describe itself, so that its vendor's host is not known.
    """
    urls = [key for key, value in section.values.items() if isinstance(value, str) and "://" in value]
    if any(key.endswith("_env") for key in section.values):
        if urls:
            _refuse(section, urls[0])
        _require_no_interception(section)


def _require_no_interception(section: Section) -> None:
    """Raise ConfigError for a proxy or an authority, which together can read what is sent to any host."""
    http = section.values.get("http")
    for key in ("proxy", "ca_file"):
        if is_object(http) and key in http:
            _refuse(section, f"http.{key}")


def default_url(factory: Callable[..., Any]) -> str:
    """Return the vendor's address, which is the default of the class, or an empty string."""
    parameter = inspect.signature(factory).parameters.get("base_url")
    return parameter.default if parameter is not None and isinstance(parameter.default, str) else ""


def _host(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower() or None


def _refuse(section: Section, key: str) -> NoReturn:
    raise ConfigError(
        f"{section.where(key)}: credentials from elsewhere are not sent to a host that this file chooses; "
        f"expected the vendor's host, or a file that you name: --config {section.source}"
    )
