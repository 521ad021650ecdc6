"""From a section of the configuration to a backend that is ready to be opened."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from phonesys.backends.base import DEFAULT_ACCOUNT
from phonesys.cli.accounts import AccountLines
from phonesys.cli.config import oauth
from phonesys.cli.config.section import literal_secrets, nearest_or_all
from phonesys.errors import ConfigError, InvalidArgument, UnknownProvider, UsageError
from phonesys.http.auth import ApiKey, Bearer, PerAccount
from phonesys.http.options import HttpOptions
from phonesys.http.ratelimit.window import RateLimit
from phonesys.http.validation import validate_base_url
from phonesys.provider import NumberProvider, installed, load
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from phonesys.cli.config.section import Section
    from phonesys.http.auth import Auth


@dataclass
class Configured:
    """A backend that is ready, and the accounts to sweep."""

    name: str
    backend: str
    """Under which name it is installed."""
    provider: NumberProvider
    accounts: Collection[str] | AccountLines | None = None
    """None for all that the backend lists by itself."""
    one_account: bool = False
    """Whether its key reads one account, whatever that is called."""
    unknown_accounts: str = ""
    """Why it cannot be swept until accounts are named; empty if it can."""

    @property
    def known(self) -> int | None:
        """How many accounts there are to sweep, where that is known."""
        return (
            None if self.accounts is None or isinstance(self.accounts, AccountLines) else len(self.accounts)
        )


@dataclass(frozen=True)
class BackendSpec:
    """What can be configured on one of our own backends."""

    credential: str
    sign: Callable[[Secret], Auth]
    others: tuple[str, ...] = ()
    """Keys that stand for a credential of another kind."""
    texts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    wholes: tuple[str, ...] = ("page_size",)


BACKEND_SPECS = {
    "leadconnector": BackendSpec(
        "token",
        Bearer,
        others=(oauth.KEY,),
        texts=("version", "company_id"),
        flags=("include_pooled", "with_pools", "include_rcs_senders"),
        wholes=("page_size", "speculate"),
    ),
    "leadping": BackendSpec("api_key", Bearer),
    "agents": BackendSpec("api_key", ApiKey, texts=("status",)),
}
_SEVERAL_ACCOUNTS = "leadconnector"


def build(section: Section) -> Configured:
    """Make the backend of a section; raises ConfigError."""
    backend = section.text("backend") or section.name
    if backend not in installed():
        key = "backend" if "backend" in section.values else ""
        raise ConfigError(
            f"{section.where(key)}: no backend named {backend!r} is installed"
            f"{nearest_or_all(backend, installed())}"
        )
    known = BACKEND_SPECS.get(backend)
    return _foreign(section, backend) if known is None else _own(section, backend, known)


# Our own backends


def _own(section: Section, backend: str, known: BackendSpec) -> Configured:
    one = known.credential
    way = section.only(one, f"{one}_env", f"{one}s", f"{one}s_env", *known.others)
    several = backend == _SEVERAL_ACCOUNTS or way.startswith(f"{one}s")
    options = _options(section, known)
    if several:
        accounts = _accounts(section)
    else:
        options["account"] = section.text("account") or DEFAULT_ACCOUNT
        accounts = (options["account"],)
    # Before the credential is looked for, which a typo may hide.
    section.finish()
    auth, named = _auth(section, known, way)
    if "company_id" in options and way not in {"", one, f"{one}_env"}:
        raise ConfigError(
            f"{section.where('company_id')}: expected only beside {one} or {one}_env, of an agency; "
            f"{way} says by itself what it is for"
        )
    provider = _made(section, backend, auth=auth, **options)
    made = Configured(section.name, backend, provider, named if accounts is None else accounts, not several)
    asks = way == oauth.KEY or "company_id" in options
    if accounts is None and named is None and not asks:
        made.unknown_accounts = (
            f"{section.where('accounts')}: a token does not say which locations it opens; "
            f'expected accounts = ["…"] or accounts_file = "…", or --accounts FILE, '
            f'or the company_id = "…" of an agency\'s token'
        )
    return made


def _options(section: Section, known: BackendSpec) -> dict[str, Any]:
    options: dict[str, Any] = {key: section.text(key) for key in known.texts if key in section}
    options |= {key: section.flag(key) for key in known.flags if key in section}
    options |= {key: section.whole(key) for key in known.wholes if key in section}
    return options | _limit(section) | _http(section) | _base_url(section)


def _made(section: Section, backend: str, **options: Any) -> NumberProvider:
    try:
        return load(backend)(name=section.name, **options)
    except InvalidArgument as mistake:
        raise section.refused(mistake) from None


def _auth(section: Section, known: BackendSpec, way: str) -> tuple[Auth, tuple[str, ...] | None]:
    """Read the credential, or the credentials and the accounts that they are for."""
    if way == oauth.KEY:
        return oauth.credentials(section)
    if not way:
        return known.sign(_from_default_variable(section, known.credential)), None
    if way.startswith(f"{known.credential}s"):
        return _per_account(section, way, known)
    return known.sign(section.secret_from_env(way) if way.endswith("_env") else section.secret(way)), None


def _per_account(section: Section, way: str, known: BackendSpec) -> tuple[Auth, tuple[str, ...]]:
    table = section.table(way, 'a table of one for each account, as in { loc_1 = "…" }')
    assert table is not None  # noqa: S101 -- the caller found the key
    read = table.secret_from_env if way.endswith("_env") else table.secret
    credentials = {account: known.sign(read(account)) for account in table.values}
    if not credentials:
        section.wrong(way, "at least one account")
    return PerAccount(credentials), tuple(credentials)


def _from_default_variable(section: Section, key: str) -> Secret:
    variable, value = section.default(key)
    if value is None:
        raise ConfigError(
            f'{section.where()}: expected a credential: {key}_env = "NAME" of an environment variable, '
            f'{key} = "…", or the environment variable {variable}'
        )
    return Secret(value, what=f"environment variable {variable}")


def _base_url(section: Section) -> dict[str, Any]:
    url, where = section.text("base_url"), section.where("base_url")
    if url is None:
        where, url = section.default("base_url")
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
    requests, per = table.whole("requests"), table.number("per")
    table.finish()
    if requests is None or per is None or requests < 1 or not 0 < per < float("inf"):
        section.wrong("limit", "at least 1 request per a positive number of seconds")
    return {"limit": RateLimit(requests, per)}


_SECONDS = ("timeout", "connect_timeout", "read_timeout", "deadline")


def _http(section: Section) -> dict[str, Any]:
    table = section.table("http", "a table, such as { timeout = 30 }")
    if table is None:
        return {}
    options: dict[str, Any] = {
        key: None if _is_off(table, key) else table.number(key) for key in _SECONDS if key in table
    }
    options |= {key: table.number(key) for key in ("backoff", "backoff_cap") if key in table}
    options |= {key: table.whole(key) for key in ("retries", "max_body", "connections") if key in table}
    table.finish()
    try:
        return {"http": HttpOptions(**options)}
    except InvalidArgument as mistake:
        raise ConfigError(table.where(str(mistake).removeprefix("HttpOptions."))) from None


def _is_off(section: Section, key: str) -> bool:
    """TOML has no null; `false` says that there is no bound."""
    return section.values.get(key) is False and key in section


def _accounts(section: Section) -> tuple[str, ...] | AccountLines | None:
    accounts, file = section.texts("accounts"), section.text("accounts_file")
    if accounts is not None and file is not None:
        raise ConfigError(f"{section.where('accounts')}: expected this or accounts_file, and not both")
    if file is None:
        return None if accounts is None else tuple(dict.fromkeys(accounts))
    try:
        return AccountLines(str(section.folder / file))
    except UsageError as mistake:
        raise ConfigError(f"{section.where('accounts_file')}: {mistake}") from None


# Other people's backends


def _foreign(section: Section, backend: str) -> Configured:
    """Call what the entry point names with the section's other keys; `x_env` reads `x` from a variable."""
    accounts = _accounts(section)
    factory = _loaded(section, backend)
    options, hidden = _foreign_options(section, factory)
    try:
        provider = factory(**options)
    except Exception as failure:  # noqa: BLE001 -- whatever other people's code raises
        _refused(section, failure, hidden)
    if not isinstance(provider, NumberProvider):
        raise ConfigError(
            f"{section.where()}: {backend!r} makes no backend; expected name, accounts() and page()"
        )
    if provider.name != section.name:
        raise ConfigError(
            f"{section.where()}: this backend calls itself {provider.name!r}; name the section so, "
            f'with backend = "{backend}"'
        )
    return Configured(section.name, backend, provider, accounts)


