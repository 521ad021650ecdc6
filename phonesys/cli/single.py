"""A single change as a plan: for `--dry-run`, and for commands that ask before they change something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.changes import ChangeRequest
from phonesys.cli.plans import PlanFormat
from phonesys.cli.running import DONE
from phonesys.cli.showing import report_mistakes, show_plan
from phonesys.errors import PlanError, UsageError
from phonesys.provider import ChangesNumbers, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.changes import Plan
    from phonesys.config import ConfiguredBackend
    from phonesys.writes import Action

_COLUMNS = {
    "--name": "label",
    "--agent": "assignee",
    "--status": "status",
    "--enabled": "is_enabled",
    "--organization": "organization",
    "--business": "organization",
    "--country": "country",
    "--kind": "kind",
}


async def plan_single(
    backend: ConfiguredBackend,
    action: Action,
    options: Mapping[str, Any],
    *,
    number_id: str | None = None,
    number: str | None = None,
    account: str | None = None,
) -> Plan:
    """Plan the change that a command's options ask for. Options that are None are left out."""
    rules = require(backend.provider, ChangesNumbers).change_rules
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if value is None:
            continue
        if option not in _COLUMNS:
            raise UsageError(f"{option}: cannot be combined with --dry-run")
        fields[_COLUMNS[option]] = value
    if (rule := rules.fields.get("status")) is not None and "status" in fields:
        ours = {theirs.casefold(): word for word, theirs in rule.words.items()}
        fields["status"] = ours.get(str(fields["status"]).casefold(), fields["status"])
    change = ChangeRequest(
        action=action, backend=backend.name, account=account, id=number_id, number=number, fields=fields
    )
    async with PhoneSystem(backend.provider) as phones:
        accounts = None if backend.accounts is None else {backend.name: backend.accounts}
        return await phones.plan([change], accounts=accounts)


async def show_single(
    backend: ConfiguredBackend, action: Action, options: Mapping[str, Any], **which: Any
) -> int:
    """Print what a command would change, and return the exit status. Nothing is changed."""
    try:
        plan = await plan_single(backend, action, options, **which)
    except PlanError as mistakes:
        return report_mistakes(mistakes)
    await show_plan(plan, PlanFormat.TABLE, None, is_to_apply=False)
    return DONE
