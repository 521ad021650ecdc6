"""The example programs, run as programs."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import aiohttp

from tests.conftest import PATIENCE

EXAMPLES = Path(__file__).parent.parent / "examples"


async def start(program: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-W", "error", str(EXAMPLES / program), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process, said: bytes = b"") -> tuple[int | None, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(said)
    return process.returncode, out.decode(), err.decode()


async def test_the_service_answers_many_callers_and_stops_cleanly(unused_port: int) -> None:
    """One client serves concurrent callers; mistakes are 400; Ctrl-C ends it without a word on stderr."""
    service = await start("service.py", "--port", str(unused_port))
    assert service.stdout is not None
    async with asyncio.timeout(PATIENCE):
        await service.stdout.readuntil(b"Running on")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_port}") as session:

            async def ask(path: str) -> tuple[int, object]:
                async with session.get(path) as response:
                    return response.status, json.loads(await response.read())

            answers = await asyncio.gather(
                *(ask("/inventory") for _ in range(5)), *(ask("/numbers/+14155552671"),) * 1
            )
            assert [status for status, _ in answers] == [200] * 6
            inventory = answers[0][1]
            assert isinstance(inventory, dict)
            assert inventory["complete"]
            assert sum(inventory["numbers"].values()) > 300
            status, mistake = await ask("/numbers/%20")
            assert status == 400
            assert "number" in str(mistake)
    service.send_signal(signal.SIGINT)
    code, _, err = await ended(service)
    assert (code, err) == (0, "")


async def test_the_bot_sweeps_answers_and_stops(unused_port: int) -> None:
    """It answers while it watches, and ends after its rounds."""
    bot = await start("bot.py", "--rounds", "3", "--every", "0.3")
    code, out, err = await ended(bot, b"+14155552671\n(415) 555-2671\n")
    assert (code, err) == (0, "")
    assert re.search(r"^round 1: (\d+) numbers, \1 added, 0 removed$", out, re.MULTILINE)
    assert re.search(r"^round 3: \d+ numbers, 0 added, 0 removed$", out, re.MULTILINE)
    assert "+14155552671: not held" in out
    assert "(415) 555-2671: not held" in out
    assert out.endswith("stopped\n")


async def test_the_bot_can_be_interrupted() -> None:
    """Ctrl-C ends a bot that would run for ever, without a traceback."""
    bot = await start("bot.py", "--every", "3600")
    assert bot.stdout is not None
    async with asyncio.timeout(PATIENCE):
        await bot.stdout.readuntil(b"round 1:")
    bot.send_signal(signal.SIGINT)
    code, _, err = await ended(bot)
    assert (code, err) == (0, "")
