"""An app's OAuth as a section of the configuration: `[leadconnector.oauth]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken
from phonesys.errors import ConfigError, InvalidArgument
from phonesys.http.auth import PerAccount
from phonesys.oauth import FileTokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.cli.config.section import Section
    from phonesys.http.auth import Auth
    from phonesys.secret import Secret

KEY = "oauth"
STORE = "~/.phonesys/tokens.json"
"""Where tokens are unless somebody says otherwise, here and to `phonesys auth login`."""

_SECRET = ("client_secret", "client_secret_env")
_OF = ("company_id", "location_ids")
_STORE_KEY = "store_key_env"


def credentials(section: Section) -> tuple[Auth, tuple[str, ...] | None]:
    """Make what signs for the app, and name the locations that let it in one by one, if that is how it is.

    Raises ConfigError.
    """
    table = section.table(KEY, f"a table, as in [{section.name}.{KEY}]")
    assert table is not None  # noqa: S101 -- the caller found the key
    secret, of, encrypted = table.only(*_SECRET), table.only(*_OF), _STORE_KEY in table
    client_id, store = table.text("client_id"), table.text("store")
    app_id = None if of == "location_ids" else table.text("app_id")
    # Before anything is missed, which a typo may hide.
    table.finish()
    if client_id is None:
        raise ConfigError(f"{table.where('client_id')}: expected the app's client id")
    if not secret:
        raise ConfigError(
            f'{table.where()}: expected client_secret_env = "NAME" of an environment variable, '
            'or client_secret = "…"'
        )
    if not of:
        raise ConfigError(
            f'{table.where()}: expected company_id = "…" of the agency that let the app in, '
            'or location_ids = ["…"]; `phonesys auth login` shows it'
        )
    tokens = token_store(
        Path(STORE if store is None else store),
        table.secret_from_env(_STORE_KEY) if encrypted else None,
        folder=table.folder,
        said=table.where("store"),
        key_said=table.where(_STORE_KEY),
    )
    hidden = table.secret_from_env(secret) if secret.endswith("_env") else table.secret(secret)
    try:
        if of == "company_id":
            company_id = table.text(of) or ""
            return AgencyTokens(client_id, hidden, company_id=company_id, store=tokens, app_id=app_id), None
        single = {id_: OAuthToken(client_id, hidden, location_id=id_, store=tokens) for id_ in _ids(table)}
        return PerAccount(single), tuple(single)
    except InvalidArgument as mistake:
        raise table.refused(mistake) from None


def _ids(table: Section) -> Iterator[str]:
    ids = table.texts("location_ids")
    if not ids:
        table.wrong("location_ids", "at least one location")
    yield from ids


def token_store(
    path: Path, key: Secret | str | None, *, folder: Path = Path(), said: str, key_said: str
) -> FileTokenStore:
    """Prepare a store, without touching it yet; a relative path is one in `folder`.

    Raises ConfigError, which says who named the path or the key that is none.
    """
    try:
        return FileTokenStore(folder / path.expanduser(), key=key)
    except ConfigError as mistake:
        reason = str(mistake).removeprefix("token store: ").removeprefix("key= ")
        raise ConfigError(f"{key_said}: {reason}") from None
    except (RuntimeError, OSError) as failure:  # nobody's home, or links that go round in circles
        raise ConfigError(f"{said}: {failure}") from None
