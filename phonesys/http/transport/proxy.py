"""Proxies: the one of the options, or the one that the environment names for https."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from yarl import URL

from phonesys.errors import InvalidArgument
from phonesys.http.validation import is_loopback, validate_proxy

if TYPE_CHECKING:
    from phonesys.http.options import HttpOptions


# Without the settings of the operating system, which `proxy_bypass` adds on some; typeshed lacks it.
_bypasses_proxy = vars(urllib.request)["proxy_bypass_environment"]


def proxy_for(base_url: str, options: HttpOptions) -> str | None:
    """Return the proxy for requests to this address, if there is one.

    The environment is asked for `HTTPS_PROXY` and `NO_PROXY` only, and never for loopback: aiohttp's own
    `trust_env` would read credentials from `.netrc` as well.
    """
    if options.proxy is not None or not options.trust_env:
        return options.proxy
    url = URL(base_url)
    host = url.host or ""
    proxy = urllib.request.getproxies_environment().get("https")
    if not proxy or url.scheme != "https" or is_loopback(host) or _bypasses_proxy(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        validate_proxy(proxy)
    except InvalidArgument as error:
        raise InvalidArgument(f"HTTPS_PROXY: {error}, or HttpOptions(trust_env=False)") from None
    return proxy
