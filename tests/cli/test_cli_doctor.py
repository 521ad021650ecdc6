"""`phonesys doctor` finds what is wrong, and says what to do."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.cli import clock
from phonesys.sandbox import status
from tests.cli.vendors import call, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with serving(locations=2, leadping=3, agents=3, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def vendors(server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run in a folder with a configuration that points at the sandbox."""
    for name in ("PHONESYS_CONFIG", "PHONESYS_STORE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(server))
    yield server
    server.clear_script()


def checks(expected: int) -> dict[str, dict[str, Any]]:
    done = call("doctor", "--format", "jsonl")
    assert done.status == expected, done
    return {row["check"]: row for row in map(json.loads, done.out.splitlines())}


def test_nothing_is_wrong(vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backend was read, and a clock that is right is not worth a line."""
    assert call("sweep", "--store", "s.db").status == 0
    monkeypatch.setenv("PHONESYS_STORE", "s.db")
    found = checks(0)
    assert all(check["ok"] for check in found.values())
    assert found["backend leadping"]["state"] == "account default: 3 numbers on the first page"
    assert found["store"]["state"] == "s.db: 1 snapshot"
    assert "aiohttp" in found["installation"]["state"]
    assert "clock" not in found
    assert "leadconnector" in call("doctor").out


def test_a_credential_that_is_refused_is_named(vendors: Sandbox, tmp_path: Path) -> None:
    """The other backends are checked all the same."""
    text = toml(vendors).replace(vendors.leadping_key, "sk_wrong")
    write(tmp_path / "phonesys.toml", text)
    vendors.script("agents.list", status(403), repeat=True)
    found = checks(1)
    assert "401" in found["backend leadping"]["state"]
    assert "not accepted" in found["backend leadping"]["advice"]
    assert "lacks a scope" in found["backend agents"]["advice"]
    assert found["backend leadconnector"]["ok"]
    assert "sk_wrong" not in str(found)


def test_mistakes_in_the_configuration_and_the_store_are_named(
    vendors: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is a check of its own."""
    monkeypatch.setenv("PHONESYS_STORE", "none.db")
    write(tmp_path / "phonesys.toml", '[agents]\napi_kee = "x"\n[leadconnector]\ntoken = "x"\n')
    found = checks(1)
    assert "no such key; did you mean 'api_key'?" in found["backend agents"]["state"]
    assert "does not say which accounts it opens" in found["backend leadconnector"]["state"]
    assert "there is no such file" in found["store"]["state"]


def test_without_a_configuration_it_says_so(
    vendors: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice is to write one."""
    (tmp_path / "phonesys.toml").unlink()
    for name in ("LEADCONNECTOR_TOKEN", "LEADPING_API_KEY", "AGENTS_API_KEY"):
        monkeypatch.delenv(f"PHONESYS_{name}", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    found = checks(1)
    assert (found["configuration"]["ok"], found["configuration"]["state"]) == (
        False,
        "environment: 0 backends",
    )
    assert "HTTPS_PROXY" in found["proxy"]["state"]


@pytest.mark.parametrize(("offset", "expected"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_wrong_is_named(
    vendors: Sandbox, monkeypatch: pytest.MonkeyPatch, offset: int, expected: str
) -> None:
    """It is compared with the vendor's."""
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: time.time() + offset))
    assert expected in checks(1)["clock"]["state"]


async def test_the_clock_check_sends_no_password_of_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is used, but ~/.netrc is never read."""
    write(tmp_path / "netrc", "machine vendor.test login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[str] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:10 GMT\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: 15.0))
        assert await clock.clock_offset("http://vendor.test/v2") == 5.0
    assert seen[0].startswith("HEAD http://vendor.test/")
    assert "authorization" not in seen[0].lower()