_OURS = {"backend", "accounts", "accounts_file"}


def _foreign_options(section: Section, factory: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """Read the keyword arguments, and which of their values must never be shown."""
    taken, takes_any = _parameters(factory)
    options: dict[str, Any] = {"name": section.name} if takes_any or "name" in taken else {}
    hidden = literal_secrets(section.values)
    for key, value in section.values.items():
        if key in _OURS:
            continue
        if key.endswith("_env") and key not in taken:
            secret = section.secret_from_env(key).reveal()
            options[key.removesuffix("_env")] = secret
            hidden.append(secret)
        else:
            options[key] = value
    section.finish(section.values if takes_any else (*taken, *(f"{key}_env" for key in taken)))
    return options, hidden


def _loaded(section: Section, backend: str) -> Callable[..., NumberProvider]:
    try:
        return load(backend)
    except UnknownProvider:
        raise
    except Exception as failure:  # noqa: BLE001 -- as above
        _refused(section, failure, [])


def _refused(section: Section, failure: Exception, hidden: list[str]) -> NoReturn:
    kind = "" if isinstance(failure, TypeError | ValueError) else f"{type(failure).__name__}: "
    message = f"{section.where()}: {kind}{failure}"
    for secret in filter(None, hidden):
        message = message.replace(secret, "***")
    raise ConfigError(message) from None


def _parameters(factory: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """List what a factory takes by name, and whether it takes anything else."""
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return tuple(
        name for name, p in parameters.items() if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}
    ), takes_any
