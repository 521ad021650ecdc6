"""`phonesys auth`: coming by the tokens of a LeadConnector app."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from phonesys.cli.config.oauth import STORE, token_store
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import say
from phonesys.http.validation import validate_base_url

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from phonesys.secret import Secret

SECRET_VARIABLE = "PHONESYS_CLIENT_SECRET"  # noqa: S105 -- where it is, not what it is
KEY_VARIABLE = "PHONESYS_STORE_KEY"
_VENDOR = "https://services.leadconnectorhq.com"
_MARKETPLACE = "https://marketplace.gohighlevel.com"
_REDIRECT = "http://localhost:8734/callback"

app = typer.Typer(help="Let an app of yours into LeadConnector.", no_args_is_help=True)


class Who(StrEnum):
    """Whose consent is asked for."""

    COMPANY = "company"
    LOCATION = "location"


@app.callback()
def auth() -> None:
    """Let an app of yours into LeadConnector."""


@app.command()
def login(
    *,
    client_id: Annotated[str, typer.Option(metavar="ID", help="The app's client id.")],
    store: Annotated[
        Path, typer.Option(metavar="FILE", help=f"Where tokens are kept; encrypted if {KEY_VARIABLE} is set.")
    ] = Path(STORE),
    who: Annotated[Who, typer.Option("--for", help="Whose consent to ask for.")] = Who.COMPANY,
    scope: Annotated[
        list[str] | None, typer.Option(help="What to ask for, once for each; listing numbers by default.")
    ] = None,
    redirect_uri: Annotated[
        str, typer.Option(metavar="URL", help="On this machine, and registered with the app.")
    ] = _REDIRECT,
    browser: Annotated[bool, typer.Option(help="Open a browser, or only show the address.")] = True,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to wait.")] = 300.0,
    base_url: Annotated[str, typer.Option(hidden=True)] = _VENDOR,
    marketplace_url: Annotated[str, typer.Option(hidden=True)] = _MARKETPLACE,
) -> None:
    """Walk through consent in a browser, and keep the token that comes of it.

    The client secret is taken from PHONESYS_CLIENT_SECRET, or asked for.

    Prints the lines that belong in phonesys.toml.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        validate_base_url(base_url)  # which would be too late once somebody has consented
        key = os.environ.get(KEY_VARIABLE) or None
        made = token_store(store, key, said="--store", key_said=KEY_VARIABLE)
        secret = _client_secret()

        async def rest() -> int:
            from phonesys.backends.leadconnector.oauth import login as walk_through
            from phonesys.backends.leadconnector.oauth.login import SCOPES

            await made.load(client_id)  # what is wrong with the store, before anybody is asked to consent
            token = await walk_through(
                client_id,
                secret,
                store=made,
                scopes=scope or SCOPES,
                redirect_uri=redirect_uri,
                user_type="Company" if who is Who.COMPANY else "Location",
                show=_opened if browser else _shown,
                timeout=timeout,
                base_url=base_url,
                marketplace_url=marketplace_url,
            )
            say(f"the token of {token.subject} is in {store}")
            say(f"for phonesys.toml, with the client secret in {SECRET_VARIABLE}:")
            say("")
            elsewhere = None if base_url == _VENDOR else base_url
            _print(configuration(client_id, token.subject, store, encrypted=key is not None, url=elsewhere))
            return DONE

        return rest()

    run(prepare)


def _client_secret() -> Secret:
    from phonesys.secret import Secret

    given = os.environ.get(SECRET_VARIABLE)
    return Secret(given or typer.prompt("client secret", hide_input=True, err=True), what="client secret")


def configuration(client_id: str, holder: str, store: Path, *, encrypted: bool, url: str | None) -> str:
    """Write a configuration that finds the token; secrets stay in their variables."""
    kind, _, id_ = holder.partition("/")
    path = str(store) if str(store).startswith("~") else str(store.absolute())
    lines = [] if url is None else ["[leadconnector]", f"base_url = {_toml(url)}", ""]
    lines += [
        "[leadconnector.oauth]",
        f"client_id = {_toml(client_id)}",
        f"client_secret_env = {_toml(SECRET_VARIABLE)}",
        f"company_id = {_toml(id_)}" if kind == "company" else f"location_ids = [{_toml(id_)}]",
        f"store = {_toml(path)}",
    ]
    if encrypted:
        lines.append(f"store_key_env = {_toml(KEY_VARIABLE)}")
    return "\n".join([*lines, ""])


def _toml(text: str) -> str:
    # TOML's strings are JSON's, except for one character that neither shows.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _shown(address: str) -> None:
    say("open this in a browser on this machine:")
    say(address)


def _opened(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        _shown(address)
