"""Backends made from sections of the configuration."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from phonesys._validation import suggestion
from phonesys.backends.base import DEFAULT_ACCOUNT
from phonesys.config import oauth
from phonesys.config.accounts import AccountFile
from phonesys.config.described import default_credentials, info_of
from phonesys.config.options import read_common_options, read_options
from phonesys.config.paths import expand
from phonesys.config.section import literal_secrets
from phonesys.config.settings import FILE, read_settings
from phonesys.config.trust import default_url, reject_foreign_urls, require_vendor_host
from phonesys.errors import ConfigError, InvalidArgument, UnknownProvider, UsageError
from phonesys.http.auth import PerAccount
from phonesys.provider import NumberProvider, installed, load
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from phonesys.backends.info import BackendInfo
    from phonesys.config.section import Section
    from phonesys.config.settings import Settings
    from phonesys.http.auth import Auth

_NONE: Mapping[str, Any] = {}


@dataclass
class ConfiguredBackend:
    """A backend, and the accounts to sweep."""

    name: str
    kind: str
    """Name of the entry point, such as `leadconnector`."""
    provider: NumberProvider
    accounts: Collection[str] | AccountFile | None = None
    """None for all that the backend lists by itself."""
    single_account: bool = False
    """True if its key reads one account, whose name is only a label."""
    accounts_problem: str = ""
    """Error to raise if it is swept without accounts on the command line; empty if it has some."""
    base_url: str = ""
    """Address of the vendor, if it is known."""

    @property
    def account_count(self) -> int | None:
        """Number of accounts to sweep, if it is known in advance."""
        return None if self.accounts is None or isinstance(self.accounts, AccountFile) else len(self.accounts)


def load_backends(
    file: Path | None,
    names: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> list[ConfiguredBackend]:
    """Return the backends of these names, or all that are configured.

    `defaults` are values of keys that a section may leave out. `overrides` replace values of a section,
    unless they are None. Both are for backends that have such a key. Raises ConfigError.
    """
    return build_backends(read_settings(file), names, defaults, **overrides)


def build_backends(
    settings: Settings,
    names: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> list[ConfiguredBackend]:
    """Return the backends of these sections, or of all. See `load_backends`."""
    sections = [settings.section(name) for name in dict.fromkeys(names) or settings.sections]
    if not sections:
        variables = ", ".join(default_credentials().values())
        raise ConfigError(
            f"{settings.source}: nothing is configured; write a {FILE} or set {variables} "
            "(`phonesys sweep --sandbox` needs neither)"
        )
    return [build(section, defaults or {}, overrides) for section in sections]


def load_backend(file: Path | None, name: str, **overrides: Any) -> ConfiguredBackend:
    """Return one backend."""
    return load_backends(file, [name], **overrides)[0]


def build(
    section: Section, defaults: Mapping[str, Any] = _NONE, overrides: Mapping[str, Any] = _NONE
) -> ConfiguredBackend:
    """Return the backend of a section; raise ConfigError."""
    kind = section.string("provider") or section.name
    if kind not in installed():
        key = "provider" if "provider" in section.values else ""
        raise ConfigError(
            f"{section.where(key)}: no backend named {kind!r} is installed{suggestion(kind, installed())}"
        )
    factory = _import(section, kind)
    info = info_of(factory)
    if info is None:
        return _build_undescribed(section, kind, factory)
    keywords = {option.keyword for option in info.options}
    chosen = {key: value for key, value in overrides.items() if value is not None}
    values = {**defaults, **section.values, **chosen}
    section.values |= {key: values[key] for key in (*defaults, *chosen) if key in keywords}
    return _build_described(section, kind, factory, info)


# Backends that describe their configuration


def _build_described(
    section: Section, kind: str, factory: Callable[..., Any], info: BackendInfo
) -> ConfiguredBackend:
    one = info.credential
    several = f"{one}s"
    oauth_keys = () if info.oauth is None else (oauth.KEY,)
    credential_key = section.one_of(one, f"{one}_env", several, f"{several}_env", *oauth_keys)
    lists_accounts = not info.one_account or credential_key.startswith(several)
    options = read_options(section, info.options) | read_common_options(section)
    if lists_accounts:
        accounts = _accounts(section)
    else:
        options["account"] = section.string("account") or DEFAULT_ACCOUNT
        accounts = (options["account"],)
    # Before a missing credential is reported, since a misspelt key looks like one.
    section.reject_unknown_keys()
    if not section.trusted and not _is_literal(info, credential_key):
        require_vendor_host(section, factory)
    discovers = [key for key in info.discovery_options if key in options]
    if discovers and credential_key not in {"", one, f"{one}_env"}:
        raise ConfigError(
            f"{section.where(discovers[0])}: expected only beside {one} or {one}_env; "
            f"{credential_key} lists its own accounts"
        )
    auth = _auth(section, info, credential_key)
    if accounts is None:
        accounts = auth.accounts() or None
    provider = _call(section, factory, auth=auth, **options)
    made = ConfiguredBackend(section.name, kind, provider, accounts, not lists_accounts)
    made.base_url = options.get("base_url") or default_url(factory)
    if accounts is None and not (info.lists_accounts or discovers or credential_key == oauth.KEY):
        made.accounts_problem = _accounts_problem(section, info)
    return made


def _is_literal(info: BackendInfo, credential_key: str) -> bool:
    """Return True if the file itself contains the credential. An app stores its tokens elsewhere."""
    return credential_key in {info.credential, f"{info.credential}s"}


def _accounts_problem(section: Section, info: BackendInfo) -> str:
    discovery = "".join(f', or {key} = "…"' for key in info.discovery_options)
    return (
        f"{section.where('accounts')}: a {info.credential} does not say which accounts it opens; "
        f'expected accounts = ["…"] or accounts_file = "…", or --accounts FILE{discovery}'
    )


def _call(section: Section, factory: Callable[..., Any], **options: Any) -> NumberProvider:
    try:
        provider: NumberProvider = factory(name=section.name, **options)
    except InvalidArgument as error:
        raise section.error_from(error) from None
    return provider


def _auth(section: Section, info: BackendInfo, key: str) -> Auth:
    """Return what signs calls: of one credential, of one for each account, or of an app."""
    if key == oauth.KEY and info.oauth is not None:
        return oauth.read_oauth(section, info.oauth)
    if not key:
        return info.make_auth(_from_default_variable(section, info.credential))
    if key.startswith(f"{info.credential}s"):
        return _per_account(section, key, info)
    return info.make_auth(section.secret_from_env(key) if key.endswith("_env") else section.secret(key))


def _per_account(section: Section, key: str, info: BackendInfo) -> PerAccount:
    table = section.table(key, 'a table of one for each account, as in { loc_1 = "…" }')
    assert table is not None  # noqa: S101 -- the caller found the key
    read = table.secret_from_env if key.endswith("_env") else table.secret
    credentials = {account: info.make_auth(read(account)) for account in table.values}
    if not credentials:
        section.fail(key, "at least one account")
    return PerAccount(credentials)


def _from_default_variable(section: Section, key: str) -> Secret:
    variable, value = section.from_environment(key)
    if value is None:
        raise ConfigError(
            f'{section.where()}: expected a credential: {key}_env = "NAME" of an environment variable, '
            f'{key} = "…", or the environment variable {variable}'
        )
    return Secret(value, what=f"environment variable {variable}")


def _accounts(section: Section) -> tuple[str, ...] | AccountFile | None:
    accounts, file = section.strings("accounts"), section.string("accounts_file")
    if accounts is not None and file is not None:
        raise ConfigError(f"{section.where('accounts')}: expected this or accounts_file, and not both")
    if file is None:
        return None if accounts is None else tuple(dict.fromkeys(accounts))
    try:
        return AccountFile(str(section.folder / expand(file, "accounts_file")))
    except UsageError as error:
        raise ConfigError(f"{section.where('accounts_file')}: {error}") from None


# Backends that do not


def _build_undescribed(section: Section, kind: str, factory: Callable[..., Any]) -> ConfiguredBackend:
    """Call an entry point with the section's keys as keywords; `x_env` reads `x` from a variable."""
    accounts = _accounts(section)
    options, secrets = _undescribed_options(section, factory)
    try:
        provider = factory(**options)
    except Exception as error:  # noqa: BLE001 -- third-party code may raise anything
        _fail(section, error, secrets)
    if not isinstance(provider, NumberProvider):
        raise ConfigError(
            f"{section.where()}: {kind!r} makes no backend; expected name, accounts() and page()"
        )
    if provider.name != section.name:
        raise ConfigError(
            f"{section.where()}: this backend calls itself {provider.name!r}; name the section so, "
            f'with provider = "{kind}"'
        )
    return ConfiguredBackend(section.name, kind, provider, accounts)


