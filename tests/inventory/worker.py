"""A process that sweeps into a store, to be killed: `python worker.py STORE URL TOKEN LOCATION…`."""

from __future__ import annotations

import asyncio
import sys

from phonesys import LeadConnector, PhoneSystem
from phonesys.inventory import Inventory


async def main(store: str, url: str, token: str, *locations: str) -> None:
    backend = LeadConnector(token, base_url=url, page_size=10, limit=None)
    async with PhoneSystem(backend) as phones, Inventory(store) as inventory:
        print("ready", flush=True)  # noqa: T201 -- the parent waits for it
        async with inventory.sweep(phones, leadconnector=locations, concurrency=4) as sweep:
            async for page in sweep:
                print(page.account, *(number.number for number in page.numbers), flush=True)  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
