"""URLs of databases, as people have them from their hosting providers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

_POSTGRESQL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?P<rest>.*)", re.DOTALL)
# The last @ ends the credentials, unless it is in a parameter: passwords may contain any character.
_PARTS = re.compile(
    r"(?:(?P<user>[^:?@]*)(?::(?P<password>(?:(?!\?\w+=).)*))?@)?(?P<hosts>[^@/?#]*)"
    r"(?:/(?P<database>[^?#@]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
).fullmatch
_DRIVER = frozenset(
    {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "passfile",
     "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"}
)  # fmt: skip
"""Parameters that asyncpg understands as libpq does."""
_SETTINGS = frozenset({"application_name", "options"})
"""Parameters that are settings of the session."""
_OURS = frozenset({"schema", "connect_timeout", "channel_binding", "gssencmode", "host", "port", "dbname"})
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})


def parse_url(where: str | Path) -> URL:
    """Parse a URL, or the path of an SQLite file. The driver may be omitted."""
    if isinstance(where, Path) or "://" not in where:
        return _require_file(URL.create("sqlite+aiosqlite", database=str(Path(where).expanduser())))
    if (match := _POSTGRESQL.fullmatch(where)) is not None:
        return _parse_postgresql(match["rest"])
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as mistake:
        raise InvalidArgument("store: expected a path or a database's URL") from mistake
    if url.get_backend_name() != "sqlite":
        raise InvalidArgument(
            f"store: expected sqlite:// or postgresql://, got {url.get_backend_name():.40}://"
        )
    return _require_file(url.set(drivername="sqlite+aiosqlite"))


def _require_file(url: URL) -> URL:
    # Every connection to `:memory:` is another database, and a single one cannot read while it writes.
    if url.database in {None, "", ".", ":memory:"}:
        raise InvalidArgument("store: expected a file; a database in memory is lost when it is closed")
    return url


def _parse_postgresql(rest: str) -> URL:
    parts = _PARTS(rest)
    if parts is None:
        raise InvalidArgument("store: expected postgresql://user:password@host:port/database")
    query = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
    _check_query(query)
    hosts, ports = _hosts(parts["hosts"] or "")
    database = unquote(parts["database"] or "") or query.pop("dbname", None)
    several = len(hosts) > 1
    if several:
        query |= {"host": ",".join(hosts), "port": ",".join(str(port or 5432) for port in ports)}
    return URL.create(
        "postgresql+asyncpg",
        username=_unquoted(parts["user"]) or query.pop("user", None),
        password=_unquoted(parts["password"]) or query.pop("password", None),
        host=hosts[0] if hosts and not several else None,
        port=ports[0] if hosts and not several else None,
        database=database,
        query=query,
    )


def _unquoted(text: str | None) -> str | None:
    return unquote(text) if text else None


def _hosts(text: str) -> tuple[list[str], list[int | None]]:
    """Return the hosts and ports of `host:port,host:port`; IPv6 addresses are in brackets."""
    hosts: list[str] = []
    ports: list[int | None] = []
    for place in filter(None, text.split(",")):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", place)
        if match is None:
            raise InvalidArgument("store: expected a host such as db.example.com:5432 in the URL")
        hosts.append(unquote(match[1]).strip("[]"))
        ports.append(int(match[2]) if match[2] else None)
    return hosts, ports


def _check_query(query: Mapping[str, str]) -> None:
    """Raise InvalidArgument for a parameter or value that cannot be honoured."""
    known = _DRIVER | _SETTINGS | _OURS | {"user", "password"}
    for name in query:
        if name not in known:
            names = ", ".join(sorted(known))
            raise InvalidArgument(f"store: unknown parameter {name!r:.60} in the URL; known are {names}")
    if query.get("channel_binding", "prefer") not in {"prefer", "disable"}:
        raise InvalidArgument(
            "store: channel_binding=require is not supported by asyncpg; use sslmode=verify-full instead"
        )
    if query.get("sslmode", "prefer") not in _SSL_MODES:
        raise InvalidArgument(f"store: sslmode: expected one of {', '.join(sorted(_SSL_MODES))}")
    if not re.fullmatch(r"[0-9]{1,6}", query.get("connect_timeout", "0")):
        raise InvalidArgument("store: connect_timeout: expected a whole number of seconds")
    if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", query.get("port", "0")):
        raise InvalidArgument("store: port: expected a number")
    if not query.get("schema", "public").strip():
        raise InvalidArgument("store: schema: expected a name")


def display_name(url: URL) -> str:
    """Return the path of a file, or a server's URL without credentials and parameters."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    hosts = url.host or str(url.query.get("host") or "")
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{hosts}{port}/{url.database or ''}"


def schema_of(url: URL) -> str | None:
    """Return the schema that the URL names for the tables."""
    schema = url.query.get("schema")
    return schema if isinstance(schema, str) else None


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return asyncpg's arguments for the URL's parameters."""
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    arguments: dict[str, Any] = {
        "server_settings": {name: value for name, value in query.items() if name in _SETTINGS},
        # asyncpg reads some of libpq's parameters from a DSN only.
        "dsn": "postgresql:///?" + urlencode({name: query[name] for name in query if name in _DRIVER}),
    }
    if seconds := int(query.get("connect_timeout", 0)):
        arguments["timeout"] = seconds
    if "host" in query:
        arguments["host"] = query["host"].split(",")
    if "port" in query:
        arguments["port"] = [int(port) for port in query["port"].split(",")]
    return arguments
