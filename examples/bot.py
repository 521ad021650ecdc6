"""A Telegram bot on aiogram: `/who +14155552671` names the holders of a number, and changes are announced.

    pip install 'phonesys[inventory]' aiogram
    python examples/bot.py                                       # the chat is this terminal
    BOT_TOKEN=123:abc python examples/bot.py --chat 4711         # Telegram; changes go to chat 4711

One client serves the questions and the sweeps, for the bot's whole life. It uses the embedded sandbox. In
your own bot, pass `LeadConnector(...)` and the other backends to PhoneSystem.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from aiogram import Bot, Dispatcher, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from bot_api import CHAT, TOKEN, BotApi

from phonesys import PhonesysError, PhoneSystem
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from aiogram.filters import CommandObject
    from aiogram.types import Message

    from phonesys.inventory import Change


async def who(message: Message, command: CommandObject, phones: PhoneSystem) -> None:
    """Reply to `/who NUMBER` with the accounts that hold it."""
    asked = command.args or ""
    try:
        holders = await phones.find(asked)
    except PhonesysError as error:  # a mistake in the number, or an account that could not be read
        await message.answer(str(error))
        return
    lines = [f"{one.backend} {one.account}: {one.status} {one.label or ''}" for one in holders]
    await message.answer("\n".join(lines) or f"{asked} is held by no account.")


async def announce(bot: Bot, chat: int, phones: PhoneSystem, interval: float) -> None:
    """Send a message for every change between two sweeps."""
    async with phones.watch(interval=interval) as changes:
        async for change in changes:
            await bot.send_message(chat, describe(change))


def describe(change: Change) -> str:
    """Return a change in words."""
    fields = ", ".join(f"{one.field}: {one.old} → {one.new}" for one in change.fields)
    words = [change.number, change.kind, change.backend, change.account, fields]
    return " ".join(word for word in words if word)


async def serve(bot: Bot, chat: int, phones: PhoneSystem, interval: float) -> None:
    """Answer questions and announce changes until the bot is stopped."""
    router = Router()
    router.message.register(who, Command("who"))
    dispatcher = Dispatcher(phones=phones)
    dispatcher.include_router(router)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(announce(bot, chat, phones, interval))
        await dispatcher.start_polling(bot)
        watching.cancel()


async def talk(api: BotApi) -> None:
    """Make this terminal the chat."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def listen() -> None:
        async for line in reader:
            api.say(line.decode().strip())

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            while True:
                print(await api.sent.get(), flush=True)
    finally:
        pipe.close()


async def main(chat: int, interval: float) -> None:
    """Run the bot, on Telegram or in this terminal."""
    async with Sandbox(locations=20) as sandbox, PhoneSystem(*sandbox.backends()) as phones:
        if token := os.environ.get("BOT_TOKEN"):
            async with Bot(token) as bot:
                await serve(bot, chat, phones, interval)
            return
        async with BotApi() as api, asyncio.TaskGroup() as tasks:
            session = AiohttpSession(api=TelegramAPIServer.from_base(api.url))
            talking = tasks.create_task(talk(api))
            async with Bot(TOKEN, session=session) as bot:
                await serve(bot, CHAT["id"], phones, interval)
            talking.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chat", type=int, default=0, help="id of the chat that hears of changes")
    parser.add_argument("--interval", type=float, default=300.0, help="seconds between sweeps")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.chat, arguments.interval))
