"""Plans: what a file may say, who meets what, and that the same seed does the same."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from phonesys import ConfigError, InvalidArgument
from phonesys.sandbox import FaultPlan, Sandbox, faults, status
from phonesys.sandbox.faults import KINDS, parse_rule
from tests.sandbox.rawclient import RawClient

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
seed = 7

[[fault]]
kind = "status"
code = 429
retry_after = "date"
route = "leadconnector.*"
rate = 0.25

[[fault]]
kind = "latency"
seconds = 0.0
jitter = 0.001
off = true
"""


def test_a_plan_is_toml_or_json(tmp_path: Path) -> None:
    """Both say the same."""
    toml, json_ = tmp_path / "faults.toml", tmp_path / "faults.json"
    toml.write_text(TOML)
    fault = {"kind": "status", "code": 429, "retry_after": "date", "route": "leadconnector.*", "rate": 0.25}
    late = {"kind": "latency", "seconds": 0, "jitter": 0.001, "off": True}
    json_.write_text(json.dumps({"seed": 7, "fault": [fault, late]}))
    plan = FaultPlan.load(toml)
    assert plan == FaultPlan.load(str(json_))
    assert plan.faults[0] == faults.Status(
        code=429, retry_after="date", route="leadconnector.*", rate=0.25
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 'x'", "`int`"),
        ("[[fault]]\nkind = 'statsu'", "'statsu'.*fault.0..*there are: latency, "),
        ("[[fault]]\ncode = 503", "kind.*there are: latency, "),
        ("[[fault]]\nkind = 'status'\ncod = 1", "unknown field `cod`.*fault.0."),
        ("[[fault]]\nkind = 'status'\ncode = 99", "code: expected a status.*fault.0."),
        ("[[fault]]\nkind = 'reset'\nrate = 1.5", "rate: expected a share from 0 to 1, got 1.5"),
        ("[[fault]]\nkind = 'reset'\nrequests = [0]", "counted from 1"),
        ("[[fault]]\nkind = 'reset'\ntimes = -1", "times: expected a count"),
        ("[[fault]]\nkind = 'latency'\nseconds = -1", "seconds: expected seconds, 0 or more"),
        ("[[fault]]\nkind = 'latency'\nwhen = 'never'", "'never'"),
        ("[[fault]]\nkind = 'charset'\nencoding = 'klingon'", "encoding: expected the name of an encoding"),
        ("[[fault]]\nkind = 'status'\nretry_after = 'later'", "'later'"),
        ("[[fault", "[Ee]xpected|[Ii]nvalid"),
        ("faults = []", "unknown field `faults`"),
        ("seed = " + "[" * 3000, "recursion|[Ee]xpected|[Ii]nvalid"),
        ("seed = 0x" + "f" * 5000, "digits|[Ee]xpected"),
    ],
)
def test_mistakes_are_told(text: str, message: str, tmp_path: Path) -> None:
    """The file, the place, and what was expected; for a kind, all that there are."""
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"faults.toml: .*{message}"):
        FaultPlan.load(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """So is one that is no text."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        FaultPlan.load(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: "):
        FaultPlan.load(tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match="null"):
        FaultPlan.load("a\0b")


def test_mistakes_in_code_are_told() -> None:
    """Rules that are made by hand are checked as well."""
    with pytest.raises(InvalidArgument, match="rate"):
        faults.Reset(rate=2)
    with pytest.raises(
        InvalidArgument, match=r"no such route: leadpong\.\*; there are: leadconnector\.numbers"
    ):
        Sandbox(faults=FaultPlan((faults.Reset(route="leadpong.*"),)))
    with pytest.raises(ConfigError, match="fault: "):
        parse_rule(b"{")


def test_every_kind_says_what_it_is() -> None:
    """In one line, under a heading: the page shows both."""
    for kind in KINDS.values():
        assert kind.group in {"Time", "Refusals", "Connection", "Bodies", "Rows"}
        assert (kind.__doc__ or "").split("\n")[0]


async def statuses(sandbox: Sandbox, count: int, location: int = 0) -> list[int]:
    client, where = RawClient(sandbox), sandbox.location_ids[location]
    return [(await client.numbers(where)).status for _ in range(count)]


async def test_a_script_names_requests() -> None:
    """Counted for each account by itself, and in order: the first fault that fits happens."""
    plan = FaultPlan((faults.Status(requests=(2, 4)), faults.Status(code=500, times=1)))
    async with Sandbox(locations=2, faults=plan) as sandbox:
        assert await statuses(sandbox, 5) == [500, 503, 200, 503, 200]
        assert await statuses(sandbox, 3, location=1) == [200, 503, 200]
        assert [switch.met for switch in sandbox.faults] == [3, 1]
        assert [switch.spent for switch in sandbox.faults] == [False, True]


async def test_a_fault_can_be_for_one_account_and_route() -> None:
    """Others never meet it."""
    async with Sandbox(locations=2) as sandbox:
        sandbox.faults.add(faults.Status(route="leadconnector.num*", account=sandbox.location_ids[1]))
        assert await statuses(sandbox, 2) == [200, 200]
        assert await statuses(sandbox, 2, location=1) == [503, 503]
        assert (await RawClient(sandbox).listing()).status == 200


async def test_a_rate_is_kept_and_repeats() -> None:
    """The same seed meets the same requests, another one others, and about as many as were asked for."""
    rule = faults.Status(rate=0.3)

    async def met(seed: int) -> list[int]:
        plan = FaultPlan((rule,), seed=seed)
        async with Sandbox(locations=1, faults=plan, enforce_limits=False) as sandbox:
            return await statuses(sandbox, 200)

    one, same, other = await met(1), await met(1), await met(2)
    assert one == same != other
    assert 40 < one.count(503) < 80


async def test_other_requests_and_their_order_change_nothing() -> None:
    """What an account meets depends on what is asked about it alone: concurrent sweeps repeat, too."""

    async def met(*, together: bool) -> dict[str, list[int]]:
        plan = FaultPlan((faults.Status(rate=0.4),), seed=9)
        async with Sandbox(locations=5, faults=plan) as sandbox:
            asked = [statuses(sandbox, 6, location=i) for i in range(5)]
            got = await asyncio.gather(*asked) if together else [await one for one in reversed(asked)][::-1]
            return dict(zip(sandbox.location_ids, got, strict=True))

    assert await met(together=True) == await met(together=False)


async def test_faults_can_be_switched_while_it_runs() -> None:
    """On, off, removed, all of them; an unknown one is a KeyError."""
    async with Sandbox(locations=1, faults=FaultPlan((faults.Status(off=True),))) as sandbox:
        (switch,) = sandbox.faults
        assert await statuses(sandbox, 1) == [200]
        sandbox.faults.switch(switch.id, on=True)
        assert await statuses(sandbox, 1) == [503]
        sandbox.faults.remove(switch.id)
        assert await statuses(sandbox, 1) == [200]
        sandbox.faults.add(faults.Status(code=500))
        sandbox.faults.clear()
        assert await statuses(sandbox, 1) == [200]
        assert len(sandbox.faults) == 0
        with pytest.raises(KeyError):
            sandbox.faults.remove(switch.id)


async def test_scripts_come_first_and_take_rules_too() -> None:
    """What was scripted for a request is not drawn for; the log says what happened to it."""
    async with Sandbox(locations=1, faults=FaultPlan((faults.Status(),))) as sandbox:
        sandbox.script("leadconnector.numbers", status(418), faults.Html(code=502))
        assert await statuses(sandbox, 3) == [418, 502, 503]
        assert [served.fault for served in sandbox.requests] == ["script", "script", "status"]


async def test_what_is_asked_nowhere_meets_nothing() -> None:
    """An unknown path is the client's mistake, and stays recognisable as such."""
    async with Sandbox(locations=1, faults=FaultPlan((faults.Status(),))) as sandbox:
        assert (await RawClient(sandbox).ask("GET", sandbox.url + "/nothing", {})).status == 404
