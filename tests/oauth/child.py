"""A program that uses a file store, to be killed or run in parallel: `python -m tests.oauth.child '{…}'`.

It reads its arguments and, before it begins, a line of input. It prints R when it is ready, S when a token is
saved and D when all calls are done. In shared memory, which wakes no other process that could delay it, it
writes A when the first token response was read and T when it is staged.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from phonesys import LeadConnector
from phonesys.backends.leadconnector.oauth import AgencyTokens, calls, wire
from phonesys.oauth import FileTokenStore
from phonesys.oauth.durable_file import DurableTokenFile

if TYPE_CHECKING:
    from collections.abc import Callable


def say(letter: str) -> None:
    os.write(sys.stdout.fileno(), letter.encode())


def after(method: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        note()
        return result

    return noting


def before(method: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        note()
        return method(*args, **kwargs)

    return noting


def watch(path: str) -> None:
    with open(path, "r+b") as file:  # noqa: PTH123 -- a mapping wants a descriptor
        memory = mmap.mmap(file.fileno(), 2)

    def note(index: int, letter: bytes) -> None:
        memory[index : index + 1] = letter

    setattr(calls, "decode_token", before(wire.decode_token, lambda: note(0, b"A")))  # noqa: B010
    setattr(DurableTokenFile, "stage", after(DurableTokenFile.stage, lambda: note(1, b"T")))  # noqa: B010
    setattr(DurableTokenFile, "commit", after(DurableTokenFile.commit, lambda: say("S")))  # noqa: B010


async def main(options: dict[str, Any]) -> None:
    store = FileTokenStore(options["store"], key=options.get("key"))
    auth = AgencyTokens(
        options["client_id"], options["client_secret"], company_id=options["company_id"], store=store
    )
    async with LeadConnector(auth=auth, base_url=options["url"], limit=None) as lc:
        await store.load("warm")
        say("R")
        await asyncio.to_thread(sys.stdin.readline)
        locations = options["locations"]
        pages = (lc.page(locations[n % len(locations)]) for n in range(options["calls"]))
        await asyncio.gather(*pages)
        say("D")
        if options.get("linger"):
            time.sleep(60)  # noqa: ASYNC251 -- the parent kills it


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    watch(given["notes"])
    asyncio.run(main(given))
