"""The page in a real browser: `PHONESYS_REQUIRE_BROWSER=1` makes its absence a failure."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from phonesys.sandbox import Sandbox
from phonesys.testing.thread import serving
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The driver's own ways are not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,1000"
)
HOSTILE = "<img src=x onerror=document.title='owned'>"


def found(what: object, name: str) -> None:
    if what:
        return
    if os.environ.get("PHONESYS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{name} is missing")
    pytest.skip(f"{name} is missing")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    found(driver and chromium, "chromium or chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        found(what=False, name="selenium")
        raise
    options = webdriver.ChromeOptions()
    options.binary_location = chromium or ""
    profile: Path = tmp_path_factory.mktemp("profile")
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with ExitStack() as stack:
        yield stack.enter_context(serving(Sandbox(locations=30, numbers=4, seed=3)))


@pytest.fixture
def page(browser: Any, sandbox: Sandbox) -> Any:
    browser.get(sandbox.url)
    wait(browser, "return document.querySelector('#link').dataset.state === 'live'")
    return browser


def wait(browser: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(lambda it: it.execute_script(script))


def ask(sandbox: Sandbox, location: str | None = None) -> int | str:
    where = f"{sandbox.leadconnector_url}/phone-system/numbers/location/{location or sandbox.location_ids[0]}"
    headers = {"Authorization": f"Bearer {sandbox.leadconnector_token}", "Version": "v3"}
    try:
        with urllib.request.urlopen(urllib.request.Request(where, headers=headers)) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError as error:
        return type(error).__name__


def click(browser: Any, id_: str) -> None:
    browser.execute_script(f"document.getElementById('{id_}').scrollIntoView({{block: 'center'}})")
    browser.find_element("id", id_).click()


def test_requests_appear_as_they_happen(page: Any, sandbox: Sandbox) -> None:
    """The newest first, with status and account, and the window that they use."""
    assert ask(sandbox) == 200
    assert ask(sandbox, "nowhere") == 400
    wait(page, "return document.querySelectorAll('#log tr').length === 2")
    rows = [row.text for row in page.find_elements("css selector", "#log tr")]
    assert "400" in rows[0]
    assert sandbox.location_ids[0] in rows[1]
    assert "1 of 100 per 10 s" in page.find_element("id", "limits").text
    assert page.find_element("id", "total").text == "2"


def test_a_switch_makes_requests_fail(page: Any, sandbox: Sandbox) -> None:
    """And another click lets them through again; what happened is in the log."""
    assert ask(sandbox) == 200
    click(page, "kind-status")
    wait(page, "return document.querySelectorAll('.fault.on').length === 1")
    assert ask(sandbox) == 503
    wait(page, "return document.querySelector('#log tr').innerText.includes('503')")
    wait(page, "return document.querySelector('.fault.on').innerText.includes('met once')")
    (switch,) = page.find_elements("css selector", "#active-faults input[role=switch]")
    assert switch.get_attribute("id").startswith("fault-")
    click(page, switch.get_attribute("id"))
    wait(page, "return document.querySelectorAll('.fault.on').length === 0")
    assert ask(sandbox) == 200


def test_a_fault_is_for_the_route_that_was_chosen(page: Any, sandbox: Sandbox) -> None:
    """Others go on; removing all faults ends it."""
    page.find_element("css selector", "#route option[value='leadping.*']").click()
    click(page, "kind-reset")
    wait(page, "return document.querySelectorAll('.fault.on').length === 1")
    assert ask(sandbox) == 200
    assert [switch.rule.route for switch in sandbox.faults] == ["leadping.*"]
    click(page, "calm")
    wait(page, "return document.querySelectorAll('.fault.on').length === 0")
    assert len(sandbox.faults) == 0


def test_switches_work_with_the_keyboard_and_have_names(page: Any, sandbox: Sandbox) -> None:
    """The focus stays on what was switched, and every control can be named."""
    page.execute_script("document.getElementById('kind-null').focus()")
    page.switch_to.active_element.send_keys(" ")
    wait(page, "return document.activeElement.id.startsWith('fault-')")
    page.switch_to.active_element.send_keys(" ")
    wait(page, "return document.querySelectorAll('.fault.on').length === 0")
    assert [switch.on for switch in sandbox.faults] == [False]
    for control in page.find_elements("css selector", "input, select, button"):
        assert control.accessible_name or not control.is_displayed()


def test_hostile_names_are_only_text(page: Any, sandbox: Sandbox) -> None:
    """What clients, faults and accounts are called never becomes markup."""
    from phonesys.sandbox import faults

    ask(sandbox, quote(HOSTILE, safe=""))
    sandbox.faults.add(faults.Status(account=HOSTILE, body=HOSTILE))
    wait(page, "return document.querySelector('#log').innerText.includes('<img')")
    wait(page, "return document.querySelector('#active-faults').innerText.includes('<img')")
    assert page.find_elements("css selector", "img, script:not([src])") == []
    assert page.title == "phonesys sandbox"


def test_a_mistake_is_shown(page: Any, sandbox: Sandbox) -> None:
    """What the sandbox refuses is said in its own words."""
    page.execute_script("document.getElementById('rate').options[0].value = '7'")
    click(page, "kind-null")
    wait(page, "return document.getElementById('mistake').innerText.includes('share from 0 to 1')")
    assert len(sandbox.faults) == 0


def test_it_fits_a_phone(page: Any, sandbox: Sandbox) -> None:
    """Nothing is wider than the screen, and nothing complains."""
    ask(sandbox, "x" * 300)
    wait(page, "return document.querySelectorAll('#log tr').length === 1")
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    severe = [line["message"] for line in page.get_log("browser") if line["level"] == "SEVERE"]
    assert [line for line in severe if "_sandbox/faults" not in line and "ERR_" not in line] == []


def test_it_comes_back_after_an_outage(page: Any, sandbox: Sandbox) -> None:
    """The page says that it lost the sandbox, and goes on when that is back."""
    from phonesys.sandbox import faults

    sandbox.faults.add(faults.Refused(seconds=0.1, times=1))
    ask(sandbox)
    ask(sandbox)
    assert ask(sandbox) in {200, "ConnectionResetError", "URLError", "RemoteDisconnected"}
    wait(page, "return document.querySelector('#link').dataset.state === 'live'")
