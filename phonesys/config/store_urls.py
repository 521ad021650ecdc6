"""URLs of databases, which may hold a password."""

from __future__ import annotations

import re

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
