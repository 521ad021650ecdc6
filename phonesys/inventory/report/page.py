"""The template of the page, and its variables."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.audit import Severity
from phonesys.inventory.extras import require_extra

if TYPE_CHECKING:
    from phonesys.inventory.record import AccountOutcome
    from phonesys.inventory.report.gather import FindingGroups, NumberSummary

_HERE = Path(__file__).parent
_MAX_ROWS = 12


@cache
def page_template() -> Any:
    """Return the template, including its style and script. Needs the extra `report`."""
    jinja = require_extra("report", "jinja2")
    page = jinja.Environment(
        loader=jinja.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja.StrictUndefined,
    )
    page.filters |= {"n": "{:,}".format, "plural": _plural}
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Both files are part of the package, and `NumberSummary.data` escapes markup.
    safe = jinja.utils.markupsafe.Markup
    page.globals |= {
        "css": safe((_HERE / "page.css").read_text(encoding="utf-8")),
        "script": safe(script),
        "script_hash": f"sha256-{digest}",
    }
    page.filters["embedded"] = safe
    return page.get_template("page.html")


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


class _Row(msgspec.Struct, frozen=True):
    name: str
    value: str
    """The filter that selects the group."""
    count: int
    share: float
    """The percentage of the largest group."""


class _Panel(msgspec.Struct, frozen=True):
    name: str
    filter: str
    rows: list[_Row]
    others: int
    """The number of groups that are not shown."""
    rest: int
    """The number of phone numbers in those groups."""


def number_facts(numbers: NumberSummary, found: FindingGroups) -> dict[str, Any]:
    """Return the counts and the findings."""
    numbers.flag(found.flags)
    groups = found.groups()
    return {
        "counts": numbers,
        "listed": len(numbers.rows),
        "groups": groups,
        "critical": sum(group.count for group in groups if group.severity is Severity.CRITICAL),
        "found": sum(group.count for group in groups),
        "backend_count": len(numbers.backends),
        "panels": _panels(numbers),
    }


def _panels(numbers: NumberSummary) -> list[_Panel]:
    names = Counter(account for _, account in numbers.accounts)
    accounts = {
        (_account_label(numbers, backend, account, several=names[account] > 1), account): count
        for (backend, account), count in numbers.accounts.items()
    }
    return [
        _panel("backend", "backend", {(name, name): count for name, count in numbers.backends.items()}),
        _panel("status", "status", {(name, name): count for name, count in numbers.statuses.items()}),
        _panel(
            "country",
            "country",
            {(name or "unknown", name): count for name, count in numbers.countries.items()},
        ),
        _panel("account", "query", accounts),
    ]


def _account_label(numbers: NumberSummary, backend: str, account: str, *, several: bool) -> str:
    place = f"{backend} {account}" if several else account
    name = numbers.account_names.get((backend, account))
    return f"{name} ({place})" if name else place


def _panel(name: str, filter_: str, counts: dict[tuple[str, str], int]) -> _Panel:
    """Return the largest groups, and the sum of the others."""
    largest = Counter(counts).most_common(_MAX_ROWS)
    maximum = largest[0][1] if largest else 1
    rows = [_Row(name, value, count, round(100 * count / maximum, 1)) for (name, value), count in largest]
    shown = sum(row.count for row in rows)
    return _Panel(name, filter_, rows, len(counts) - len(rows), sum(counts.values()) - shown)


class _Unread(msgspec.Struct, frozen=True):
    backend: str
    account: str
    name: str | None
    outcome: str
    error: str


def account_facts(outcomes: list[AccountOutcome], numbers: NumberSummary, max_listed: int) -> dict[str, Any]:
    """Return the number of accounts, and the accounts that could not be read, with the reasons."""
    unread = [
        _Unread(
            one.backend, one.account, one.name, one.outcome, _reason(one.backend, one.account, one.problem)
        )
        for one in outcomes
        if not one.is_complete
    ]
    return {
        # Without outcomes, only accounts with numbers are known.
        "account_count": len(outcomes) or len(numbers.accounts),
        "outcomes_known": bool(outcomes),
        "unread": unread[:max_listed],
        "unread_count": len(unread),
        "rejected": sum(one.rejected for one in outcomes),
    }


def _reason(backend: str, account: str, error: str | None) -> str:
    """Return the error without the backend and the account, which the row names."""
    place, found, message = (error or "").partition(f" {account}: ")
    return message if found and place.startswith(backend) else error or ""
