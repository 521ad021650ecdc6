"""A web service that finds the holders of a number: one client for its whole life, many concurrent callers.

Run it, and send requests:

    python examples/service.py --port 8080
    curl localhost:8080/numbers/+14155552671
    curl localhost:8080/inventory

It uses the embedded sandbox. In your own service, pass your credentials to the backends.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

from phonesys import (
    AgentNumbers,
    InvalidArgument,
    LeadConnector,
    Leadping,
    PhonesysError,
    PhoneSystem,
    SweepIncomplete,
)
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PHONES = web.AppKey("phones", PhoneSystem)


async def phone_system(app: web.Application) -> AsyncIterator[None]:
    """Open the backends when the service starts, and close them when it stops."""
    async with (
        Sandbox(locations=30) as sandbox,
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
        app[PHONES] = phones
        yield


async def find(request: web.Request) -> web.Response:
    """Handle `GET /numbers/{number}`: every backend and account that holds the number."""
    found = await request.app[PHONES].find(request.match_info["number"])
    return web.json_response(
        [
            {"provider": number.provider, "account": number.account, "id": number.id, "status": number.status}
            for number in found
        ]
    )


async def inventory(request: web.Request) -> web.Response:
    """Handle `GET /inventory`: the count of numbers by backend and country."""
    counts: Counter[str] = Counter()
    async with request.app[PHONES].sweep() as sweep:
        async for page in sweep:
            counts.update(f"{number.provider} {number.country or '??'}" for number in page.numbers)
    return web.json_response(
        {
            "numbers": counts,
            "complete": sweep.report.complete,
            "failures": [str(failure.error) for failure in sweep.report.failures],
        }
    )


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Respond 400 to a mistake of the caller, and 502 to a failure of a vendor."""
    try:
        return await handler(request)
    except InvalidArgument as mistake:
        return web.json_response({"error": str(mistake)}, status=400)
    except SweepIncomplete as partial:
        return web.json_response({"error": str(partial), "found": len(partial.numbers)}, status=502)
    except PhonesysError as failure:
        return web.json_response({"error": str(failure)}, status=502)


def application() -> web.Application:
    """Return the application with its routes and its client."""
    app = web.Application(middlewares=[errors])
    app.cleanup_ctx.append(phone_system)
    app.add_routes([web.get("/numbers/{number}", find), web.get("/inventory", inventory)])
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8080)
    web.run_app(application(), host="127.0.0.1", port=parser.parse_args().port)
