"""JSON schemas of the lines that commands write with `--format jsonl`, made from their types."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from phonesys._validation import suggestion
from phonesys.errors import UsageError

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBERS = ("phonesys.cli.rows:NumberRow",)
_RESULTS = ("phonesys.cli.plans:ResultRow",)
_TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sweep", "numbers", "find", "get", "create", "assign", "update"), _NUMBERS),
    "accounts": ("phonesys.cli.commands.accounts:AccountRow",),
    "agents": ("phonesys.cli.commands.agents:AgentRow",),
    "pools": ("phonesys.cli.rows:PoolRow",),
    **dict.fromkeys(("status", "warmup"), ("phonesys.backends.leadping.wire:LeadpingStatus",)),
    "available": ("phonesys.cli.commands.available:AvailableRow",),
    "diff": ("phonesys.cli.rows:ChangeRow",),
    "snapshots": ("phonesys.cli.rows:SnapshotRow",),
    "watch": tuple(
        f"phonesys.cli.watch_lines:{kind}Line" for kind in ("Change", "Finding", "Sweep", "Alert")
    ),
    "audit": ("phonesys.cli.rows:FindingRow",),
    "export": ("phonesys.record:NumberRecord",),
    "plan": ("phonesys.changes:PlannedChange",),
    **dict.fromkeys(("apply", "buy"), _RESULTS),
    "changes": ("phonesys.cli.plans:RunRow", *_RESULTS),
    "providers": ("phonesys.cli.commands.providers:ProviderRow",),
    "doctor": ("phonesys.cli.checks:CheckRow",),
    "auth status": ("phonesys.cli.commands.auth:TokenRow",),
    "failures": ("phonesys.cli.rows:FailureRow",),
}
NAMES = tuple(_TYPES)
"""Commands, and `failures` for the file of the option `--failures`."""


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of a line of a command; raise UsageError for a command that writes none."""
    if name not in _TYPES:
        raise UsageError(f"no lines are written by {name!r}{suggestion(name, _TYPES)}")
    kinds = tuple(map(_import, _TYPES[name]))
    schemas, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    made: dict[str, Any] = {"$schema": _DIALECT, "title": f"A line of phonesys {name}"}
    made |= schemas[0] if len(kinds) == 1 else {"anyOf": list(schemas)}
    return {**made, "$defs": definitions}


def field_names(name: str) -> tuple[str, ...]:
    """Return the fields of a command's lines; none for a command without lines."""
    kinds = map(_import, _TYPES.get(name, ()))
    return tuple(dict.fromkeys(field for kind in kinds for field in kind.__struct_fields__))


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
