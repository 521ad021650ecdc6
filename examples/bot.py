"""A long-running bot: it sweeps repeatedly, answers questions at the same time, and stops cleanly.

    python examples/bot.py --rounds 3

Type a phone number on standard input, and the bot prints the accounts that hold it. It stops after its
rounds, or on Ctrl-C. It uses the embedded sandbox. In your own bot, pass your credentials to the backends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from phonesys import AgentNumbers, LeadConnector, Leadping, PhonesysError, PhoneSystem
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


class InventoryBot:
    """Remembers the numbers of its last complete sweep."""

    def __init__(self, phones: PhoneSystem) -> None:
        self.phones = phones
        self.known: frozenset[str] = frozenset()

    async def watch(self, rounds: int, every: float) -> None:
        """Sweep, print what changed, and sleep. A round that fails is printed and does not end the bot."""
        for round_ in range(1, rounds + 1):
            try:
                await self._sweep(round_)
            except PhonesysError as error:
                print(f"round {round_}: {error}", flush=True)
            if round_ < rounds:
                await asyncio.sleep(every)

    async def _sweep(self, round_: int) -> None:
        seen: set[str] = set()
        async with self.phones.sweep() as sweep:
            async for page in sweep:
                seen.update(number.number for number in page.numbers)
        if not sweep.report.complete:  # a number that was not read is not gone
            print(f"round {round_}: incomplete, {len(sweep.report.failures)} failures", flush=True)
            return
        added, removed = len(seen - self.known), len(self.known - seen)
        self.known = frozenset(seen)
        print(f"round {round_}: {len(seen)} numbers, {added} added, {removed} removed", flush=True)

    async def answer(self, questions: AsyncIterator[str]) -> None:
        """Look numbers up while the sweeps continue, over the same connections."""
        async for question in questions:
            try:
                holders = await self.phones.find(question)
            except PhonesysError as error:
                print(f"{question}: {error}", flush=True)
            else:
                where = ", ".join(f"{number.provider}/{number.account}" for number in holders)
                print(f"{question}: {where or 'not held'}", flush=True)


@asynccontextmanager
async def standard_input() -> AsyncGenerator[AsyncIterator[str]]:
    """Read lines without blocking the loop."""
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        yield (line.decode().strip() async for line in reader if line.strip())
    finally:
        pipe.close()


async def main(rounds: int, every: float) -> None:
    """Run the bot over the sandbox."""
    async with (
        Sandbox(locations=20) as sandbox,
        PhoneSystem(
            LeadConnector(
                sandbox.leadconnector_token,
                base_url=sandbox.leadconnector_url,
                locations=sandbox.location_ids,
            ),
            Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url),
            AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url),
        ) as phones,
    ):
        bot = InventoryBot(phones)
        async with standard_input() as questions, asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(bot.answer(questions))
            await bot.watch(rounds, every)
            answering.cancel()
    print("stopped", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between rounds")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.rounds, arguments.every))
