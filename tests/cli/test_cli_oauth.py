"""From `phonesys auth login` to a sweep with what it printed."""

from __future__ import annotations

import io
import json
import stat
import sys
import tomllib
import webbrowser
from typing import TYPE_CHECKING

import pytest

from phonesys.cli.commands.auth import KEY_VARIABLE, SECRET_VARIABLE
from phonesys.cli.commands.auth import configuration as lines
from phonesys.oauth import new_key
from tests.cli.vendors import Result, browse, call, end, run, serving, start, write
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder that is the home directory too, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PHONESYS_LEADCONNECTOR_TOKEN", KEY_VARIABLE, SECRET_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    # Only a configuration that is named may send stored tokens to the sandbox.
    monkeypatch.setenv("PHONESYS_CONFIG", "phonesys.toml")


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    with serving(locations=12, not_connected=1, leadping=0, agents=0, enforce_limits=False) as sandbox:
        yield sandbox


def login(vendor: Sandbox, port: int, *more: str) -> tuple[str, ...]:
    return (
        "auth", "login", "--client-id", vendor.oauth.client_id, *more,
        "--redirect-uri", f"http://localhost:{port}/callback",
        "--base-url", vendor.leadconnector_url, "--marketplace-url", vendor.leadconnector_url,
    )  # fmt: skip


def held(vendor: Sandbox, account: str | None = None) -> list[str]:
    """Return the numbers of all locations, or of one."""
    return sorted(
        number
        for (backend, location), numbers in vendor.truth.items()
        if backend == "leadconnector" and account in {None, location}
        for number in numbers
    )


def listed(done: Result) -> list[str]:
    assert done.status == 0, done
    return sorted(json.loads(line)["number"] for line in done.out.splitlines())


