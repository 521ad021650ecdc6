from __future__ import annotations

import asyncio
import threading
import urllib.request
import webbrowser
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from phonesys.cli.commands.auth import KEY_VARIABLE, SECRET_VARIABLE, app
from phonesys.oauth import FileTokenStore, new_key
from phonesys.sandbox import Sandbox
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    """A sandbox in a thread, since the command runs its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(locations=2)
    asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(PATIENCE)
    yield sandbox
    asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def browse(address: str) -> bool:
    with urllib.request.urlopen(address) as response:  # noqa: S310 -- loopback
        return bool(response.status == 200)


def arguments(vendor: Sandbox, port: int, store: Path) -> list[str]:
    return [
        "login", "--client-id", vendor.oauth.client_id, "--token-store", str(store),
        "--redirect-uri", f"http://localhost:{port}/callback",
        "--base-url", vendor.leadconnector_url, "--marketplace-url", vendor.leadconnector_url,
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
@pytest.mark.parametrize("key", ["", new_key()], ids=["plain", "encrypted"])
def test_a_login_leaves_a_token_in_the_store(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, version: str
) -> None:
    """The command names the token's subject, and shows neither the secret nor the token."""
    monkeypatch.setenv(SECRET_VARIABLE, vendor.oauth.client_secret)
    monkeypatch.setenv(KEY_VARIABLE, key)
    monkeypatch.setattr(webbrowser, "open", browse)
    given = [*arguments(vendor, unused_port, tmp_path / "tokens.json"), "--api-version", version]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert (f'version = "{version}"' in result.output) == (version == "v3")
    subject = f"company/{vendor.oauth.company_id}"
    assert subject in result.output
    store = FileTokenStore(tmp_path / "tokens.json", key=key or None)
    token = asyncio.run(store.load(f"leadconnector/{vendor.oauth.client_id}/{subject}"))
    assert token is not None
    for secret in (vendor.oauth.client_secret, token.access.reveal()):
        assert secret not in result.output


def test_a_rejected_login_fails(
    vendor: Sandbox, unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rejected login shows the vendor's reason, and leaves nothing in the store."""
    monkeypatch.setenv(SECRET_VARIABLE, "wrong")
    monkeypatch.setattr(webbrowser, "open", browse)
    result = CliRunner().invoke(app, arguments(vendor, unused_port, tmp_path / "tokens.json"))
    assert result.exit_code == 1
    assert "Client authentication failed" in result.output
    assert not (tmp_path / "tokens.json").exists()
