"""Program that requests one bomb after the other from a hostile vendor, and reports each result.

    python -m tests.fuzz.bombed http://127.0.0.1:PORT gzip endless-body …

It prints a line of JSON for each: the error, and by how many bytes the process has grown at the most since it
began to ask. A process of its own, since memory that was used once is not told from memory that is used.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from phonesys import HttpOptions, LeadConnector, PhonesysError

CAP = 2**20
PATIENCE = 30.0
SLOW = {"endless-chunk-size", "endless-chunk-extension", "endless-greeting"}
"""Bombs that only the time-out ends: no bytes arrive that could be counted."""
_SOON = 0.5


def peak() -> int:
    """The most memory that this process has held, in bytes; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def main(url: str, bombs: list[str]) -> None:
    before = 0
    for bomb in ("harmless", *bombs):
        options = HttpOptions(max_body=CAP, timeout=_SOON if bomb in SLOW else PATIENCE, retries=0)
        async with LeadConnector("pit-1", base_url=f"{url}/{bomb}", limit=None, http=options) as lc:
            try:
                await lc.page("loc_1")
                outcome = "a page"
            except PhonesysError as error:
                outcome = type(error).__name__
            except BaseException as error:  # noqa: BLE001 -- which is what must not be
                outcome = f"not ours: {error!r:.200}"
        before = before or peak()
        print(json.dumps([bomb, outcome, peak() - before]), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
