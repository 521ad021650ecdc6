"""Stores in the configuration: a file, or a database whose URL may hold a password."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phonesys.config.paths import expand
from phonesys.errors import ConfigError

if TYPE_CHECKING:
    from phonesys.config.section import Section

KEYS = ("store", "store_env")
_PASSWORD = re.compile(r"://[^:/?#@]*:(?:(?!\?\w+=).)*@|[?&](?:ssl)?password=", re.DOTALL).search


def is_url(store: str) -> bool:
    """Return True for the URL of a database, and False for a path."""
    return "://" in store


def has_password(store: str) -> bool:
    """Return True for a URL with a password, in front of its host or among its parameters."""
    return _PASSWORD(store) is not None


def redact_password(store: str) -> str:
    """Return a store's path, or its URL without credentials and parameters."""
    if not is_url(store):
        return store
    scheme, _, rest = store.partition("://")
    place = re.split(r"\?\w+=", rest)[0]
    return f"{scheme}://{place.rpartition('@')[2]}"


def read_store(section: Section, content: str) -> str | None:
    """Return the store that a table names, if it names one. Raise ConfigError.

    - `content`: what the store holds, for the message about a file that the user did not name.
    """
    key = section.one_of(*KEYS)
    if key == "store_env":
        return section.secret_from_env(key).reveal()
    store = section.string("store")
    if store is None:
        return None
    if not is_url(store):
        return str(section.folder / expand(store, section.where("store")))
    if not section.trusted:
        raise ConfigError(
            f"{section.where('store')}: expected a file; {content} go to a database only with a "
            "configuration that is named with --config or PHONESYS_CONFIG"
        )
    return store
