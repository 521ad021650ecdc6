"""`phonesys doctor` finds what is wrong, and says what to do."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.backends.leadconnector.oauth.credential import store_key
from phonesys.cli import probe
from phonesys.oauth import FileTokenStore, Token
from phonesys.sandbox import status
from phonesys.secret import Secret
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
    """Every backend was read, with its pools and agents, and the clocks agree."""
    assert call("sweep", "--store", "s.db").status == 0
    monkeypatch.setenv("PHONESYS_STORE", "s.db")
    found = checks(0)
    assert all(check["ok"] for check in found.values())
    assert found["backend leadping"]["state"] == "account default: 3 numbers on the first page"
    assert found["store"]["state"] == "s.db: 1 snapshot"
    assert "aiohttp" in found["installation"]["state"]
    assert found["proxy"]["state"] == "none"
    assert found["clock"]["state"].endswith("of 3 vendors")
    assert "responds in" in found["connection agents"]["state"]
    assert found["pools leadconnector"]["state"].endswith("can be read")
    assert found["agents agents"]["state"] == "7 can be read"
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
    monkeypatch.setattr(
        probe, "time", SimpleNamespace(time=lambda: time.time() + offset, monotonic=time.monotonic)
    )
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
        monkeypatch.setattr(probe, "time", SimpleNamespace(time=lambda: 15.0, monotonic=time.monotonic))
        found = await probe.probe_host("http://vendor.test/v2")
        assert (found.clock_offset, found.proxy, found.problem) == (5.0, "127.0.0.1", None)
    assert seen[0].startswith("HEAD http://vendor.test/")
    assert "authorization" not in seen[0].lower()


async def test_a_host_that_does_not_respond_is_named(
    vendors: Sandbox, tmp_path: Path, unused_port: int
) -> None:
    """With what to look at; the configuration of the other backends is checked all the same."""
    text = toml(vendors).replace(vendors.leadping_url, f"http://127.0.0.1:{unused_port}/v2")
    write(tmp_path / "phonesys.toml", text)
    found = await asyncio.to_thread(checks, 1)
    assert f"no response from 127.0.0.1:{unused_port}" in found["connection leadping"]["state"]
    assert "HTTPS_PROXY" in found["connection leadping"]["advice"]
    assert found["connection agents"]["ok"]
    assert found["backend agents"]["ok"]


def test_a_missing_scope_is_named(vendors: Sandbox) -> None:
    """Numbers can be read, pools cannot."""
    vendors.script("leadconnector.pools", status(403), repeat=True)
    found = checks(1)
    assert found["backend leadconnector"]["ok"]
    assert "lacks a scope" in found["pools leadconnector"]["advice"]


APP = 'client_id = "app-1"\nclient_secret = "s"\nlocation_ids = ["loc_1"]\nstore = "tokens.json"\n'


@pytest.mark.parametrize(
    ("token", "expected", "advice"),
    [
        (None, "tokens.json has none", "phonesys auth login"),
        (("a", "r", None, "phonenumbers.read"), "lacks the scope numberpools.read", "add it to the app"),
        (("a", None, 1.0, "phonenumbers.read numberpools.read"), "cannot be renewed", "phonesys auth login"),
    ],
    ids=["missing", "scope", "expired"],
)
def test_an_apps_token_is_checked(
    vendors: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: tuple[Any, ...] | None,
    expected: str,
    advice: str,
) -> None:
    """Before it is used: whether there is one, for how long, and with which scopes."""
    monkeypatch.setenv("PHONESYS_CONFIG", "phonesys.toml")
    write(
        tmp_path / "phonesys.toml",
        f'[leadconnector]\nbase_url = "{vendors.leadconnector_url}"\n[leadconnector.oauth]\n{APP}',
    )
    if token is not None:
        access, refresh, expires_at, scope = token
        stored = Token(
            access=Secret(access),
            refresh=None if refresh is None else Secret(refresh),
            expires_at=expires_at,
            scope=scope,
            obtained_at=0.0,
        )
        key = store_key("app-1", "location/loc_1")
        asyncio.run(FileTokenStore(tmp_path / "tokens.json").save(key, stored))
    found = checks(1)["token leadconnector location/loc_1"]
    assert expected in found["state"]
    assert advice in found["advice"]


def test_a_proxy_that_is_none_is_named(vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the form that is expected, and without the value, which may hold a password."""
    monkeypatch.setenv("HTTPS_PROXY", "me:secret@")
    found = checks(1)["proxy"]
    assert found["state"] == "HTTPS_PROXY is not a proxy"
    assert found["advice"] == "HTTPS_PROXY=http://HOST:PORT"


def test_one_backend_alone_is_checked(vendors: Sandbox) -> None:
    """A name that the configuration does not have is told."""
    done = call("doctor", "--backend", "agents", "--columns", "check", "--format", "csv", "--quiet")
    assert done.status == 0
    assert done.out.splitlines() == [
        "check", "installation", "configuration", "proxy", "connection agents", "backend agents",
        "agents agents", "clock", "store",
    ]  # fmt: skip
    assert "did you mean 'agents'" in call("doctor", "--backend", "agnts").err
