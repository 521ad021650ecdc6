"""The system of a configuration file, as the command line makes it in every worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phonesys.config import build_backends, read_settings
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Sequence


def load_system(
    config: str | None = None,
    names: Sequence[str] = (),
    with_pools: bool | None = None,
    token_store: str | None = None,
) -> PhoneSystem:
    """Make a system of the backends in a configuration, by default the worker's own.

    - `config`: a path on the worker. By default PHONESYS_CONFIG, or `phonesys.toml` in its directory.
    - `names`: only these backends.
    - `token_store`: where the tokens of apps are, instead of the place that is configured.
    """
    settings = read_settings(None if config is None else Path(config), token_store=token_store)
    found = build_backends(settings, names, with_pools=with_pools)
    system = PhoneSystem(*(one.provider for one in found))
    system.configured_accounts = {one.name: one.accounts for one in found if one.accounts is not None}
    return system