@pytest.mark.parametrize("key", ["", new_key()], ids=["plain", "encrypted"])
def test_from_login_to_a_sweep_of_the_agency(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The printed lines are the whole configuration, and name no accounts."""
    variables = {SECRET_VARIABLE: vendor.oauth.client_secret} | ({KEY_VARIABLE: key} if key else {})
    arguments = login(
        vendor, unused_port, "--token-store", "kept/tokens.json", "--no-browser", "--timeout", str(PATIENCE)
    )
    process = start(*arguments, cwd=tmp_path, variables=variables)
    assert process.stderr is not None
    address = next(line for line in process.stderr if line.startswith(b"http")).decode().strip()
    assert browse(address)
    done = end(process)
    assert done.status == 0, done
    assert f"the token of company/{vendor.oauth.company_id} is in kept/tokens.json" in done.err
    write(tmp_path / "phonesys.toml", done.out)
    swept = [run("sweep", "--config", "phonesys.toml", "-f", "jsonl", cwd=tmp_path, variables=variables)]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    swept.append(call("sweep", "-f", "jsonl", "-v"))
    assert [listed(one) for one in swept] == [held(vendor)] * 2
    assert vendor.oauth.exchanges.total() == 12  # the second one had them all from the store
    assert vendor.oauth.refreshes.total() == 0
    stored = (tmp_path / "kept" / "tokens.json").read_text()
    assert ("sealed" in stored) == bool(key)
    assert stat.S_IMODE((tmp_path / "kept" / "tokens.json").stat().st_mode) == 0o600
    for one in (done, *swept):
        for secret in filter(None, variables.values()):
            assert secret not in one.out + one.err


def test_login_and_configuration_mean_the_same_store(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both use the same file in the home directory by default."""
    monkeypatch.setenv(SECRET_VARIABLE, vendor.oauth.client_secret)
    monkeypatch.setattr(webbrowser, "open", browse)
    done = call(*login(vendor, unused_port, "--quiet"))
    assert (done.status, done.err) == (0, "")
    assert (tmp_path / ".phonesys" / "tokens.json").exists()
    text = "".join(line for line in done.out.splitlines(keepends=True) if not line.startswith("store"))
    assert text != done.out
    write(tmp_path / "phonesys.toml", text)
    assert "ready: lists its own accounts" in call("providers").out
    assert listed(call("sweep", "-f", "jsonl")) == held(vendor)
    (row,) = [json.loads(line) for line in call("auth", "status", "--format", "jsonl").out.splitlines()]
    assert (row["subject"], row["state"]) == (f"company/{vendor.oauth.company_id}", "valid")
    assert row["scopes"]
    assert row["expires_at"]
    shown = call("auth", "status", "--columns", "state,subject")
    assert (shown.status, "valid" in shown.out, row["scopes"][0] in shown.out) == (0, True, False)
    (tmp_path / ".phonesys" / "tokens.json").unlink()
    missing = call("auth", "status")
    assert (missing.status, "missing" in missing.out) == (1, True)


def test_a_token_store_is_named_to_any_command(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in for a store that is not configured, and goes before one that is."""
    monkeypatch.setenv(SECRET_VARIABLE, vendor.oauth.client_secret)
    monkeypatch.setattr(webbrowser, "open", browse)
    kept = ("--token-store", "kept/tokens.json")
    (tmp_path / "kept").mkdir()
    text = call(*login(vendor, unused_port, *kept)).out
    without = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("store"))
    for configured in (without, without + 'store = "elsewhere.json"\n'):
        write(tmp_path / "phonesys.toml", configured)
        assert call("auth", "status").status == 1
        assert "valid" in call("auth", "status", *kept).out
        assert listed(call("sweep", *kept, "-f", "jsonl")) == held(vendor)
        assert listed(call("numbers", "leadconnector", *kept, "-f", "jsonl")) == held(vendor)
    shards = call("sweep", "--processes", "2", "--shards", "1", *kept, "--folder", "s", "--snapshot", "n")
    assert f"{len(held(vendor)):,}" in shards.out, shards
    assert not (tmp_path / "elsewhere.json").exists()
    assert "deleted from kept/tokens.json" in call("auth", "logout", "--yes", *kept).err
    assert call("auth", "status", *kept).status == 1


def test_a_token_store_without_an_app_is_a_mistake(tmp_path: Path) -> None:
    """No token would be read from it; the sandbox has its own."""
    write(tmp_path / "phonesys.toml", '[leadping]\napi_key = "sk_1"\n')
    for arguments in (("sweep",), ("apply", "plan.jsonl"), ("auth", "status"), ("doctor",)):
        (tmp_path / "plan.jsonl").touch()
        done = call(*arguments, "--token-store", "t.json")
        assert done.status == 2, done
    done = call("sweep", "--token-store", "t.json")
    assert done.err == (
        "phonesys: phonesys.toml: no backend has an [….oauth] table, whose tokens --token-store holds\n"
    )
    done = call("sweep", "--sandbox", "--token-store", "t.json")
    assert done.err == "phonesys: --token-store: cannot be combined with --sandbox, which has its own\n"
    done = call("sweep", "--token-store", "postgresql://me:secret@db/x")
    assert (done.status, "password on the command line" in done.err, "secret" in done.err) == (2, True, False)


def test_a_status_without_an_app_is_a_mistake(tmp_path: Path) -> None:
    """There is no token to show."""
    write(tmp_path / "phonesys.toml", '[leadping]\napi_key = "x"\n')
    done = call("auth", "status")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "no backend has an [….oauth] table" in done.err


def test_a_location_that_let_the_app_in_by_itself(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its configuration names the location, and only that one is swept."""
    account = max(vendor.location_ids, key=lambda one: len(held(vendor, one)))
    monkeypatch.setenv(SECRET_VARIABLE, vendor.oauth.client_secret)
    monkeypatch.setattr(webbrowser, "open", lambda address: browse(f"{address}&location={account}"))
    done = call(*login(vendor, unused_port, "--for", "location", "--token-store", "tokens.json"))
    assert done.status == 0, done
    assert tomllib.loads(done.out)["leadconnector"]["oauth"]["location_ids"] == [account]
    write(tmp_path / "phonesys.toml", done.out)
    assert "ready: 1 account" in call("providers").out
    assert listed(call("sweep", "-f", "jsonl")) == held(vendor, account)


def test_an_agencys_static_token_finds_its_locations(vendor: Sandbox, tmp_path: Path) -> None:
    """A search for the locations of `company_id` finds them."""
    write(
        tmp_path / "phonesys.toml",
        f"""
        [leadconnector]
        token = "{vendor.leadconnector_token}"
        base_url = "{vendor.leadconnector_url}"
        company_id = "{vendor.oauth.company_id}"
        """,
    )
    assert listed(call("sweep", "-f", "jsonl")) == held(vendor)
    account = vendor.location_ids[0]
    assert listed(call("numbers", "leadconnector", account, "-f", "jsonl")) == held(vendor, account)


def test_before_the_first_login_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the command to run, with status 2."""
    monkeypatch.setenv(SECRET_VARIABLE, "x")
    text = lines("a-b", "company/c", str(tmp_path / "t.json"), encrypted=False, url="http://127.0.0.1:1")
    write(tmp_path / "phonesys.toml", text)
    done = call("numbers", "leadconnector", "-f", "jsonl")
    assert (done.status, done.out) == (2, "")
    assert "authorise first, as with `phonesys auth login`" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("variable", "arguments", "expected"),
    [
        ((KEY_VARIABLE, "no-key-at-all"), (), f"{KEY_VARIABLE}: is not a Fernet key; make one"),
        ((SECRET_VARIABLE, " padded "), (), "client secret: expected a string that is not empty nor padded"),
        ((SECRET_VARIABLE, "x"), ("--token-store", "~no-such-user/x"), "--token-store: Could not determine"),
        ((SECRET_VARIABLE, "x"), ("--base-url", "http://example.com"), "base_url: plain http is for"),
        ((SECRET_VARIABLE, "x"), ("--redirect-uri", "https://example.com"), "redirect_uri: expected http://"),
    ],
)  # fmt: skip
def test_a_login_that_cannot_work_opens_no_browser(
    monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str], arguments: tuple[str, ...], expected: str
) -> None:
    """The error is one line with status 2, before a browser is opened."""
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was opened"))
    monkeypatch.setenv(*variable)
    done = call("auth", "login", "--client-id", "a-b", "--token-store", "tokens.json", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"phonesys: {expected}")
    assert "no-key-at-all" not in done.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{}", "it is damaged, or not a token file of phonesys"),
        ('{"format":"phonesys-tokens","version":1,"sealed":"x"}', "it is encrypted, but no key was given"),
    ],
)
def test_a_store_that_cannot_be_read_is_reported_before_consent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, expected: str
) -> None:
    """The status is 2, and the file is unchanged."""
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was opened"))
    monkeypatch.setenv(SECRET_VARIABLE, "x")
    file = write(tmp_path / "tokens.json", content)
    done = call("auth", "login", "--client-id", "a-b", "--token-store", "tokens.json")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert expected in done.err
    assert file.read_text() == content


def test_what_login_prints_is_toml(tmp_path: Path) -> None:
    """Paths and ids may have any characters."""
    path = tmp_path / 'a "b" \\ é\x7f.json'
    printed = tomllib.loads(lines("a-b", 'company/"c"', str(path), encrypted=True, url=None))
    assert printed["leadconnector"]["oauth"] == {
        "client_id": "a-b",
        "client_secret_env": SECRET_VARIABLE,
        "company_id": '"c"',
        "store": str(path),
        "store_key_env": KEY_VARIABLE,
    }


def test_a_login_without_a_terminal_does_not_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the secret's variable, the error is one line with status 2."""
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was opened"))
    done = call("auth", "login", "--client-id", "a-b", "--token-store", "tokens.json")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"expected {SECRET_VARIABLE}, since there is no terminal" in done.err


def test_a_login_into_a_database_is_swept_from_it(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL as the store keeps the tokens in a database, which a named configuration may use."""
    monkeypatch.setenv(SECRET_VARIABLE, vendor.oauth.client_secret)
    monkeypatch.setattr(webbrowser, "open", browse)
    url = f"sqlite:///{tmp_path / 'tokens.db'}"
    done = call(
        "auth", "login", "--client-id", vendor.oauth.client_id, "--token-store", url,
        "--redirect-uri", f"http://localhost:{unused_port}/callback",
        "--base-url", vendor.leadconnector_url, "--marketplace-url", vendor.leadconnector_url,
    )  # fmt: skip
    assert done.status == 0, done.err
    assert f'store = "{url}"' in done.out
    named = write(tmp_path / "named.toml", done.out)
    swept = call("sweep", "--config", str(named), "-f", "jsonl")
    assert swept.status == 0, swept.err
    assert listed(swept) == held(vendor)
    monkeypatch.delenv("PHONESYS_CONFIG")
    lines_without_host = done.out.partition("[leadconnector.oauth]")
    write(tmp_path / "phonesys.toml", "".join(lines_without_host[1:]))
    found = call("sweep")
    assert (found.status, found.out) == (2, "")
    assert "tokens go to a database only with a configuration that is named" in found.err
