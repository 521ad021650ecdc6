"""Stores in the configuration: a file, or the URL of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.config.paths import expand
from phonesys.config.store_urls import is_url
from phonesys.errors import ConfigError

if TYPE_CHECKING:
    from phonesys.config.section import Section

KEYS = ("store", "store_env")


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
