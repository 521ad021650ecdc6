"""Keys that a backend's class describes, and those that every described backend has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.errors import ConfigError, InvalidArgument
from phonesys.http.options import HttpOptions
from phonesys.http.ratelimit.window import RateLimit
from phonesys.http.validation import validate_base_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phonesys.backends.info import BackendOption
    from phonesys.config.section import Section

_SECONDS = ("timeout", "connect_timeout", "read_timeout", "deadline")


def read_options(section: Section, options: Iterable[BackendOption]) -> dict[str, Any]:
    """Return the described options that the section sets, by keyword."""
    readers = {str: section.string, bool: section.boolean, int: section.integer, tuple: section.strings}
    return {
        option.keyword: readers[option.type](option.keyword)
        for option in options
        if option.keyword in section
    }


def read_common_options(section: Section) -> dict[str, Any]:
    """Return `limit`, `http` and `base_url`, as far as they are set."""
    return _limit(section) | _http(section) | _base_url(section)


def _base_url(section: Section) -> dict[str, Any]:
    url, where = section.string("base_url"), section.where("base_url")
    if url is None:
        where, url = section.from_environment("base_url")
    if url is None:
        return {}
    try:
        validate_base_url(url)
    except InvalidArgument:
        # The value is not shown: it may hold a password or a key.
        raise ConfigError(
            f"{where}: expected https://host/path, without user, query and fragment "
            "(plain http is for loopback only)"
        ) from None
    return {"base_url": url}


def _limit(section: Section) -> dict[str, Any]:
    if _is_off(section, "limit"):
        return {"limit": None}
    table = section.table("limit", "{ requests = 100, per = 10 }, or false for none")
    if table is None:
        return {}
    requests, per = table.integer("requests"), table.number("per")
    table.reject_unknown_keys()
    if requests is None or per is None or requests < 1 or not 0 < per < float("inf"):
        section.fail("limit", "at least 1 request per a positive number of seconds")
    return {"limit": RateLimit(requests, per)}


def _http(section: Section) -> dict[str, Any]:
    table = section.table("http", "a table, such as { timeout = 30 }")
    if table is None:
        return {}
    options: dict[str, Any] = {
        key: None if _is_off(table, key) else table.number(key) for key in _SECONDS if key in table
    }
    options |= {key: table.number(key) for key in ("backoff", "backoff_cap") if key in table}
    options |= {key: table.integer(key) for key in ("retries", "max_body", "connections") if key in table}
    options |= {key: table.string(key) for key in ("proxy", "ca_file", "user_agent") if key in table}
    options |= {"trust_env": table.boolean("trust_env")} if "trust_env" in table else {}
    table.reject_unknown_keys()
    try:
        return {"http": HttpOptions(**options)}
    except InvalidArgument as error:
        raise ConfigError(table.where(str(error).removeprefix("HttpOptions."))) from None


def _is_off(section: Section, key: str) -> bool:
    """Return True for `false`, which means no bound: TOML has no null."""
    return section.values.get(key) is False and key in section
