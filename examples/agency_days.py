"""An agency's first and second day: one consent, then sweeps that renew and exchange tokens by themselves.

    python examples/agency_days.py

On the first day a person consents, and every location's token is exchanged for the agency's. On the second
day those tokens have expired: the agency's is renewed once, and the file holds the new one before it is used.
Each day is a program of its own, with nothing but the file in common.
It uses the embedded sandbox. In your own program, `phonesys auth login` obtains the consent.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from phonesys import AgencyTokens, FileTokenStore, LeadConnector, PhoneSystem, exchange_code
from phonesys.sandbox import Sandbox
from phonesys.sandbox.oauth import Subject


async def consent(sandbox: Sandbox, file: Path) -> None:
    """Store the agency's first token. A person does this once, in a browser."""
    oauth = sandbox.oauth
    code = oauth.issue_code(Subject("Company", oauth.company_id))
    await exchange_code(
        oauth.client_id,
        oauth.client_secret,
        code,
        store=FileTokenStore(file),
        base_url=sandbox.leadconnector_url,
    )


async def sweep(sandbox: Sandbox, file: Path, day: str) -> None:
    """Sweep every location of the agency, as a program of its own."""
    oauth = sandbox.oauth
    agency = AgencyTokens(
        oauth.client_id, oauth.client_secret, company_id=oauth.company_id, store=FileTokenStore(file)
    )
    backend = LeadConnector(auth=agency, base_url=sandbox.leadconnector_url)
    before = sandbox.served.copy()
    async with PhoneSystem(backend) as phones, phones.sweep() as running:
        async for _ in running:
            pass
    served = sandbox.served - before
    report = running.report
    print(
        f"{day}: {report.numbers} numbers in {len(report.accounts)} locations;",
        f"{served['leadconnector.token', 200]} renewal,",
        f"{served['leadconnector.location_token', 200]} exchanges",
    )


async def main() -> None:
    """Run both days on one sandbox."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokens.json"
        async with Sandbox(locations=25, numbers=3) as sandbox:
            await consent(sandbox, file)
            await sweep(sandbox, file, "first day")
            await sweep(sandbox, file, "first day, again")
            sandbox.oauth.expire()
            await sweep(sandbox, file, "second day")


asyncio.run(main())
