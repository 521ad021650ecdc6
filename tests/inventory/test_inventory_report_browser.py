"""The report in a browser: search, sort, pages, a phone, paper. Headless Chromium does the clicking.

Skipped where there is no Chromium with its driver (on Debian: `apt-get install chromium chromium-driver`),
unless PHONESYS_REQUIRE_BROWSER=1 says that there must be.
"""
# ruff: noqa: RUF001 -- the page writes ranges with the dash that belongs there

from __future__ import annotations

import asyncio
import base64
import csv
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.inventory.diff import Change, ChangeKind
from phonesys.inventory.record import AccountOutcome
from phonesys.inventory.report import write_report
from phonesys.model import NumberKind, NumberStatus
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED = os.environ.get("PHONESYS_REQUIRE_BROWSER") == "1"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER) and not REQUIRED:
    pytest.skip("no chromium and chromedriver here", allow_module_level=True)
if not REQUIRED:
    pytest.importorskip("selenium")
    pytest.importorskip("selenium_axe_python")
from selenium import webdriver  # noqa: E402 -- it may be missing
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402
from selenium_axe_python.axe import Axe  # noqa: E402

FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage",
    "force-prefers-reduced-motion",
)  # fmt: skip
HOSTILE = '<script>document.title="pwned"</script><img src=x onerror="document.title=\'pwned\'">'
COUNTRIES = ("US", "GB", None)


def numbers(count: int) -> Iterator[NumberRecord]:
    for n in range(count):
        yield NumberRecord(
            provider="leadconnector", backend=("north", "south")[n % 2], account=f"location{n % 40:03}",
            id=f"PN{n:08}", number=f"+1415{2000000 + n * 7 % count:07}",
            label='=FORMULA(1);+2, "quoted"' if n == 100 else f"Line {n}",
            country=COUNTRIES[n % 3], kind=NumberKind.LOCAL, voice=True, sms=n % 2 == 0,
            status=NumberStatus.SUSPENDED if n % 50 == 0 else NumberStatus.ACTIVE,
            is_routed=n % 10 != 0, inbound=None if n % 10 == 0 else "voice_ai:68e3", assignee=f"user{n % 9}",
        )  # fmt: skip


def written(path: Path, count: int) -> Path:
    hostile = NumberRecord(
        provider="acme", backend=HOSTILE, account=HOSTILE, id="x", number="+14159999999", label=HOSTILE
    )
    changes = [Change(kind=ChangeKind.UNKNOWN, backend=HOSTILE, account=HOSTILE, reason=HOSTILE)]
    failed = [AccountOutcome("north", "location9", "failed", HOSTILE)]
    ignore = ["invalid-number", "country-mismatch"]
    records = (*numbers(count), hostile)
    asyncio.run(write_report(path, records, changes=changes, accounts=failed, ignore=ignore))
    return path


