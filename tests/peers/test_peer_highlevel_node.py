"""HighLevel's own Node SDK, pointed at the sandbox, completes a session."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from phonesys.sandbox import Sandbox

SESSION = Path(__file__).with_name("highlevel_session.js")
PACKAGE = "@gohighlevel/api-client@^3"


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the SDK into a folder of its own, if tests of peers are required and Node.js is there."""
    npm = shutil.which("npm")
    if os.environ.get("PHONESYS_REQUIRE_PEERS") != "1":
        pytest.skip("PHONESYS_REQUIRE_PEERS=1 installs the SDK and runs this")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("node")
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
        str(folder),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)  # noqa: S603 -- npm, with words of ours
    assert not done.returncode, done.stderr
    return folder / "node_modules"


async def test_it_completes_a_session(node_modules: Path, vendors: Sandbox) -> None:
    """It lists every number, with both kinds of tokens, the pools, the locations, an offer and a 404."""
    oauth, (missing,) = vendors.oauth, vendors.not_connected
    here = next(id_ for id_ in vendors.location_ids if id_ != missing)
    session: dict[str, Any] = {
        "baseUrl": vendors.leadconnector_url,
        "token": vendors.leadconnector_token,
        "clientId": oauth.client_id,
        "clientSecret": oauth.client_secret,
        "companyId": oauth.company_id,
        "appId": oauth.client_id.partition("-")[0],
        "agencyToken": oauth.grant_company()["access_token"],
        "here": here,
        "missing": missing,
    }
    environment = {**os.environ, "NODE_PATH": str(node_modules), "SESSION": json.dumps(session)}
    process = await asyncio.create_subprocess_exec(
        "node", str(SESSION), stdout=subprocess.PIPE, env=environment
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(out)
    truth = vendors.truth["leadconnector", here]
    assert set(result["numbers"]) == set(result["exchanged"]) == truth
    assert set(result["pooled"]) <= truth
    assert set(result["locations"]) == set(vendors.location_ids)
    assert result["offered"] > 0
    assert result["missing"] == 404
