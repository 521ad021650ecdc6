"""`phonesys auth`: authorize a LeadConnector app and store its tokens."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import ConfigOptions, LogOptions, RowOptions, expand_groups
from phonesys.cli.options import SOURCE, BackendsOption, refuse_password
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.startup import prompting
from phonesys.cli.terminal import confirm, print_error, print_info
from phonesys.config.oauth import (
    DEFAULT_STORE,
    KEY,
    STORE_VARIABLE,
    AppSubject,
    open_token_store,
    read_subjects,
)
from phonesys.config.store_urls import has_password, is_url, redact_password
from phonesys.errors import ConfigError, UsageError
from phonesys.http.auth import RenewableAuth
from phonesys.http.validation import validate_base_url

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from phonesys.config import ConfiguredBackend
    from phonesys.oauth import Token
    from phonesys.secret import Secret

SECRET_VARIABLE = "PHONESYS_CLIENT_SECRET"  # noqa: S105 -- the name of a variable
KEY_VARIABLE = "PHONESYS_STORE_KEY"
_VENDOR = "https://services.leadconnectorhq.com"
_MARKETPLACE = "https://marketplace.gohighlevel.com"
_VERSION = "2021-07-28"
_REDIRECT = "http://localhost:8734/callback"
_HOUR = 3600.0
_APP = "App"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


class ConsentLevel(StrEnum):
    """Level at which a person authorizes the app."""

    COMPANY = "company"
    LOCATION = "location"


@app.callback()
def auth() -> None:
    """Authorize an app of yours with LeadConnector."""


class TokenRow(msgspec.Struct, frozen=True):
    """One token of an app. It holds no secret."""

    backend: str
    subject: str
    """The agency or location that authorized the app."""
    state: str
    """`valid`, `renewable`, `expired` or `missing`."""
    expires_at: datetime | None
    scopes: tuple[str, ...]
    store: str


@app.command()
@expand_groups
def status(*, origin: ConfigOptions, rows: RowOptions, log: LogOptions) -> None:
    """Show the tokens of configured apps: for whom, until when, and with which scopes.

    Nothing is sent. The status is 1 if a login is needed.
    """

    async def main() -> int:
        rows.check(TokenRow)
        settings = origin.read()
        apps = [one for name in settings.sections for one in read_subjects(settings.section(name))]
        if not apps:
            raise UsageError(f"{settings.source}: no backend has an [….oauth] table")
        return await _show(apps, rows)

    log.run(main)


async def _show(apps: list[AppSubject], rows: RowOptions) -> int:
    found = [_token_row(one, await one.store.load(one.key)) for one in apps]
    await rows.write(TokenRow, found, table=_table)
    return FAILED if any(row.state in {"missing", "expired"} for row in found) else DONE


def _token_row(app: AppSubject, token: Token | None) -> TokenRow:
    if token is None:
        return TokenRow(app.backend, app.subject, "missing", None, (), (app.path))
    is_valid = token.expires_at is None or time.time() < token.expires_at
    state = "valid" if is_valid else "expired" if token.refresh is None else "renewable"
    expires = None if token.expires_at is None else datetime.fromtimestamp(token.expires_at, UTC)
    return TokenRow(app.backend, app.subject, state, expires, tuple(token.scope.split()), (app.path))


def _table(found: list[TokenRow]) -> ColumnTable:
    return ColumnTable(
        {
            "backend": [row.backend for row in found],
            "subject": [row.subject for row in found],
            "state": [row.state for row in found],
            "expires_at": [f"{row.expires_at:%Y-%m-%d %H:%M}Z" if row.expires_at else "" for row in found],
            "scopes": [" ".join(row.scopes) for row in found],
        }
    )


@app.command()
@expand_groups
def warm(
    *,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    hours: Annotated[
        float, typer.Option(min=0, metavar="N", help="Renew tokens that are not valid for so many hours.")
    ] = 12.0,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Most concurrent requests.")] = 64,
    log: LogOptions,
) -> None:
    """Renew the tokens that the next sweep will need, so that it does not wait for them.

    Exchanges of location tokens share a window of 100 per 10 seconds in a company. Run this at night.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        backends = origin.load_backends(backend or _app_names(origin))
        return _warm(backends, hours * _HOUR, concurrency)

    log.run(prepare)


def _app_names(origin: ConfigOptions) -> list[str]:
    settings = origin.read()
    names = [name for name, values in settings.sections.items() if KEY in values]
    if not names:
        raise UsageError(f"{settings.source}: no backend has an [….oauth] table")
    return names


async def _warm(backends: list[ConfiguredBackend], valid_for: float, concurrency: int) -> int:
    from phonesys.cli.warming import WarmCounts, warm

    counts = WarmCounts()
    for one in backends:
        auth = getattr(getattr(one.provider, "http", None), "auth", None)
        if not isinstance(auth, RenewableAuth):
            raise UsageError(f"backend {one.name!r} has no tokens that can be renewed")
        await warm(one, auth, valid_for=valid_for, concurrency=concurrency, counts=counts)
    print_info(
        f"{pluralize(counts.renewed, 'token')} renewed, {counts.fresh:,} valid for longer, "
        f"{counts.failed:,} failed"
    )
    return FAILED if counts.failed else DONE


@app.command()
@expand_groups
def logout(
    *,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    log: LogOptions,
) -> None:
    """Delete the stored tokens of configured apps, those of their locations included.

    The vendor documents no way to revoke a token. One that was copied works until it expires.
    """

    def prepare() -> Coroutine[Any, Any, int] | int:
        settings = origin.read()
        names = backend or _app_names(origin)
        apps = [one for name in names for one in read_subjects(settings.section(name))]
        shown = ", ".join(dict.fromkeys(f"{one.backend} ({one.subject})" for one in apps))
        if not yes and not confirm(f"Delete the tokens of {shown}?"):
            print_error("nothing was deleted")
            return FAILED
        return _log_out(apps)

    log.run(prepare)


