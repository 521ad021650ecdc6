"""The endpoints behind the page: what they tell, what they switch, and who may not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys.sandbox import FaultPlan, Sandbox, faults
from tests.sandbox.rawclient import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Page:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.sandbox.url + path, json=body, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with (
        Sandbox(locations=5, numbers=3, not_connected=1, seed=2) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        yield Page(sandbox, session)


async def test_the_page_is_served_without_anything_from_elsewhere(page: Page) -> None:
    """It and its files, under a policy that allows no other source, no frame, and no inline script."""
    for path, kind in (("/", "html"), ("/_sandbox/page.css", "css"), ("/_sandbox/page.js", "javascript")):
        async with page.session.get(page.sandbox.url + path) as answer:
            assert answer.status == 200
            assert kind in answer.content_type
            assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "://" not in (await answer.text())


async def test_the_state_is_told(page: Page) -> None:
    """Counters, requests, limits in use, and accounts; its own requests are not among them."""
    await RawClient(page.sandbox).numbers()
    _, about = await page.ask("GET", "/_sandbox/about")
    assert "leadconnector.numbers" in about["routes"]
    assert {kind["kind"] for kind in about["kinds"]} == faults.KINDS.keys()
    _, state = await page.ask("GET", "/_sandbox/state")
    assert (state["total"], len(state["log"]), state["enforced"]) == (1, 1, True)
    here = page.sandbox.location_ids[0]
    assert {"backend": "leadconnector", "account": here, "used": 1, "most": 100, "seconds": 10.0} in state[
        "limits"
    ]
    _, state = await page.ask("GET", "/_sandbox/state?after=1")
    assert state["log"] == []
    _, listed = await page.ask("GET", "/_sandbox/accounts")
    assert [row["state"] for row in listed["accounts"]].count("not connected") == 1
    assert len(listed["accounts"]) == 7
    _, listed = await page.ask("GET", f"/_sandbox/accounts?search={here[3:9]}")
    assert [row["account"] for row in listed["accounts"]] == [here]


async def test_faults_are_switched(page: Page) -> None:
    """Added, off, on, removed, all of them: each is seen by the next request."""
    raw = RawClient(page.sandbox)
    rule = {"kind": "status", "code": 502, "route": "leadconnector.*"}
    status, made = await page.ask("POST", "/_sandbox/faults", rule)
    assert (status, made["on"], made["rule"]) == (201, True, rule)
    where = f"/_sandbox/faults/{made['id']}"
    assert (await raw.numbers()).status == 502
    assert (await page.ask("PATCH", where, {"on": False}))[1]["met"] == 1
    assert (await raw.numbers()).status == 200
    await page.ask("PATCH", where, {"on": True})
    assert (await raw.numbers()).status == 502
    assert (await page.ask("DELETE", where))[0] == 204
    assert (await raw.numbers()).status == 200
    await page.ask("POST", "/_sandbox/faults", rule)
    assert (await page.ask("DELETE", "/_sandbox/faults"))[0] == 204
    assert (await raw.numbers()).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "", {"kind": "statsu"}, 400, "there are: latency"),
        ("POST", "", {"kind": "status", "code": 5}, 400, "expected a status"),
        ("POST", "", {"kind": "status", "route": "nowhere"}, 400, "no such route"),
        ("PATCH", "/99", {"on": True}, 404, "no such fault"),
        ("PATCH", "/99", {"on": 5}, 400, "bool"),
        ("DELETE", "/99", None, 404, "no such fault"),
        ("GET", "/x", None, 404, "nothing here"),
        ("PUT", "", {}, 404, "nothing here"),
    ],
)
async def test_mistakes_are_told(
    page: Page, method: str, path: str, body: Any, status: int, says: str
) -> None:
    """In a sentence, and nothing changes."""
    got, answer = await page.ask(method, f"/_sandbox/faults{path}", body)
    assert got == status
    assert says in answer["message"]
    assert len(page.sandbox.faults) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # a name of somebody else's that resolves to this machine
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::ffff:8.8.8.8]"},
        {"Host": "@"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Content_Type": "text/plain"},  # which a form of another site could send
    ],
)
async def test_other_sites_are_refused(page: Page, headers: dict[str, str]) -> None:
    """Nobody who is a page of another site throws a switch."""
    body = b'{"kind": "status"}'
    sent = {"Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    raw = RawClient(page.sandbox)
    host = sent.pop("Host", None)
    if host is None:
        answer = await raw.ask("POST", page.sandbox.url + "/_sandbox/faults", sent, body)
        status = answer.status
    else:
        async with page.session.post(
            page.sandbox.url + "/_sandbox/faults", data=body, headers={**sent, "Host": host}
        ) as refused:
            status = refused.status
    assert status in {400, 403}
    assert len(page.sandbox.faults) == 0


async def test_other_sites_cannot_look_either(page: Page) -> None:
    """Not by rebinding a name, nor across sites; following a link to the page is fine."""
    for path in ("/", "/_sandbox/about", "/_sandbox/events"):
        assert (await page.ask("GET", path, Host="evil.example"))[0] == 403
    assert (await page.ask("GET", "/_sandbox/about", Sec_Fetch_Site="cross-site"))[0] == 403
    assert (await page.ask("GET", "/", Sec_Fetch_Site="cross-site"))[0] == 200
    own = page.sandbox.url
    assert (await page.ask("POST", "/_sandbox/faults", {"kind": "null"}, Origin=own))[0] == 201


async def test_the_vendors_do_not_care_about_names(page: Page) -> None:
    """Only the page is guarded: a client may call the vendors whatever it likes."""
    assert (await page.ask("GET", "/leadping/phone-numbers/x", Host="api.leadping.ai"))[0] == 401


async def test_only_this_machine_may_look() -> None:
    """A peer that is not on loopback is refused, whatever name it uses."""
    from phonesys.sandbox.control.guard import reject_reason

    class Far:
        remote, headers, method, path = "192.168.1.7", {"Host": "localhost"}, "GET", "/"

    assert reject_reason(Far()) == "only on this machine"  # type: ignore[arg-type]


async def read_event(stream: aiohttp.ClientResponse) -> Any:
    while True:
        line = await asyncio.wait_for(stream.content.readline(), 5)
        if line.startswith(b"data: "):
            return json.loads(line[6:])


async def test_events_tell_what_happens(page: Page) -> None:
    """The state at once, and after each change what is new of it."""
    async with page.session.get(page.sandbox.url + "/_sandbox/events") as stream:
        assert (await read_event(stream))["total"] == 0
        await RawClient(page.sandbox).numbers()
        state = await read_event(stream)
        assert (state["total"], len(state["log"])) == (1, 1)
        page.sandbox.faults.add(faults.Reset())
        state = await read_event(stream)
        assert (len(state["faults"]), state["log"]) == (1, [])


@pytest.mark.jumping
async def test_streams_hold_nothing_up() -> None:
    """A browser that watches does not keep the sandbox from ending, and can come back."""
    sandbox = Sandbox(locations=1)
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with sandbox:
                stream = await session.get(sandbox.url + "/_sandbox/events")
                await read_event(stream)
                started = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - started < 1
            stream.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_hostile_names_travel_as_data(page: Page) -> None:
    """What clients send comes back as JSON and never as a page."""
    await RawClient(page.sandbox).numbers("%3Cscript%3Ealert(1)%3C/script%3E")
    await RawClient(page.sandbox).ask("GET", page.sandbox.url + "/<script>", {})
    async with page.session.get(page.sandbox.url + "/_sandbox/state") as answer:
        assert answer.content_type == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_plan_is_shown_with_what_is_unusual(page: Page) -> None:
    """Defaults are left out, and what is switched off is there."""
    plan = FaultPlan((faults.Status(code=500, off=True),))
    async with Sandbox(locations=1, faults=plan) as sandbox:
        _, state = await Page(sandbox, page.session).ask("GET", "/_sandbox/state")
    rule = {"kind": "status", "code": 500, "off": True}
    assert state["faults"] == [{"id": 1, "on": False, "met": 0, "rule": rule}]
