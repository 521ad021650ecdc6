"""The example programs, run as programs, and the bot beside a Bot API server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import PhoneSystem
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from phonesys.sandbox import Sandbox

EXAMPLES = Path(__file__).parent.parent / "examples"


async def start(program: str, *arguments: object, cwd: Path | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-W", "error", str(EXAMPLES / program), *map(str, arguments), cwd=cwd,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process, said: bytes = b"") -> tuple[int | None, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(said)
    return process.returncode, out.decode(), err.decode()


async def test_the_service_answers_many_callers_and_stops_cleanly(unused_port: int) -> None:
    """One client serves concurrent callers. Mistakes are 400, unknown numbers 404. Ctrl-C ends it."""
    service = await start("service.py", "--port", unused_port)
    assert service.stderr is not None
    async with asyncio.timeout(PATIENCE):
        await service.stderr.readuntil(b"running on")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_port}") as session:

            async def ask(path: str) -> tuple[int, Any]:
                async with session.get(path) as response:
                    return response.status, json.loads(await response.read())

            answers = await asyncio.gather(*(ask("/inventory") for _ in range(5)))
            assert [status for status, _ in answers] == [200] * 5
            inventory = answers[0][1]
            assert inventory["complete"]
            assert sum(inventory["numbers"].values()) > 300
            assert (await ask("/numbers/+14155552671"))[0] == 404
            status, mistake = await ask("/numbers/%20")
            assert status == 400
            assert "number" in mistake["error"]
    service.send_signal(signal.SIGINT)
    code, _, err = await ended(service)
    assert code in {0, -signal.SIGINT}  # uvicorn ends by the signal that stopped it
    assert "Application shutdown complete" in err
    assert "Traceback" not in err


async def test_the_nightly_job_writes_a_file_that_others_read(tmp_path: Path) -> None:
    """Each run is a snapshot, and its Parquet file has a row for every number."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for _ in range(2):
        code, out, err = await ended(await start("nightly_export.py", cwd=tmp_path))
        assert (code, err) == (0, "")
    (file,) = (tmp_path / "warehouse").iterdir()
    count = int(re.findall(r": (\d+) numbers of 52 accounts", out)[0])
    assert parquet.read_table(file).num_rows == count > 500


async def test_unassigned_numbers_are_listed_by_location() -> None:
    """Every line names a location and a number, and the last one counts them."""
    code, out, err = await ended(await start("unassigned.py"))
    assert (code, err) == (0, "")
    *lines, last = out.splitlines()
    locations = {line.split()[0] for line in lines}
    assert last == f"{len(lines)} unassigned numbers in {len(locations)} locations"
    assert len(lines) > 10


async def test_an_agency_renews_its_tokens_on_the_second_day() -> None:
    """Tokens are exchanged once a day, and the agency's is renewed once on the second."""
    code, out, err = await ended(await start("agency_days.py"))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "first day: 75 numbers in 25 locations; 0 renewal, 25 exchanges",
        "first day, again: 75 numbers in 25 locations; 0 renewal, 0 exchanges",
        "second day: 75 numbers in 25 locations; 1 renewal, 25 exchanges",
    ]


async def test_the_notebook_runs_from_top_to_bottom() -> None:
    """Every cell runs, and the report of the sweep is complete."""
    from nbclient import NotebookClient
    from nbformat import reads

    notebook: Any = reads((EXAMPLES / "notebook.ipynb").read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    async with asyncio.timeout(PATIENCE):
        await NotebookClient(notebook, kernel_name="python3", timeout=None).async_execute()
    shown = [output["data"]["text/plain"] for cell in notebook.cells for output in cell.get("outputs", ())]
    assert "SweepReport" in shown[0]
    assert "leadconnector" in shown[1]
    assert len(shown) == 5


async def test_the_bot_talks_in_a_terminal() -> None:
    """It replies to questions on standard input, tells mistakes, and Ctrl-C ends it without a traceback."""
    bot = await start("bot.py", "--interval", 3600)
    assert bot.stdin is not None
    assert bot.stdout is not None
    async with asyncio.timeout(PATIENCE):
        bot.stdin.write(b"/who +1 415-555-2671\n")
        assert await bot.stdout.readline() == b"+1 415-555-2671 is held by no account.\n"
        bot.stdin.write(b"/who\n")
        assert b"expected a phone number" in await bot.stdout.readline()
    bot.send_signal(signal.SIGINT)
    code, _, err = await ended(bot)
    assert code == 0
    assert "Traceback" not in err


async def test_the_bot_announces_changes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is renamed at the vendor is announced in the chat, and `/who` tells its new name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer
    from bot import serve
    from bot_api import CHAT, TOKEN, BotApi

    async with asyncio.timeout(PATIENCE), PhoneSystem(*sandbox.backends()) as phones, BotApi() as api:
        session = AiohttpSession(api=TelegramAPIServer.from_base(api.url))
        async with Bot(TOKEN, session=session) as bot:
            serving = asyncio.create_task(serve(bot, CHAT["id"], phones, 0.05))
            number = (await phones["leadping"].page("default")).numbers[0]
            renamed = 0
            while api.sent.empty():  # the first sweep is the baseline, and may be yet to come
                renamed += 1
                await phones["leadping"].update(number.id, name=f"Name {renamed}")
            assert (await api.sent.get()).startswith(f"{number.number} changed leadping default label: ")
            api.say(f"/who {number.number}")
            while "label:" in (said := await api.sent.get()):
                pass
            assert said == f"leadping default: {number.status} Name {renamed}"
            serving.cancel()
            await asyncio.wait([serving])
