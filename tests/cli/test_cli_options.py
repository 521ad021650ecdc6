"""Options that every command of a kind has."""

from __future__ import annotations

from typing import Any

import pytest

from phonesys.cli import options
from phonesys.cli.app import COMMANDS, load_command

OF_A_STORE = {"diff", "snapshots", "prune", "changes"}
"""Commands that read only the store of the configuration, and no token."""


def commands() -> dict[str, Any]:
    """Return every command, those of `auth` too, by its name."""
    found = {name: load_command(name) for name in COMMANDS}
    group = found.pop("auth")
    return {**found, **{f"auth {name}": one for name, one in group.commands.items()}}


EVERY = commands()


def names(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"schema"}))
def test_every_command_can_be_quiet(name: str) -> None:
    """`schema` prints nothing but its result."""
    assert {"--quiet", "-q"} <= names(EVERY[name])


@pytest.mark.parametrize("name", [name for name in EVERY if "--bom" in names(EVERY[name])])
def test_what_writes_csv_can_choose_its_columns(name: str) -> None:
    """A list has both options."""
    assert "--columns" in names(EVERY[name])


@pytest.mark.parametrize("name", sorted(EVERY.keys() - OF_A_STORE - {"auth login"}))
def test_a_command_that_may_need_tokens_knows_where_they_are(name: str) -> None:
    """That is each with a configuration, unless it reads only a store."""
    assert ("--config" in names(EVERY[name])) == ("--token-store" in names(EVERY[name]))


@pytest.mark.parametrize("name", ["auth status", "changes", "snapshots", "audit"])
def test_a_list_has_all_options_of_lists(name: str) -> None:
    """Format, place, columns and byte order mark."""
    assert {"--format", "--output", "--columns", "--bom"} <= names(EVERY[name])


PANELS = {
    options.SOURCE: {"--config", "--token-store", "--sandbox"},
    options.OUTPUT: {"--format", "--output", "--columns", "--bom"},
    options.MESSAGES: {"--verbose", "--quiet", "--failures", "--allow-incomplete"},
}


@pytest.mark.parametrize("name", EVERY)
def test_common_options_are_in_the_same_panel_of_every_help(name: str) -> None:
    """Options of a command's own come first, in a panel of their own."""
    panels = {
        option: parameter.rich_help_panel
        for parameter in EVERY[name].params
        for option in parameter.opts
        if hasattr(parameter, "rich_help_panel")
    }
    for panel, those in PANELS.items():
        assert {panels[option] for option in those & panels.keys()} <= {panel}, name
