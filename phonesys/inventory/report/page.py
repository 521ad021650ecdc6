"""The template of the page, and its variables."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys._extras import require_extra
from phonesys.inventory.report.charts import day, stacked, trend_charts
from phonesys.inventory.report.cost import format_amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phonesys.inventory.record import AccountKey, AccountOutcome
    from phonesys.inventory.report.cost import CostSummary
    from phonesys.inventory.report.gather import FindingGroups, NumberSummary
    from phonesys.inventory.report.trend import TrendPoint

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
    page.filters |= {"n": "{:,}".format, "plural": _plural, "day": day, "known": _known}
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Both files are part of the package, and `embedded_data` escapes markup.
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


def _known(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


class _Row(msgspec.Struct, frozen=True):
    name: str
    value: str
    """The filter that selects the group."""
    count: int
    share: float
    """The percentage of the largest group."""


class _Panel(msgspec.Struct, frozen=True):
    name: str
    rows: list[_Row]
    others: int
    """The number of groups that are not shown."""
    rest: int
    """The number of phone numbers in those groups."""


def number_facts(numbers: NumberSummary, found: FindingGroups) -> dict[str, Any]:
    """Return the counts, the findings and the cost."""
    numbers.mark(found)
    return {
        "counts": numbers,
        "listed": len(numbers.rows),
        "groups": found.groups(),
        "critical": found.critical,
        "found": found.total,
        "backend_count": len(numbers.backends),
        "panels": _panels(numbers),
        "statuses": [
            (backend, count, stacked(_statuses_of(numbers, backend)))
            for backend, count in numbers.backends.most_common(_MAX_ROWS)
        ],
        "costs": _costs(numbers.cost),
    }


def _statuses_of(numbers: NumberSummary, backend: str) -> list[tuple[str, int]]:
    return [
        (status, numbers.statuses_by_backend[backend, status]) for status, _ in numbers.statuses.most_common()
    ]


def _panels(numbers: NumberSummary) -> list[_Panel]:
    return [
        _panel("backend", {(name, name): count for name, count in numbers.backends.items()}),
        _panel("status", {(name, name): count for name, count in numbers.statuses.items()}),
        _panel("country", {(name or "unknown", name): count for name, count in numbers.countries.items()}),
    ]


def _panel(name: str, counts: dict[tuple[str, str], int]) -> _Panel:
    """Return the largest groups, and the sum of the others."""
    largest = Counter(counts).most_common(_MAX_ROWS)
    maximum = largest[0][1] if largest else 1
    rows = [_Row(name, value, count, round(100 * count / maximum, 1)) for (name, value), count in largest]
    shown = sum(row.count for row in rows)
    return _Panel(name, rows, len(counts) - len(rows), sum(counts.values()) - shown)


class _Cost(msgspec.Struct, frozen=True):
    backend: str
    billed: int
    unpriced: int
    total: str
    idle: int
    idle_total: str


def _costs(cost: CostSummary) -> list[_Cost]:
    return [
        _Cost(
            backend,
            count,
            cost.unpriced[backend],
            format_amount(cost.total[backend]) if backend in cost.total else "",
            cost.idle[backend],
            format_amount(cost.idle_total.get(backend, Decimal())) if backend in cost.total else "",
        )
        for backend, count in cost.billed.most_common()
    ]


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
        "account_count": sum(bool(one.account) for one in outcomes) or len(numbers.accounts),
        "outcomes_known": bool(outcomes),
        "unread": unread[:max_listed],
        "unread_count": len(unread),
        "rejected": sum(one.rejected for one in outcomes),
    }


def _reason(backend: str, account: str, error: str | None) -> str:
    """Return the error without the backend and the account, which the row names."""
    place, found, message = (error or "").partition(f" {account}: ")
    return message if found and place.startswith(backend) else error or ""


def trend_facts(earlier: Sequence[TrendPoint], now: TrendPoint) -> dict[str, Any]:
    """Return the charts of earlier sweeps and this one, or None without an earlier one."""
    points = [*earlier, now]
    return {"points": points, "charts": trend_charts(points) if earlier else None}


def embedded_data(numbers: NumberSummary, found: FindingGroups, outcomes: list[AccountOutcome]) -> str:
    """Return the rows and the accounts as JSON without characters that HTML could parse as markup."""
    by_key = {(one.backend, one.account): one for one in outcomes if one.account}
    for key in by_key:
        numbers.account_index.setdefault(key, len(numbers.account_index))
    for key in numbers.accounts:
        numbers.account_index.setdefault(key, len(numbers.account_index))
    accounts = [_account_row(key, numbers, found, by_key.get(key)) for key in numbers.account_index]
    words = {name: list(words) for name, words in numbers.words.items()}
    text = msgspec.json.encode({"words": words, "accounts": accounts, "rows": numbers.rows}).decode()
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _account_row(
    key: AccountKey, numbers: NumberSummary, found: FindingGroups, outcome: AccountOutcome | None
) -> list[Any]:
    """Return a row of the index of accounts. Its columns are named at the top of `page.js`."""
    amount = numbers.cost.by_account.get(key)
    return [
        *key,
        numbers.account_names.get(key) or (outcome.name if outcome else None) or "",
        numbers.accounts[key],
        found.by_account[key, True],
        found.by_account[key, False],
        outcome.outcome if outcome else "",
        str(amount) if amount is not None else "",
    ]
