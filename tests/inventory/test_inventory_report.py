"""The report as a file: its contents, and that data in it is never markup."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import AgentNumbers, Leadping, PhoneSystem
from phonesys._extras import MissingExtra
from phonesys.inventory import Inventory
from phonesys.inventory.audit import Finding, Severity, findings
from phonesys.inventory.diff import Change, ChangeKind, FieldChange
from phonesys.inventory.record import AccountOutcome, account_outcomes, sweep_records
from phonesys.inventory.report import ReportFailed, TrendPoint, read_trend, write_report
from phonesys.inventory.report.page import page_template
from phonesys.model import NumberStatus
from phonesys.record import NumberRecord
from tests.sweep.memory import Memory
from tests.sweep.memory import number as memory_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

pytest.importorskip("jinja2")
pytest.importorskip("phonenumbers")

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&</script><!--"


def number(n: int = 0, **fields: Any) -> NumberRecord:
    usual: dict[str, Any] = {"provider": "acme", "backend": "acme", "account": "a", "id": str(n)}
    usual |= {"number": f"+1415223{n:04}", "status": NumberStatus.ACTIVE, "country": "US"}
    return NumberRecord(**(usual | fields))


class Page(HTMLParser):
    """The elements and the text of a page, and the data in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.data: dict[str, Any] = {}
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "data":
            self.data = msgspec.json.decode(data)
        elif self.inside not in {"script", "style"}:
            self.words.append(data)


async def report(folder: Path, *records: NumberRecord, **options: Any) -> Page:
    path = folder / "report.html"
    await write_report(path, records, **options)
    return Page(path)


