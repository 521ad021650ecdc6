"""A FastAPI service that finds the holders of a number: one client for its whole life.

    pip install phonesys fastapi uvicorn
    python examples/service.py --port 8080
    curl localhost:8080/numbers/+14155552671
    curl localhost:8080/inventory

Many callers share it. It uses the embedded sandbox. In your own service, pass `LeadConnector(...)` and the
other backends to PhoneSystem.
"""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from phonesys import InvalidArgument, PhonesysError, PhoneSystem, SweepIncomplete
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the backends when the service starts, and close them when it stops."""
    async with Sandbox(locations=30) as sandbox, PhoneSystem(*sandbox.backends()) as phones:
        app.state.phones = phones
        yield


def phone_system(request: Request) -> PhoneSystem:
    """Return the client that all requests share."""
    phones: PhoneSystem = request.app.state.phones
    return phones


Phones = Annotated[PhoneSystem, Depends(phone_system)]
app = FastAPI(title="Phone numbers", lifespan=lifespan)


@app.get("/numbers/{number}")
async def find(number: str, phones: Phones) -> list[dict[str, Any]]:
    """Return every holding of a number, in all backends and accounts."""
    found = [holding.to_dict() for holding in await phones.find(number)]
    if not found:
        raise HTTPException(404, f"{number} is held by no account")
    return found


@app.get("/inventory")
async def inventory(phones: Phones) -> dict[str, Any]:
    """Return the count of numbers by backend and country, and the accounts that could not be read."""
    counts: Counter[str] = Counter()
    async with phones.sweep() as sweep:
        async for page in sweep:
            counts.update(f"{number.backend} {number.country or '??'}" for number in page.numbers)
    return {
        "numbers": counts,
        "complete": sweep.report.complete,
        "failures": [str(failure.error) for failure in sweep.report.failures],
    }


@app.exception_handler(InvalidArgument)
async def mistake(_: Request, error: InvalidArgument) -> JSONResponse:
    """Respond 400 to a mistake of the caller."""
    return JSONResponse({"error": str(error)}, status_code=400)


@app.exception_handler(PhonesysError)
async def failure(_: Request, error: PhonesysError) -> JSONResponse:
    """Respond 502 to a failure of a vendor, with what was found in spite of it."""
    found = [number.to_dict() for number in error.numbers] if isinstance(error, SweepIncomplete) else []
    return JSONResponse({"error": str(error), "found": found}, status_code=502)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8080)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port)
