"""Description of a backend for configuration: credential, options, OAuth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http.auth import Auth
    from phonesys.secret import Secret


@dataclass(frozen=True)
class BackendOption:
    """A keyword of a backend's constructor that a configuration may set."""

    keyword: str
    type: type[str | bool | int | tuple[str, ...]]
    help: str


@dataclass(frozen=True)
class OAuthInfo:
    """An app's OAuth, which `[name.oauth]` configures."""

    make_auth: Callable[..., Auth]
    """Called with `client_id`, `client_secret`, `store` and the options that were given, by keyword.

    Raises InvalidArgument for options that do not fit together; the message begins with the option's name.
    """
    options: tuple[BackendOption, ...]
    scopes: tuple[str, ...] = ()
    """Scopes that reading needs."""


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """Configuration of a backend: the class attribute `info`.

    Optional. A class that has it also takes the keywords `auth`, `base_url`, `limit`, `http` and `name`, as
    HttpBackend does, and `account` where one credential reads one account. Any other backend is called with
    the keys of its section.
    """

    credential: str
    """The constructor's keyword for the credential, such as `api_key`."""
    make_auth: Callable[[Secret], Auth]
    """Make an `auth` of one credential, so that several accounts can have one each."""
    options: tuple[BackendOption, ...] = ()
    one_account: bool = True
    """True if a credential opens one account, whose name the configuration may choose.

    Otherwise the configuration lists the accounts, or the backend does.
    """
    lists_accounts: bool = False
    """True if a single credential can list its accounts without any option."""
    discovery_options: tuple[str, ...] = ()
    """Options with which a single credential can list its accounts."""
    oauth: OAuthInfo | None = None
