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
from phonesys.inventory.audit import Finding, Severity
from phonesys.inventory.diff import Change, ChangeKind, FieldChange
from phonesys.inventory.extras import MissingExtra
from phonesys.inventory.record import AccountOutcome, account_outcomes, sweep_records
from phonesys.inventory.report import ReportFailed, write_report
from phonesys.inventory.report.page import page_template
from phonesys.model import NumberStatus
from phonesys.record import NumberRecord

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
    assert [row[-1] for row in page.data["rows"]] == [1, 0]
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
    assert hostile.data["rows"][0][3] == HOSTILE
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


async def test_small_accounts_are_summed_up(tmp_path: Path) -> None:
    """The largest accounts are shown, and the others are one line."""
    page = await report(tmp_path, *(number(n, account=f"acc{n}") for n in range(30)), findings=())
    assert "18 others" in page.text


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