async def test_a_sweep_becomes_a_page(tmp_path: Path, sandbox: Sandbox) -> None:
    """The page shows counts, findings and numbers of a sweep."""
    async with PhoneSystem(
        Leadping(api_key=sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(api_key=sandbox.agents_key, base_url=sandbox.agents_url),
    ) as phones:
        async with phones.sweep() as sweep:
            await write_report(
                tmp_path / "r.html", sweep_records(sweep), accounts=account_outcomes(sweep.report)
            )
    page = Page(tmp_path / "r.html")
    assert "360 numbers" in re.sub(r"numbers 360", "360 numbers", page.text)
    assert "Complete. All 2 accounts were read." in page.text
    assert "warmup-blocked" in page.text
    assert len(page.data["rows"]) == 360
    assert "Changes since" not in page.text


async def test_incomplete_accounts_come_first(tmp_path: Path) -> None:
    """The page names the accounts that could not be read, with outcomes and reasons, before all else."""
    accounts = [
        AccountOutcome("acme", "a", "done"),
        AccountOutcome("acme", "b", "failed", "acme page b: 401 no"),
        AccountOutcome("acme", "c", "empty"),
        AccountOutcome("acme", "d", "done", rejected=3),
    ]
    page = await report(tmp_path, number(), accounts=accounts)
    assert "Incomplete. 2 accounts could not be read completely" in page.text
    assert "among them 3 rows that could not be read." in page.text
    assert "acme d done 3 rows could not be read" in page.text
    assert "acme b failed 401 no" in page.text
    assert page.text.index("401 no") < page.text.index("Findings")


async def test_findings_can_be_passed_in(tmp_path: Path) -> None:
    """Given findings replace the audit. All are counted, and the first of each rule are listed."""
    found = [
        Finding(
            code="mine", severity=Severity.CRITICAL, number=number(n).number, accounts=(("acme", "a"),),
            evidence="seen", advice="Act.",
        )
        for n in range(250)
    ]  # fmt: skip
    page = await report(tmp_path, number(0), number(300, is_routed=False), findings=found)
    assert "no-inbound-route" not in page.text
    assert "The first 200 of 250." in page.text
    words = page.data["words"]["findings"]
    assert [words[row[-1]] for row in page.data["rows"]] == ["critical mine", ""]
    page = await report(tmp_path, number(is_routed=False), findings=())
    assert "The audit found no problems." in page.text


async def test_changes_are_described(tmp_path: Path) -> None:
    """The page describes added, moved and changed numbers, and unknown accounts."""
    status = FieldChange("status", NumberStatus.ACTIVE, NumberStatus.SUSPENDED)
    default = FieldChange("is_default", True, None)
    where: dict[str, Any] = {"backend": "acme", "account": "a", "number": "+14152230001"}
    changes = [
        Change(kind=ChangeKind.ADDED, new=number(1, label="Front desk"), **where),
        Change(kind=ChangeKind.MOVED, from_backend="acme", from_account="old", **where),
        Change(kind=ChangeKind.CHANGED, fields=(status, default), **where),
        Change(kind=ChangeKind.UNKNOWN, backend="acme", account="b", reason="it failed"),
    ]
    page = await report(tmp_path, number(), changes=changes)
    for words in (
        "Front desk; active",
        "from acme old",
        "status: active → suspended; is default: yes → nothing",
        "it failed",
    ):
        assert words in page.text
    assert "Nothing changed." in (await report(tmp_path, number(), changes=[])).text


async def test_data_is_never_markup(tmp_path: Path) -> None:
    """A hostile text in any field adds no element to the page."""

    async def with_text(text: str) -> Page:
        finding = Finding(
            code="mine", severity=Severity.NOTICE, number=text, accounts=((text, text),), evidence=text,
            advice=text,
        )  # fmt: skip
        change = Change(kind=ChangeKind.UNKNOWN, backend=text, account=text, reason=text)
        record = number(
            label=text, account=text, backend=text, number=text, country=text, pool_name=text, inbound=text
        )
        return await report(
            tmp_path, record, findings=[finding], changes=[change], title=text,
            accounts=[AccountOutcome(text, text, "failed", text)],
        )  # fmt: skip

    hostile, harmless = await with_text(HOSTILE), await with_text("harmless")
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert not [name for _, attrs in hostile.tags for name in attrs if name.startswith("on")]
    assert hostile.data["rows"][0][2] == HOSTILE
    assert hostile.data["accounts"][0][:2] == [HOSTILE, HOSTILE]
    assert HOSTILE in hostile.text


async def test_the_page_loads_nothing(tmp_path: Path) -> None:
    """The page has no URL, only links to itself, and a policy that allows only its own script."""
    page = await report(tmp_path, number())
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "href"}]
    assert links == ["#numbers"]
    assert "url(" not in page.source
    assert not re.search(r"https?://", page.source)
    (policy,) = [a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    script = page.source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


async def test_the_page_lists_a_limited_number(tmp_path: Path) -> None:
    """A page that does not list all numbers says so, and counts all of them."""
    page = await report(tmp_path, *(number(n) for n in range(50)), max_numbers=20, findings=())
    assert len(page.data["rows"]) == 20
    assert "lists the first 20 of 50 numbers" in page.text


async def test_the_index_lists_every_account(tmp_path: Path) -> None:
    """The index has accounts without numbers too, with their names, numbers, findings, outcomes and cost."""
    records = [number(n, account="a", monthly_amount="1.15", billed=True) for n in range(3)]
    records.append(number(3, account="b", is_routed=False, account_name="Front desk"))
    accounts = [
        AccountOutcome("acme", "a", "done"),
        AccountOutcome("acme", "b", "done"),
        AccountOutcome("acme", "c", "empty", name="Nothing yet"),
    ]
    page = await report(tmp_path, *records, accounts=accounts)
    assert page.data["accounts"] == [
        ["acme", "a", "", 3, 0, 0, "done", "3.45"],
        ["acme", "b", "Front desk", 1, 1, 0, "done", ""],
        ["acme", "c", "Nothing yet", 0, 0, 0, "empty", ""],
    ]


async def test_two_backends_may_have_an_account_of_the_same_id(tmp_path: Path) -> None:
    """Accounts are told apart by backend and id, and each has its own name."""
    records = [
        number(n, backend=name, account_name=f"Of {name}") for n, name in enumerate(("north", "south"))
    ]
    page = await report(tmp_path, *records, findings=())
    assert [one[:4] for one in page.data["accounts"]] == [
        ["north", "a", "Of north", 1],
        ["south", "a", "Of south", 1],
    ]
    assert [row[0] for row in page.data["rows"]] == [0, 1]


async def test_cost_is_summed_up_where_it_is_known(tmp_path: Path) -> None:
    """The page shows the exact monthly amount of all numbers and of idle ones, and how many have none."""
    records = [number(n, billed=True, monthly_amount="0.10") for n in range(3)]
    records += [
        number(3, billed=True, monthly_amount="1.155", status=NumberStatus.SUSPENDED),
        number(4, billed=True, monthly_amount="soon"),
        number(5),
    ]
    page = await report(tmp_path, *records)
    assert "acme 5 1.455 without 1 number of unknown price 1 1.155" in page.text
    assert "Cost and idle numbers" not in (await report(tmp_path, number())).text


async def test_a_trend_needs_two_sweeps(tmp_path: Path) -> None:
    """Charts show earlier sweeps and this one. Without an earlier sweep there is no trend."""
    earlier = [
        TrendPoint(
            as_of=datetime(2025, 1, day, tzinfo=UTC), numbers=day * 10, complete=day != 2, critical=1,
            other_findings=day, added=day, removed=1,
        )
        for day in (1, 2)
    ]  # fmt: skip
    now = datetime(2025, 1, 3, tzinfo=UTC)
    page = await report(tmp_path, number(is_routed=False), trend=earlier, changes=(), as_of=now)
    assert "Numbers 1 \N{MINUS SIGN}19" in page.text
    assert "2 Jan 2025: 20 numbers, incomplete" in page.text
    assert "3 Jan 2025: 1 critical and 0 other findings" in page.text
    assert "2025-01-03 00:00 UTC 1 1 0 0 0 yes" in page.text
    assert "Trend" not in (await report(tmp_path, number())).text


async def test_the_trend_is_read_from_earlier_snapshots(where: str) -> None:
    """Points are the last snapshots of the same backends, with their findings and what each changed."""
    async with Inventory(where) as inventory:
        for name, count in (("memory", 2), ("memory", 3), ("another", 9), ("memory", 1), ("memory", 4)):
            listing = [memory_number(n, "a") for n in range(count)]
            async with PhoneSystem(Memory({"a": [listing]}, name=name)) as phones:
                await inventory.collect(phones)
        newest, *older = await inventory.snapshots()
        every = await read_trend(inventory, newest)
        last = await read_trend(inventory, newest, sweeps=1)
        none = await read_trend(inventory, newest, sweeps=0)
        oldest_first = [one for one in older[::-1] if "another" not in one.coverage]
        found = [len(await findings(one.records(), accounts=one.accounts())) for one in oldest_first]
    assert [(one.numbers, one.added, one.removed, one.complete) for one in every] == [
        (2, None, None, True),
        (3, 1, 0, True),
        (1, 0, 2, True),
    ]
    assert [(one.critical or 0) + (one.other_findings or 0) for one in every] == found
    assert last == every[-1:]
    assert none == []


async def test_the_date_is_in_utc(tmp_path: Path) -> None:
    """The page shows the given time in UTC in any time zone of the machine."""
    page = await report(tmp_path, as_of=datetime(2025, 1, 2, 3, 4, tzinfo=UTC), title="Ours")
    assert "As of 2 January 2025, 03:04 UTC" in page.text
    assert page.data["rows"] == []


async def test_a_failure_keeps_the_previous_page(tmp_path: Path) -> None:
    """An error of the records is raised as it is, and an error of the disk is ReportFailed."""
    path = tmp_path / "report.html"
    path.write_text("previous")

    async def broken() -> AsyncIterator[NumberRecord]:
        yield number()
        raise KeyError("the vendor")

    with pytest.raises(KeyError):
        await write_report(path, broken())
    assert path.read_text() == "previous"
    with pytest.raises(ReportFailed, match="nowhere"):
        await write_report(tmp_path / "nowhere" / "r.html", [number()])


async def test_without_jinja_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MissingExtra is raised before a record is read."""
    page_template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[report\]'"):
        await write_report(tmp_path / "r.html", [number()])
