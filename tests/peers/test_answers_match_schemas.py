"""The sandbox's responses match the vendors' own OpenAPI documents, to the letter.

`data` holds those documents, reduced to the answers of what the sandbox serves. They are read strictly here:
a field that they do not name is a mistake as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DATA = Path(__file__).parent / "data"
NUMBERS = "/phone-system/numbers/location/{locationId}"


class Document:
    """One vendor's document, and what it says about answers."""

    def __init__(self, name: str, jsonschema: Any, *, optional: tuple[str, ...] = ()) -> None:
        self._raw = _strict(json.loads((DATA / f"{name}.json").read_text()), optional)
        self._jsonschema = jsonschema

    def check(self, operation: str, content_type: str, body: Any) -> None:
        """Fail unless this is an answer that the document describes."""
        answer = self._raw["answers"][operation]
        assert content_type in answer["types"]
        schema = {**answer["schema"], "$defs": self._raw["$defs"]}
        self._jsonschema.Draft202012Validator(
            schema, format_checker=self._jsonschema.Draft202012Validator.FORMAT_CHECKER
        ).validate(body)


def _strict(schema: Any, optional: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_strict(part, optional) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tight = {key: _strict(part, optional) for key, part in schema.items()}
    if "properties" in tight:
        tight.setdefault("additionalProperties", False)
        tight["properties"] |= dict.fromkeys(optional, True)
        # Written as objects in the document, and as strings in its examples.
        for date in ("dateAdded", "dateUpdated", "dateCreated"):
            if tight["properties"].get(date) == {"type": "object"}:
                tight["properties"][date] = {"type": "string", "format": "date-time"}
    return tight


class World:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session
        self.here = next(id_ for id_ in sandbox.location_ids if id_ not in sandbox.not_connected)

    async def ask(
        self, method: str, url: str, version: str = "2021-07-28", **options: Any
    ) -> tuple[str, Any]:
        """Return the status, content type and body of an answer; the status leads the label."""
        key = self.sandbox.leadping_key if "/leadping/" in url else self.sandbox.leadconnector_token
        headers = {"Authorization": f"Bearer {key}", "Version": version, **options.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, **options) as answer:
            return f"{answer.status} {answer.content_type}", await answer.json(content_type=None)

    async def leadconnector(self, method: str, path: str, version: str = "2021-07-28", **options: Any) -> Any:
        return await self.ask(method, self.sandbox.leadconnector_url + path, version, **options)

    async def leadping(self, method: str, path: str, **options: Any) -> Any:
        return await self.ask(method, self.sandbox.leadping_url + path, **options)


@pytest.fixture
def document(peer: Callable[[str], Any]) -> Callable[..., Document]:
    return lambda name, **options: Document(name, peer("jsonschema"), **options)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with (
        Sandbox(locations=6, numbers=30, pools=(1, 3), not_connected=1, leadping=70) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        yield World(sandbox, session)


def validated(document: Document, operation: str, answered: tuple[str, Any]) -> Any:
    label, body = answered
    status, content_type = label.split()
    document.check(f"{operation} {status}", content_type, body)
    return body


@pytest.mark.parametrize("query", ["", "?pageSize=7&page=2&skipNumberPool=false"])
async def test_leadconnector_numbers(world: World, document: Callable[..., Document], query: str) -> None:
    """Pages with numbers; the empty one is documented as an example that breaks its own schema."""
    spec = document("leadconnector-phone-system-2021-07-28")
    for location in world.sandbox.location_ids:
        answered = await world.leadconnector("GET", f"/phone-system/numbers/location/{location}{query}")
        validated(spec, f"GET {NUMBERS}", answered)


async def test_leadconnector_numbers_in_v3(world: World, document: Callable[..., Document]) -> None:
    """With sender ids, and pages beyond the end."""
    spec = document("leadconnector-phone-system-v3")
    for location in set(world.sandbox.location_ids) - world.sandbox.not_connected:
        for page in (0, 5):
            path = (
                f"/phone-system/numbers/location/{location}?page={page}&pageSize=20&includeRcsSenderIds=true"
            )
            validated(spec, f"GET {NUMBERS}", await world.leadconnector("GET", path, "v3"))


async def test_leadconnector_errors(world: World, document: Callable[..., Document]) -> None:
    """400 (of one sentence), 401, and 404."""
    spec = document("leadconnector-phone-system-2021-07-28")
    (missing,) = world.sandbox.not_connected
    stranger = {"Authorization": "Bearer unknown"}
    for path, headers in (("nowhere", {}), (world.here, stranger), (missing, {})):
        answered = await world.leadconnector("GET", f"/phone-system/numbers/location/{path}", headers=headers)
        validated(spec, f"GET {NUMBERS}", answered)


async def test_leadconnector_pools(world: World, document: Callable[..., Document]) -> None:
    """Of every location."""
    spec = document("leadconnector-phone-system-2021-07-28")
    for location in world.sandbox.location_ids:
        answered = await world.leadconnector("GET", f"/phone-system/number-pools?locationId={location}")
        validated(spec, "GET /phone-system/number-pools", answered)


async def test_leadconnector_shop(world: World, document: Callable[..., Document]) -> None:
    """The offer and the response to a purchase match the schemas of both versions."""
    spec, v3 = (document(f"leadconnector-phone-system-{v}") for v in ("2021-07-28", "v3"))
    path = f"/phone-system/numbers/location/{world.here}"
    offered = await world.leadconnector("GET", f"{path}/available?countryCode=US")
    numbers = validated(spec, f"GET {NUMBERS}/available", offered)["numbers"]
    body = {"phoneNumber": numbers[0]["phoneNumber"]}
    answered = await world.leadconnector("POST", f"{path}/purchase", json=body)
    validated(spec, f"POST {NUMBERS}/purchase", answered)
    refused = await world.leadconnector("POST", f"{path}/purchase", json=body)
    assert refused[0] == "400 application/json"
    whole = dict.fromkeys(
        (
            "addressSid", "bundleSid", "countryCode", "numberType", "paymentIntentId", "stripeAccountId",
            "paymentMethodId", "locality", "region", "fingerprintId", "skipLocationKYC",
        ),
        "x",
    )  # fmt: skip
    body = {**whole, "phoneNumber": numbers[1]["phoneNumber"]}
    answered = await world.leadconnector("POST", f"{path}/purchase", "v3", json=body)
    validated(v3, f"POST {NUMBERS}/purchase", answered)


async def test_leadconnector_tokens(world: World, document: Callable[..., Document]) -> None:
    """A refresh, a location's token, the installed locations, and the search."""
    spec, oauth = document("leadconnector-oauth-2021-07-28"), world.sandbox.oauth
    form = {
        "client_id": oauth.client_id,
        "client_secret": oauth.client_secret,
        "grant_type": "refresh_token",
        "refresh_token": oauth.grant_company()["refresh_token"],
    }
    token = validated(spec, "POST /oauth/token", await world.leadconnector("POST", "/oauth/token", data=form))
    signed = {"Authorization": f"Bearer {token['access_token']}"}
    app = oauth.client_id.partition("-")[0]
    installed = await world.leadconnector(
        "GET", f"/oauth/installedLocations?companyId={oauth.company_id}&appId={app}", headers=signed
    )
    validated(spec, "GET /oauth/installedLocations", installed)
    searched = await world.leadconnector("GET", "/locations/search", headers=signed)
    validated(document("leadconnector-locations-2021-07-28"), "GET /locations/search", searched)


async def test_leadping_numbers(world: World, document: Callable[..., Document]) -> None:
    """Lists, records, reports, offers, and changes; that some are demo numbers is beyond the document."""
    spec = document("leadping-phone-numbers", optional=("isDemo",))
    listed = await world.leadping("POST", "/phone-numbers/all/organization", json={"includeCount": True})
    rows = validated(spec, "POST /phone-numbers/all/organization", listed)["items"]
    item = "/phone-numbers/{phoneNumberId}"
    for row in rows:
        validated(spec, f"GET {item}", await world.leadping("GET", f"/phone-numbers/{row['id']}"))
    path = f"/phone-numbers/{rows[0]['id']}"
    validated(spec, f"GET {item}/warmup", await world.leadping("GET", f"{path}/warmup"))
    status = await world.leadping("GET", f"/phone-numbers/{rows[0]['number'].replace('+', '%2B')}/status")
    validated(spec, "GET /phone-numbers/{phoneNumber}/status", status)
    body = {"name": "New", "number": "+15005550006"}
    made = validated(spec, "POST /phone-numbers", await world.leadping("POST", "/phone-numbers", json=body))
    validated(spec, f"PUT {item}", await world.leadping("PUT", f"/phone-numbers/{made['id']}", json=body))
    found = await world.leadping("POST", "/phone-numbers/search", json={"phoneNumber": "+1"})
    validated(spec, "POST /phone-numbers/search", found)
    available = await world.leadping(
        "POST", "/phone-numbers/is-available-for-purchase", json={"phoneNumber": "+15005550006"}
    )
    validated(spec, "POST /phone-numbers/is-available-for-purchase", available)


async def test_leadping_errors(world: World, document: Callable[..., Document]) -> None:
    """400, 401, 404 and 429, each under a content type that is declared for it."""
    spec, item = document("leadping-phone-numbers"), "/phone-numbers/{phoneNumberId}"
    stranger = {"Authorization": "Bearer unknown"}
    validated(spec, "POST /phone-numbers", await world.leadping("POST", "/phone-numbers", json={"name": 5}))
    for method in ("GET", "DELETE"):
        validated(spec, f"{method} {item}", await world.leadping(method, "/phone-numbers/nothing"))
        answered = await world.leadping(method, "/phone-numbers/nothing", headers=stranger)
        validated(spec, f"{method} {item}", answered)
    for _ in range(300):
        world.sandbox.limits["leadping"].try_acquire("default")
    validated(spec, f"GET {item}", await world.leadping("GET", "/phone-numbers/nothing"))
