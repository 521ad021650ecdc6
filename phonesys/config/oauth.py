"""OAuth of an app as a section of the configuration: `[leadconnector.oauth]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from phonesys.backends.leadconnector.oauth.credential import store_key
from phonesys.config.options import read_options
from phonesys.config.settings import OAUTH
from phonesys.config.store_urls import is_url, redact_password
from phonesys.config.stores import read_store
from phonesys.errors import ConfigError, InvalidArgument
from phonesys.oauth import FileTokenStore

if TYPE_CHECKING:
    from phonesys.backends.info import OAuthInfo
    from phonesys.config.section import Section
    from phonesys.http.auth import Auth
    from phonesys.oauth.store import ForgetsAll
    from phonesys.secret import Secret

KEY = OAUTH
DEFAULT_STORE = "~/.phonesys/tokens.json"
"""File of the tokens, also of `phonesys auth login`, unless another is configured."""
STORE_VARIABLE = "PHONESYS_TOKEN_STORE"
"""Environment variable that replaces the default file."""

_SECRET_KEYS = ("client_secret", "client_secret_env")
_STORE_KEY = "store_key_env"


def read_oauth(section: Section, info: OAuthInfo) -> Auth:
    """Return what signs calls for the app; raise ConfigError."""
    table = section.table(KEY, f"a table, as in [{section.name}.{KEY}]")
    assert table is not None  # noqa: S101 -- the caller found the key
    secret_key, encrypted = table.one_of(*_SECRET_KEYS), _STORE_KEY in table
    client_id, store = table.string("client_id"), _read_token_store(table)
    options = read_options(table, info.options)
    # Before missing keys are reported, since a misspelt one looks like a missing one.
    table.reject_unknown_keys()
    if client_id is None:
        raise ConfigError(f"{table.where('client_id')}: expected the app's client id")
    if not secret_key:
        raise ConfigError(
            f'{table.where()}: expected client_secret_env = "NAME" of an environment variable, '
            'or client_secret = "…"'
        )
    tokens = open_token_store(
        store,
        table.secret_from_env(_STORE_KEY) if encrypted else None,
        store_name=table.where("store"),
        key_name=table.where(_STORE_KEY),
    )
    secret = table.secret_from_env(secret_key) if secret_key.endswith("_env") else table.secret(secret_key)
    try:
        return info.make_auth(client_id=client_id, client_secret=secret, store=tokens, **options)
    except InvalidArgument as error:
        raise table.error_from(error) from None


def _read_token_store(table: Section) -> str:
    configured = read_store(table, "tokens")
    return table.token_store or configured or table.env.get(STORE_VARIABLE) or DEFAULT_STORE


class AppSubject(NamedTuple):
    """An agency or a location that authorized a configured app, and the store of its token."""

    backend: str
    subject: str
    key: str
    store: ForgetsAll
    path: str


def read_subjects(section: Section) -> list[AppSubject]:
    """Return the agency or the locations of an app; nothing for a section without `oauth`."""
    if KEY not in section.values:
        return []
    table = section.table(KEY, f"a table, as in [{section.name}.{KEY}]")
    assert table is not None  # noqa: S101 -- it is in the section
    client_id, company_id = table.string("client_id") or "", table.string("company_id")
    subjects = (
        [f"location/{id_}" for id_ in table.strings("location_ids") or ()]
        if company_id is None
        else [f"company/{company_id}"]
    )
    store = _read_token_store(table)
    tokens = open_token_store(
        store,
        table.secret_from_env(_STORE_KEY) if _STORE_KEY in table else None,
        store_name=table.where("store"),
        key_name=table.where(_STORE_KEY),
    )
    shown = redact_password(store)
    return [AppSubject(section.name, one, store_key(client_id, one), tokens, shown) for one in subjects]


def open_token_store(where: str, key: Secret | str | None, *, store_name: str, key_name: str) -> ForgetsAll:
    """Return a store, without touching its file or database yet.

    Raises ConfigError with the name of the option that holds a bad path or key.
    """
    try:
        if is_url(where):
            from phonesys.inventory.token_store import SqlTokenStore  # needs an extra

            return SqlTokenStore(where, key=key)
        return FileTokenStore(where, key=key)
    except ConfigError as error:
        reason = str(error).removeprefix("token store: ").removeprefix("key= ")
        raise ConfigError(f"{key_name}: {reason}") from None
    except (RuntimeError, OSError) as error:  # an unknown home directory, or a circle of links
        raise ConfigError(f"{store_name}: {error}") from None