_RESERVED = {"provider", "accounts", "accounts_file"}


def _undescribed_options(section: Section, factory: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the keyword arguments, and the secrets among their values."""
    if not section.trusted:
        reject_foreign_urls(section)
    parameters, accepts_any = _parameters(factory)
    options: dict[str, Any] = {"name": section.name} if accepts_any or "name" in parameters else {}
    secrets = literal_secrets(section.values)
    for key, value in section.values.items():
        if key in _RESERVED:
            continue
        if key.endswith("_env") and key not in parameters:
            secret = section.secret_from_env(key).reveal()
            options[key.removesuffix("_env")] = secret
            secrets.append(secret)
        else:
            options[key] = value
    section.reject_unknown_keys(
        section.values if accepts_any else (*parameters, *(f"{key}_env" for key in parameters))
    )
    return options, secrets


def _import(section: Section, kind: str) -> Callable[..., Any]:
    try:
        return load(kind)
    except UnknownProvider:
        raise
    except Exception as error:  # noqa: BLE001 -- as above
        _fail(section, error, [])


def _fail(section: Section, error: Exception, secrets: list[str]) -> NoReturn:
    kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
    message = f"{section.where()}: {kind}{error}"
    for secret in filter(None, secrets):
        message = message.replace(secret, "***")
    raise ConfigError(message) from None


def _parameters(factory: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of a factory's parameters, and whether it accepts any others."""
    parameters = inspect.signature(factory).parameters
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return tuple(
        name for name, p in parameters.items() if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}
    ), accepts_any