class Browser:
    """One browser with one page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def one(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def texts(self, css: str) -> list[str]:
        found = self.run(f"return [...document.querySelectorAll({json.dumps(css)})].map(e => e.textContent)")
        return list(found)

    def shown(self) -> str:
        return str(self.one("#shown").text)

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def choose(browser: Browser, css: str, text: str) -> None:
    """Choose an option of a select box by its text."""
    options = browser.driver.find_elements("css selector", f"{css} option")
    next(one for one in options if one.text == text).click()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report") / "report.html", 1000)


@pytest.fixture
def browser(driver: Any, page: Path) -> Browser:
    """The page, just opened, on a desktop."""
    browser = Browser(driver)
    browser.size(1280, 900)
    browser.open(page)
    return browser


def test_hostile_text_is_never_markup(browser: Browser) -> None:
    """Labels, accounts and errors that are markup are shown as text, and the console stays empty."""
    browser.one("#q").send_keys("+14159999999")
    assert browser.texts("#list tbody .label") == [HOSTILE]
    assert browser.driver.title == "Phone number inventory"
    assert browser.run("return document.images.length") == 0
    assert browser.driver.get_log("browser") == []


def test_the_search_finds_numbers_in_any_spelling(browser: Browser) -> None:
    """The search takes digits with or without punctuation, words in any order, accounts and ids."""
    search = browser.one("#q")
    for typed, found in (
        ("(415) 200-0007", "+14152000007"),
        ("LINE 1 north", None),
        ("PN00000001", "+14152000007"),
    ):
        search.clear()
        search.send_keys(typed)
        first = browser.texts("#list tbody .num bdi")
        assert first if found is None else first == [found]
    search.clear()
    search.send_keys("location039")
    assert browser.shown() == "1–25 of 25 numbers (of 1,001)"
    search.clear()
    search.send_keys("suspended unusable-status")
    assert browser.shown() == "1–20 of 20 numbers (of 1,001)"
    search.clear()
    search.send_keys("no such number")
    assert browser.shown() == "No number matches."
    assert not browser.one("#list").is_displayed()


def test_headings_sort(browser: Browser) -> None:
    """A click sorts, and a second click reverses the order. Empty cells stay last."""
    ordered = browser.texts("#list tbody .num bdi")
    assert ordered == sorted(ordered)
    heading = browser.one("#list th:nth-child(1)")
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("css selector", "button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert browser.texts("#list tbody .num bdi")[0] == "+14159999999"
    browser.one("#list th:nth-child(4) button").click()
    assert browser.texts("#list tbody td:nth-child(4) bdi")[0] == "GB"
    for _ in range(10):
        browser.one("#numbers .pages .next").click()
    assert browser.texts("#list tbody td:nth-child(4)")[-1] == ""


def test_filters_narrow_the_list(browser: Browser) -> None:
    """The list is filtered by backend, country, status and findings. `Clear` resets all filters."""
    choose(browser, "#f-status", "suspended")
    assert browser.shown() == "1–20 of 20 numbers (of 1,001)"
    browser.one("#clear").click()
    choose(browser, "#f-findings", "With findings")
    assert browser.shown() == "1–100 of 100 numbers (of 1,001)"
    choose(browser, "#f-findings", "unusable-status")
    assert browser.shown() == "1–20 of 20 numbers (of 1,001)"


def test_a_count_filters_the_list(browser: Browser) -> None:
    """Selecting a count by mouse or keyboard lists its numbers."""
    pick = browser.one(".pick[data-filter=country][data-value=GB]")
    assert pick.text == "United Kingdom (GB)"
    pick.send_keys("\ue007")
    assert browser.shown() == "1–100 of 333 numbers (of 1,001)"
    assert set(browser.texts("#list tbody td:nth-child(4) bdi")) == {"GB"}


def test_the_list_comes_in_pages(browser: Browser) -> None:
    """A page lists a hundred numbers, and the buttons stop at both ends."""
    assert browser.run("return document.querySelectorAll('#list tbody tr').length") == 100
    before = browser.one("#numbers .pages .prev")
    assert not before.is_enabled()
    browser.one("#numbers .pages .next").click()
    assert browser.shown() == "101–200 of 1,001 numbers"
    assert before.is_enabled()


def test_the_keyboard_reaches_everything(browser: Browser) -> None:
    """The first tab stop skips to the list, and Enter opens findings."""
    browser.one("body").send_keys("\ue004")
    assert browser.driver.switch_to.active_element.text == "Skip to the list of numbers"
    summary = browser.one("details summary")
    summary.send_keys("\ue007")
    assert browser.one("details").get_attribute("open")


def test_every_control_has_a_name(browser: Browser) -> None:
    """Assistive technology computes a name for every control."""
    for control in browser.driver.find_elements(
        "css selector", "input, select, button, [role=region], nav, table"
    ):
        if control.is_displayed() and control.tag_name != "table":
            assert control.accessible_name


# All texts that can be seen: how many, and those that stand out too little (WCAG's relative luminance).
FAINT = """
const linear = (c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const back = (e) => {
  for (; e; e = e.parentElement) {
    const color = numbers(getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const seen = (e) => e.checkVisibility() && !e.closest('[hidden], .hidden, .skip, :disabled, svg');
const texts = [...document.querySelectorAll('body *')].filter(
  (e) => seen(e) && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
const contrast = (e) => {
  const [dark, bright] = [light(numbers(getComputedStyle(e).color)), light(back(e))].sort((a, b) => a - b);
  return (bright + .05) / (dark + .05);
};
return [texts.length, texts.map((e) => [contrast(e), e.outerHTML.slice(0, 90)]).filter(([c]) => c < 4.5)];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: Browser, scheme: str) -> None:
    """Every text has a contrast of 4.5 to 1 at least (WCAG 2.2, AA), in light and in dark."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
        background = browser.run("return getComputedStyle(document.body).backgroundColor")
        looked_at, faint = browser.run(FAINT)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 21, 28)"}[scheme]
    assert looked_at > 500
    assert faint == []


def test_a_phone_shows_everything(browser: Browser) -> None:
    """At 390 pixels nothing is wider than the screen, rows are cards, and the list can be sorted."""
    browser.size(390, 844, mobile=True)
    assert browser.run("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    assert browser.run("return getComputedStyle(document.querySelector('#list td')).display") == "grid"
    sort = browser.one("#sort")
    assert sort.is_displayed()
    sort.find_elements("css selector", "option")[1].click()
    assert browser.texts("#list tbody .num bdi")[0] == "+14159999999"


def test_the_index_of_accounts_leads_to_their_numbers(browser: Browser) -> None:
    """The index lists all accounts, is searched and sorted, and a click lists the account's numbers."""
    assert browser.one("#account-shown").text == "1–20 of 42 accounts"
    heading = browser.one("#account-list th:nth-child(4) button")
    heading.click()
    heading.click()
    assert browser.texts("#account-list tbody td:nth-child(4)")[0] == "30"
    browser.one("#account-q").send_keys("location007")
    assert browser.one("#account-shown").text == "1 account (of 42)"
    browser.one("#account-list .pick").click()
    assert browser.shown() == "1–25 of 25 numbers (of 1,001) in account location007"
    browser.one("#clear").click()
    assert browser.shown() == "1–100 of 1,001 numbers"


def test_a_selection_is_saved_as_csv(browser: Browser, tmp_path: Path) -> None:
    """`Save as CSV` writes the selected numbers, and no text in it runs as a formula."""
    folder = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", folder)
    browser.one("#q").send_keys("FORMULA")
    assert browser.shown() == "1 number (of 1,001)"
    browser.one("#save").click()
    saved = tmp_path / "numbers.csv"
    WebDriverWait(browser.driver, 60).until(lambda _: saved.exists())
    assert saved.read_bytes().startswith("\N{BOM}".encode())
    (row,) = csv.DictReader(saved.read_text("utf-8-sig").splitlines())
    assert row["number"] == "+14152000700"
    assert row["label"] == "'=FORMULA(1);'+2, \"quoted\""
    assert row["findings"] == "no-inbound-route unusable-status"
    assert row["account"] == "location020"


AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


# Axe takes a minute of a busy machine for hundreds of rows, and sees the same in rows of the same elements.
MARK_REPEATED_ROWS = """
for (const body of document.querySelectorAll('tbody')) {
  const seen = new Set()
  for (const row of body.rows) {
    const tags = [...row.querySelectorAll('*')].map(one => one.cloneNode().outerHTML)
    const shape = tags.join().replace(/\\d+/g, '0')
    row.toggleAttribute('data-repeated', seen.has(shape))
    seen.add(shape)
  }
}
return document.querySelectorAll('tr[data-repeated]').length
"""


@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (390, True)])
def test_an_accessibility_checker_finds_nothing(browser: Browser, width: int, mobile: bool) -> None:
    """Axe finds no violation of WCAG 2.2 AA or of its best practices, with rows of every shape."""
    browser.size(width, 900, mobile=mobile)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    axe: Any = Axe(browser.driver)
    axe.inject()
    assert browser.run(MARK_REPEATED_ROWS) > 100
    found = axe.run(context={"exclude": [["[data-repeated]"]]}, options=AXE)
    assert len(found["passes"]) > 30
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_paper_shows_a_summary(browser: Browser) -> None:
    """Printed, the page is at most four sheets, without the numbers; a selection of them is printed."""

    def printed() -> int:
        pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
        return len(re.findall(rb"/Type\s*/Page\b", pdf))

    assert printed() <= 4
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run("return [...document.querySelectorAll('details')].every(one => one.open)")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.one("#controls").is_displayed()
    assert not browser.one("#list").is_displayed()
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert browser.run("return document.querySelectorAll('details[open]').length") == 0
    choose(browser, "#f-country", "United Kingdom (GB)")
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.one("#list").is_displayed()
    assert browser.run("return document.querySelectorAll('#list tbody tr').length") == 300
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run("return document.querySelectorAll('#list tbody tr').length") == 100


def test_a_hundred_thousand_numbers_can_be_searched(driver: Any, tmp_path: Path) -> None:
    """A page of that size opens and can be searched, and only one page of rows is drawn."""
    browser = Browser(driver)
    browser.size(1280, 900)
    browser.open(written(tmp_path / "large.html", 100_000))
    assert browser.shown() == "1–100 of 100,001 numbers"
    browser.one("#q").send_keys("PN00077777")
    assert browser.shown() == "1 number (of 100,001)"
    browser.one("#q").clear()
    took = browser.run(
        "const box = document.querySelector('#q'), start = performance.now(); box.value = 'line 7';"
        "box.dispatchEvent(new Event('input')); return performance.now() - start"
    )
    assert took < 3000
