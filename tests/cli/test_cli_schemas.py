"""JSON schemas: every command that writes lines has one, and what it writes is valid by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from phonesys.cli.app import COMMANDS
from phonesys.cli.schemas import NAMES, schema_of
from phonesys.errors import UsageError
from tests.cli.vendors import call, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

WITHOUT_LINES = {"report", "prune", "delete", "sandbox", "schema", "mcp", "undo"}
"""Commands that write a page, a sentence or nothing, or the plan that `plan` writes."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    """A sandbox, and a folder with its configuration and two snapshots."""
    folder = tmp_path_factory.mktemp("world")
    with serving(
        locations=3, numbers=(2, 3), pools=(1, 1), leadping=5, agents=4, enforce_limits=False
    ) as vendors:
        config = write(folder / "phonesys.toml", toml(vendors))
        for accounts in ((), ("--account", vendors.location_ids[0], "--backend", "leadconnector")):
            done = call(
                "sweep", "--config", str(config), "--store", str(folder / "store.db"), "-q", *accounts
            )
            assert done.status == 0, done.err
        yield vendors, folder


def invocation(name: str, vendors: Sandbox, folder: Path) -> tuple[str, ...]:
    location, config = vendors.location_ids[0], ("--config", str(folder / "phonesys.toml"))
    number = next(iter(vendors.truth["leadping", "default"]))
    leadping = json.loads(call("numbers", "leadping", "-f", "jsonl", *config).out.splitlines()[0])
    store = ("--store", str(folder / "store.db"))
    return {
        "sweep": ("sweep", "--no-resume", *config),
        "numbers": ("numbers", "leadconnector", location, *config),
        "find": ("find", number, *config),
        "get": ("get", "leadping", leadping["id"], *config),
        "accounts": ("accounts", *config),
        "agents": ("agents", "agents", *config),
        "pools": ("pools", "leadconnector", location, *config),
        "available": ("available", "leadconnector", "--account", location, *config),
        "status": ("status", "leadping", number, *config),
        "warmup": ("warmup", "leadping", leadping["id"], *config),
        "diff": ("diff", *store),
        "snapshots": ("snapshots", *store),
        "audit": ("audit", *config),
        "export": ("export", "-", *store),
        "providers": ("providers", *config),
        "doctor": ("doctor", *config),
        "update": ("update", "leadping", leadping["id"], "--name", "Renamed", *config),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["sweep", "numbers", "find", "get", "accounts", "agents", "pools", "available", "status", "warmup",
     "diff", "snapshots", "audit", "export", "providers", "doctor", "update"],
)  # fmt: skip
def test_lines_are_valid_by_their_schema(name: str, world: tuple[Sandbox, Path]) -> None:
    """As the command prints it, with formats checked; and a line of something else is not."""
    printed = json.loads(call("schema", name).out)
    jsonschema.Draft202012Validator.check_schema(printed)
    validator = jsonschema.Draft202012Validator(printed)
    done = call(*invocation(name, *world), "--format", "jsonl")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert lines, done.err
    for line in lines:
        validator.validate(line)
    described = {key for one in printed["$defs"].values() for key in one.get("properties", ())}
    assert {key for line in lines for key in line} <= described
    assert not validator.is_valid([])


def test_failed_accounts_are_valid_by_their_schema(world: tuple[Sandbox, Path], tmp_path: Path) -> None:
    """The file of `--failures`."""
    vendors, _ = world
    config = write(tmp_path / "phonesys.toml", toml(vendors).replace(vendors.agents_key, "0000"))
    file = tmp_path / "failures.jsonl"
    assert call("sweep", "--config", str(config), "--failures", str(file), "-q").status == 1
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["backend"] for line in lines] == ["agents"]
    jsonschema.validate(lines[0], schema_of("failures"))


def test_every_command_that_writes_lines_has_a_schema() -> None:
    """A new command is added to the schemas, or to those that write none."""
    names = {name.partition(" ")[0] for name in NAMES}
    assert names - {"failures"} == set(COMMANDS) - WITHOUT_LINES
    assert call("schema").out.split("\n")[:-1] == list(NAMES)


def test_every_schema_can_be_made() -> None:
    """Also those of commands whose lines are tested elsewhere."""
    for name in NAMES:
        schema: dict[str, Any] = schema_of(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$defs"]


def test_a_misspelt_command_is_told() -> None:
    """With the nearest one."""
    with pytest.raises(UsageError, match="did you mean 'numbers'"):
        schema_of("nubmers")
