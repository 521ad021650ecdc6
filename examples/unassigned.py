"""The unassigned numbers of every location: those that no user, agent or forwarding answers.

    python examples/unassigned.py

Prints a line for each, and the locations that could not be read. It uses the embedded sandbox. In your own
program, use `LeadConnector(auth=AgencyTokens(...), with_pools=True)`, which finds an agency's locations.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from phonesys import PhoneSystem
from phonesys.inventory import sweep_records
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from phonesys import NumberRecord


async def main() -> None:
    """Sweep all locations and print the numbers without a route, by location."""
    unassigned: defaultdict[str, list[NumberRecord]] = defaultdict(list)
    async with (
        Sandbox(locations=40, pools=(1, 3)) as sandbox,
        PhoneSystem(*sandbox.backends()) as phones,
        phones.sweep(only=["leadconnector"]) as sweep,
    ):
        async for record in sweep_records(sweep):
            # False only if the vendor says that nothing answers it. The route of a pool counts.
            if record.is_routed is False:
                unassigned[record.account].append(record)

    for location, records in sorted(unassigned.items()):
        for record in records:
            print(location, record.number, record.label or "")
    print(sum(map(len, unassigned.values())), "unassigned numbers in", len(unassigned), "locations")
    for failure in sweep.report.failures:
        print("not read:", failure.account, failure.error)


asyncio.run(main())
