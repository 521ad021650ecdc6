"""The nightly job: sweep into a store, and write what it found as Parquet, for a data warehouse.

    pip install 'phonesys[inventory,export]'
    python examples/nightly_export.py --store inventory.db --folder warehouse

Run it by cron or a timer. A run that was interrupted is resumed by the next one. The exit status is 1 if an
account could not be read: the file is written even so, and the accounts are named on stderr.
It uses the embedded sandbox. In your own job, pass `LeadConnector(...)` and the other backends to
PhoneSystem.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from phonesys import PhoneSystem
from phonesys.inventory import Inventory
from phonesys.inventory.export import export
from phonesys.sandbox import Sandbox

KEPT = 30


async def main(store: str, folder: Path) -> int:
    """Sweep, export, and delete old snapshots. Return the exit status."""
    async with (
        Sandbox(locations=50) as sandbox,
        PhoneSystem(*sandbox.backends()) as phones,
        Inventory(store) as inventory,
    ):
        report = await inventory.collect(phones)
        snapshot = await inventory.snapshot()
        path = folder / f"numbers-{snapshot.started_at:%Y-%m-%d}.parquet"
        written = await export(path, snapshot.records(), accounts=snapshot.accounts())
        await inventory.prune(keep=KEPT)
    print(f"{path}: {written} numbers of {len(report.accounts)} accounts")
    for failure in report.failures:
        print(f"not read: {failure.provider} {failure.account}: {failure.error}", file=sys.stderr)
    return 0 if report.complete else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="inventory.db", help="a file, or a URL of PostgreSQL")
    parser.add_argument("--folder", type=Path, default=Path("warehouse"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sys.exit(asyncio.run(main(arguments.store, arguments.folder)))
