"""Completion of values in the shell: backends, columns, statuses and rules."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer  # noqa: TC002 -- typer reads the annotations

from phonesys.errors import PhonesysError
from phonesys.model import NumberStatus

if TYPE_CHECKING:
    from collections.abc import Iterable


def complete_backend(context: typer.Context, incomplete: str) -> list[str]:
    """Return the backends of the configuration, and those that are installed."""
    from phonesys.config import read_settings
    from phonesys.provider import installed

    names = dict.fromkeys(installed())
    # A configuration that cannot be read is reported by the command, not while its name is typed.
    with suppress(PhonesysError, OSError):
        names = {**dict.fromkeys(read_settings(context.params.get("config")).sections), **names}
    return _beginning(names, incomplete)


def complete_columns(context: typer.Context, incomplete: str) -> list[str]:
    """Return the command's columns that are not named yet, after those that are."""
    from phonesys.cli.schemas import field_names

    named, comma, last = incomplete.rpartition(",")
    others = [name for name in field_names(context.info_name or "") if name not in named.split(",")]
    return [f"{named}{comma}{name}" for name in _beginning(others, last)]


def complete_status(incomplete: str) -> list[str]:
    """Return the statuses of numbers."""
    return _beginning([status.value for status in NumberStatus], incomplete)


def complete_rule(incomplete: str) -> list[str]:
    """Return the codes of audit rules."""
    from phonesys.inventory.audit import all_rules

    return _beginning(all_rules(), incomplete)


def complete_schema(incomplete: str) -> list[str]:
    """Return the commands that have a schema."""
    from phonesys.cli.schemas import NAMES

    return _beginning(NAMES, incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
