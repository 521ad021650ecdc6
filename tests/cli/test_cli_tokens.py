"""`phonesys auth warm` and `logout`: tokens before a sweep needs them, and none afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from phonesys.oauth import FileTokenStore
from tests.cli.vendors import call, serving, write
from tests.oauth.agencies import Clock, exchanges, refreshes, token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.oauth.store import ForgetsAll
    from phonesys.sandbox import Sandbox

LOCATIONS = 12


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    with serving(locations=LOCATIONS, not_connected=0, leadping=3, agents=0, enforce_limits=False) as sandbox:
        yield sandbox


def key_of(vendor: Sandbox) -> str:
    return f"leadconnector/{vendor.oauth.client_id}/company/{vendor.oauth.company_id}"


def location_key(vendor: Sandbox, number: int) -> str:
    return f"leadconnector/{vendor.oauth.client_id}/location/{vendor.location_ids[number]}"


@pytest.fixture(params=["file", "sqlite"])
def store(
    request: pytest.FixtureRequest, vendor: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ForgetsAll:
    """Configure an app whose agency has consented, and return a store of its tokens."""
    for name in ("PHONESYS_CONFIG", "PHONESYS_STORE", "PHONESYS_TOKEN_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_SECRET", vendor.oauth.client_secret)
    where = "tokens.json" if request.param == "file" else f"sqlite:///{tmp_path / 'tokens.db'}"
    app = {
        "client_id": vendor.oauth.client_id,
        "client_secret_env": "LC_SECRET",
        "company_id": vendor.oauth.company_id,
        "store": where,
    }
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in app.items())
    write(
        tmp_path / "phones.toml",
        f'[leadconnector]\nbase_url = "{vendor.leadconnector_url}"\n[leadconnector.oauth]\n{table}\n'
        f'[leadping]\napi_key = "{vendor.leadping_key}"\nbase_url = "{vendor.leadping_url}"\n',
    )
    monkeypatch.setenv("PHONESYS_CONFIG", "phones.toml")
    made = FileTokenStore(tmp_path / where) if request.param == "file" else _sql_store(where)
    asyncio.run(made.save(key_of(vendor), token(vendor.oauth.grant_company(), clock=Clock(time.time()))))
    return made


def _sql_store(where: str) -> ForgetsAll:
    from phonesys.inventory import SqlTokenStore

    return SqlTokenStore(where)


def test_a_warm_sweep_needs_no_token(vendor: Sandbox, store: ForgetsAll) -> None:
    """All tokens are exchanged once. A second run renews none, and a longer horizon renews all."""
    done = call("auth", "warm")
    assert (done.status, done.err) == (0, f"{LOCATIONS} tokens renewed, 1 valid for longer, 0 failed\n"), done
    done = call("auth", "warm", "--hours", "23.5")
    assert done.err == f"0 tokens renewed, {LOCATIONS + 1} valid for longer, 0 failed\n"
    assert call("sweep", "--quiet").status == 0
    assert (exchanges(vendor), refreshes(vendor)) == (LOCATIONS, 0)
    done = call("auth", "warm", "--hours", "25")
    assert done.err.startswith(f"{LOCATIONS + 1} tokens renewed")
    assert (exchanges(vendor), refreshes(vendor)) == (2 * LOCATIONS, 1)
    assert call("sweep", "--quiet").status == 0
    assert (exchanges(vendor), refreshes(vendor)) == (2 * LOCATIONS, 1)


def test_a_location_that_cannot_be_renewed_is_counted(
    vendor: Sandbox, store: ForgetsAll, tmp_path: Path
) -> None:
    """The others are renewed, and the status is 1."""
    gone = vendor.location_ids[3]
    vendor.oauth.uninstalled.add(gone)
    write(tmp_path / "all", "\n".join(vendor.location_ids))
    config = tmp_path / "phones.toml"
    table = "[leadconnector.oauth]"
    write(config, config.read_text().replace(table, f'accounts_file = "all"\n{table}'))
    done = call("auth", "warm")
    assert done.status == 1
    assert f"phonesys: leadconnector {gone}: " in done.err
    assert f"{LOCATIONS - 1} tokens renewed, 1 valid for longer, 1 failed" in done.err


def test_a_company_without_a_token_is_one_line(vendor: Sandbox, store: ForgetsAll) -> None:
    """Nothing can be renewed without it."""
    asyncio.run(store.forget(key_of(vendor)))
    done = call("auth", "warm")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert "phonesys auth login" in done.err


def test_only_apps_are_warmed(vendor: Sandbox, store: ForgetsAll) -> None:
    """A static key cannot be renewed."""
    done = call("auth", "warm", "--backend", "leadping")
    assert (done.status, done.err) == (2, "phonesys: backend 'leadping' has no tokens that can be renewed\n")


def test_a_logout_leaves_no_token(vendor: Sandbox, store: ForgetsAll, tmp_path: Path) -> None:
    """Neither in the store nor in any file beside it, and the output says what it does not do."""
    assert call("auth", "warm").status == 0
    access = asyncio.run(store.load(location_key(vendor, 5)))
    assert access is not None
    done = call("auth", "logout")
    assert (done.status, done.err) == (2, "phonesys: there is no terminal to ask on; expected --yes\n")
    done = call("auth", "logout", "--yes")
    assert done.status == 0
    assert f"leadconnector: {LOCATIONS + 1} tokens deleted from" in done.err
    assert "the vendor documents no way to revoke tokens" in done.err
    assert asyncio.run(store.load(key_of(vendor))) is None
    assert asyncio.run(store.load(location_key(vendor, 5))) is None
    secret = access.access.reveal().encode()
    for path in tmp_path.rglob("*"):
        if path.suffix not in {".db", ".db-wal"} and path.is_file():
            assert secret not in path.read_bytes()
    assert call("auth", "status").status == 1
    assert "0 tokens deleted" in call("auth", "logout", "--yes").err


def test_tokens_of_other_apps_stay(vendor: Sandbox, store: ForgetsAll) -> None:
    """A logout deletes those of the configured app only."""
    other = token(vendor.oauth.grant_company(), clock=Clock(time.time()))
    asyncio.run(store.save("leadconnector/another-app/company/c", other))
    assert call("auth", "logout", "--yes").status == 0
    assert asyncio.run(store.load("leadconnector/another-app/company/c")) == other