async def _log_out(apps: list[AppSubject]) -> int:
    for one in apps:
        prefix = one.key.removesuffix(one.subject)
        is_company = one.subject.startswith("company/")
        deleted = await one.store.forget_all(one.key)
        deleted += await one.store.forget_all(f"{prefix}location/") if is_company else 0
        print_info(f"{one.backend}: {pluralize(deleted, 'token')} deleted from {one.path}")
    print_info("the vendor documents no way to revoke tokens: to end the consent, uninstall the app there")
    return DONE


@app.command()
@expand_groups
def login(
    *,
    client_id: Annotated[str, typer.Option(metavar="ID", help="The app's client id.", rich_help_panel=_APP)],
    token_store: Annotated[
        str,
        typer.Option(
            metavar="FILE|URL",
            envvar=STORE_VARIABLE,
            help=f"File or database for tokens; encrypted if {KEY_VARIABLE} is set.",
            callback=refuse_password,
            rich_help_panel=SOURCE,
        ),
    ] = DEFAULT_STORE,
    level: Annotated[
        ConsentLevel,
        typer.Option(
            "--for",
            metavar="LEVEL",
            help="Authorize for a company, which is an agency, or a location.",
            rich_help_panel=_APP,
        ),
    ] = ConsentLevel.COMPANY,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Scope to request. May be repeated. By default, those for listing numbers.",
            rich_help_panel=_APP,
        ),
    ] = None,
    redirect_uri: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Address on this machine, registered with the app.", rich_help_panel=_APP
        ),
    ] = _REDIRECT,
    browser: Annotated[bool, typer.Option(help="Open a browser, or only print the address.")] = True,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Time to wait for consent.")
    ] = 300.0,
    base_url: Annotated[str, typer.Option(metavar="URL", hidden=True)] = _VENDOR,
    marketplace_url: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Marketplace, or the host of a white-label agency.", rich_help_panel=_APP
        ),
    ] = _MARKETPLACE,
    api_version: Annotated[
        str,
        typer.Option(
            metavar="VERSION", help="Version of the OAuth API: 2021-07-28 or v3.", rich_help_panel=_APP
        ),
    ] = _VERSION,
    log: LogOptions,
) -> None:
    """Authorize an app in a browser, and store its token.

    The client secret comes from PHONESYS_CLIENT_SECRET, or from a prompt.

    Prints the lines for phonesys.toml.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        validate_base_url(base_url)  # after the consent would be too late
        key = os.environ.get(KEY_VARIABLE) or None
        tokens = open_token_store(token_store, key, store_name="--token-store", key_name=KEY_VARIABLE)
        secret = _client_secret()

        async def main() -> int:
            from phonesys.backends.leadconnector.oauth import login as authorize

            await tokens.load(client_id)  # reports a bad store before the person consents
            token = await authorize(
                client_id,
                secret,
                store=tokens,
                scopes=scope,
                redirect_uri=redirect_uri,
                user_type="Company" if level is ConsentLevel.COMPANY else "Location",
                show=_open_browser if browser else _print_address,
                timeout=timeout,
                base_url=base_url,
                marketplace_url=marketplace_url,
                version=api_version,
            )
            print_info(f"the token of {token.subject} is in {redact_password(token_store)}")
            print_info(f"for phonesys.toml, with the client secret in {SECRET_VARIABLE}:")
            print_info("")
            url = None if base_url == _VENDOR else base_url
            version = None if api_version == _VERSION else api_version
            _write_stdout(
                configuration(
                    client_id, token.subject, token_store, encrypted=key is not None, url=url, version=version
                )
            )
            return DONE

        return main()

    log.run(prepare)


def _client_secret() -> Secret:
    from phonesys.secret import Secret

    secret = os.environ.get(SECRET_VARIABLE)
    if not secret and not sys.stdin.isatty():
        raise ConfigError(
            f"client secret: expected {SECRET_VARIABLE}, since there is no terminal for a prompt"
        )
    if not secret:
        with prompting():
            secret = typer.prompt("client secret", hide_input=True, err=True)
    return Secret(secret, what="client secret")


def configuration(
    client_id: str,
    subject: str,
    store: str,
    *,
    encrypted: bool,
    url: str | None,
    version: str | None = None,
) -> str:
    """Return a configuration that finds the token; secrets stay in their variables."""
    kind, _, id_ = subject.partition("/")
    lines = [] if url is None else ["[leadconnector]", f"base_url = {_toml(url)}", ""]
    lines += [
        "[leadconnector.oauth]",
        f"client_id = {_toml(client_id)}",
        f"client_secret_env = {_toml(SECRET_VARIABLE)}",
        f"company_id = {_toml(id_)}" if kind == "company" else f"location_ids = [{_toml(id_)}]",
        _store_line(store),
    ]
    if version is not None:
        lines.append(f"version = {_toml(version)}")
    if encrypted:
        lines.append(f"store_key_env = {_toml(KEY_VARIABLE)}")
    return "\n".join([*lines, ""])


def _store_line(store: str) -> str:
    """Return the line that names the store; a password stays in its variable."""
    if has_password(store):
        return f"store_env = {_toml(STORE_VARIABLE)}"
    as_written = is_url(store) or store.startswith("~")
    return f"store = {_toml(store if as_written else str(Path(store).absolute()))}"


def _toml(text: str) -> str:
    # TOML's strings are JSON's, except for one character that neither shows.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def _write_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_address(address: str) -> None:
    print_info("open this in a browser on this machine:")
    print_info(address)


def _open_browser(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        _print_address(address)
