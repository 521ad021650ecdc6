"""The page: its template, and what the template is told."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.audit import Severity
from phonesys.inventory.diff.changes import WHOLE
from phonesys.inventory.extras import require_extra

if TYPE_CHECKING:
    from phonesys.inventory.record import AccountOutcome
    from phonesys.inventory.report.gather import Found, Numbers

_HERE = Path(__file__).parent
_MOST_ROWS = 12


@cache
def page_template() -> Any:
    """Return the template, with its style and its script inside; needs the extra `report`."""
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
    safe = jinja.utils.markupsafe.Markup  # both are ours, and the data is written by `Numbers.data`
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
    """What the list is filtered by."""
    count: int
    share: float
    """Of the largest, in percent."""


class _Panel(msgspec.Struct, frozen=True):
    name: str
    filter: str
    rows: list[_Row]
    others: int
    """How many groups are not shown."""
    rest: int
    """How many numbers those hold."""


def about_numbers(numbers: Numbers, found: Found) -> dict[str, Any]:
    """Say how many there are of what, and what is wrong."""
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


def _panels(numbers: Numbers) -> list[_Panel]:
    names = Counter(account for _, account in numbers.accounts)
    accounts = {
        (f"{backend} {account}" if names[account] > 1 else account, account): count
        for (backend, account), count in numbers.accounts.items()
    }
    return [
        _panel("backend", "backend", {(name, name): count for name, count in numbers.backends.items()}),
        _panel("status", "status", {(name, name): count for name, count in numbers.statuses.items()}),
        _panel(
            "country",
            "country",
            {(name or "not said", name): count for name, count in numbers.countries.items()},
        ),
        _panel("account", "query", accounts),
    ]


def _panel(name: str, filter_: str, counts: dict[tuple[str, str], int]) -> _Panel:
    """Show the largest groups; what is not shown is summed up."""
    largest = Counter(counts).most_common(_MOST_ROWS)
    most = largest[0][1] if largest else 1
    rows = [_Row(name, value, count, round(100 * count / most, 1)) for (name, value), count in largest]
    shown = sum(row.count for row in rows)
    return _Panel(name, filter_, rows, len(counts) - len(rows), sum(counts.values()) - shown)


class _Unread(msgspec.Struct, frozen=True):
    backend: str
    account: str
    outcome: str
    error: str


def about_accounts(outcomes: list[AccountOutcome], numbers: Numbers, most: int) -> dict[str, Any]:
    """Say what came of the accounts, and which were not read, and why."""
    unread = [
        _Unread(backend, account, outcome, _why(backend, account, error))
        for backend, account, outcome, error in outcomes
        if outcome not in WHOLE
    ]
    return {
        # Without outcomes, those are known that hold numbers.
        "account_count": len(outcomes) or len(numbers.accounts),
        "outcomes_known": bool(outcomes),
        "unread": unread[:most],
        "unread_count": len(unread),
    }


def _why(backend: str, account: str, error: str | None) -> str:
    """Say what went wrong without where, which the row says."""
    where, found, what = (error or "").partition(f" {account}: ")
    return what if found and where.startswith(backend) else error or ""
