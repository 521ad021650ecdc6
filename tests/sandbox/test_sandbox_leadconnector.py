from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUOTA = {
    "X-RateLimit-Max",
    "X-RateLimit-Remaining",
    "X-RateLimit-Interval-Milliseconds",
    "X-RateLimit-Limit-Daily",
    "X-RateLimit-Daily-Remaining",
    "X-RateLimit-Daily-Reset",
}


class Caller:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self._session = sandbox, session
        self.headers = {"Authorization": f"Bearer {sandbox.leadconnector_token}", "Version": "2021-07-28"}

    async def get(self, path: str, **query: str | int) -> tuple[int, Any, dict[str, str]]:
        url = f"{self.sandbox.leadconnector_url}{path}"
        async with self._session.get(url, params=query, headers=self.headers) as answer:
            return answer.status, await answer.json(), dict(answer.headers)

    async def numbers(self, location: str, **query: str | int) -> tuple[int, Any, dict[str, str]]:
        return await self.get(f"/phone-system/numbers/location/{location}", **query)

    def pooled(self) -> str:
        """Find a location some of whose numbers are in a pool, and some are not."""
        for id_ in self.sandbox.location_ids:
            location = self.sandbox.state.location(id_)
            if location and len(location.numbers) > 5 and len(set(location.pool_of)) > 1:
                return id_
        raise LookupError


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with (
        Sandbox(locations=60, not_connected=5, numbers=(0, 12)) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(sandbox, session)


async def test_all_numbers_come_with_pooled_ones_asked_for(call: Caller) -> None:
    """`skipNumberPool=false` answers the whole truth, page by page."""
    here = call.pooled()
    got: list[str] = []
    for page in range(10):
        _, answer, _ = await call.numbers(here, pageSize=2, page=page, skipNumberPool="false")
        got += [row["phoneNumber"] for row in answer["numbers"]]
    assert len(got) == len(set(got))
    assert set(got) == call.sandbox.truth["leadconnector", here]


async def test_pooled_numbers_are_left_out_by_default(call: Caller) -> None:
    """What is missing from the default answer is exactly what the pools hold."""
    here = call.pooled()
    _, answer, _ = await call.numbers(here)
    _, pools, _ = await call.get("/phone-system/number-pools", locationId=here)
    listed = {row["phoneNumber"] for row in answer["numbers"]}
    pooled = {row["phoneNumber"] for pool in pools["data"] for row in pool["numbers"]}
    assert pooled
    assert listed | pooled == call.sandbox.truth["leadconnector", here]
    assert not listed & pooled
    assert pools["total"] == len(pools["data"])


async def test_a_page_says_what_the_documents_say(call: Caller) -> None:
    """Version 2021-07-28 answers the documented page, with null for what is not known, and no total."""
    _, answer, _ = await call.numbers(call.pooled(), skipNumberPool="false")
    assert set(answer) == {"numbers", "isUnderGhl", "pageSize", "page", "accountStatus"}
    assert (answer["pageSize"], answer["page"]) == (1000, 0)
    assert set(answer["numbers"][0]) == {
        "phoneNumber", "friendlyName", "sid", "countryCode", "capabilities", "type", "isDefaultNumber",
        "linkedUser", "linkedRingAllUsers", "inboundCallService", "forwardingNumber",
        "isGroupConversationEnabled", "addressSid", "bundleSid", "dateAdded", "dateUpdated", "origin",
    }  # fmt: skip
    assert [row["isDefaultNumber"] for row in answer["numbers"]].count(True) == 1


async def test_version_3_wraps_the_page(call: Caller) -> None:
    """The envelope, the renamed field, a total, no nulls, and the sender ids if asked for."""
    call.headers["Version"] = "v3"
    here = call.pooled()
    _, answer, _ = await call.numbers(here, pageSize=1, skipNumberPool="false", includeRcsSenderIds="true")
    assert (answer["status"], answer["message"], answer["statusCode"]) == ("success", "OK", 200)
    assert answer["data"]["isUnderLc"] is True
    assert answer["data"]["total"] == len(call.sandbox.truth["leadconnector", here])
    assert isinstance(answer["data"]["rcsSenderIds"], list)
    assert None not in answer["data"]["numbers"][0].values()


async def test_version_3_has_sender_ids_somewhere(call: Caller) -> None:
    """They are in an array of their own, and only if asked for."""
    call.headers["Version"] = "v3"
    connected = [id_ for id_ in call.sandbox.location_ids if id_ not in call.sandbox.not_connected]
    pages = [(await call.numbers(id_, includeRcsSenderIds="true"))[1]["data"] for id_ in connected]
    senders = [sender for page in pages for sender in page["rcsSenderIds"]]
    assert {sender["numberType"] for sender in senders} == {"rcsSenderId"}
    assert "rcsSenderIds" not in (await call.numbers(connected[0]))[1]["data"]


async def test_beyond_the_end_is_the_short_empty_answer(call: Caller) -> None:
    """The documented empty answer has none of the fields that the schema requires; v3 keeps its envelope."""
    here = call.pooled()
    assert (await call.numbers(here, page=99))[:2] == (200, {"numbers": [], "total": 0})
    call.headers["Version"] = "v3"
    _, answer, _ = await call.numbers(here, page=99)
    assert answer["data"]["numbers"] == []
    assert answer["data"]["total"] > 0


async def test_search_is_partial(call: Caller) -> None:
    """A filter keeps the numbers that contain it, wherever that is."""
    here = call.pooled()
    wanted = min(call.sandbox.truth["leadconnector", here])
    for part in (wanted, wanted[:3], wanted[4:9]):
        _, answer, _ = await call.numbers(here, searchFilter=part, skipNumberPool="false")
        found = {row["phoneNumber"] for row in answer["numbers"]}
        assert found == {n for n in call.sandbox.truth["leadconnector", here] if part in n}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pageSize", "0", "pageSize must not be less than 1"),
        ("pageSize", "1001", "pageSize must not be greater than 1000"),
        ("pageSize", "many", "pageSize must be an integer number"),
        ("page", "-1", "page must not be less than 0"),
        ("page", "", "page must be an integer number"),
        ("skipNumberPool", "False", "skipNumberPool must be a boolean value"),
        ("skipNumberPool", "0", "skipNumberPool must be a boolean value"),
    ],
)
async def test_wrong_queries_are_refused(call: Caller, name: str, value: str, message: str) -> None:
    """Bounds are kept, and what is wrong comes as a list."""
    status, answer, _ = await call.numbers(call.pooled(), **{name: value})
    assert (status, answer) == (400, {"statusCode": 400, "message": [message], "error": "Bad Request"})


async def test_unknown_locations_are_a_bad_request(call: Caller) -> None:
    """Malformed or merely nobody's: the same documented answer, from both operations."""
    for stranger in ("x", "A" * 20, "a%2Fb"):
        assert (await call.numbers(stranger))[0] == 400
    status, answer, _ = await call.get("/phone-system/number-pools")
    assert (status, answer["message"]) == (400, "Invalid locationId format or pagination parameters")


async def test_a_location_without_a_phone_system_says_so(call: Caller) -> None:
    """An ordinary 404, without `error`; its pools are none."""
    here = next(iter(call.sandbox.not_connected))
    message = "Phone system is not connected to this account"
    assert (await call.numbers(here))[:2] == (404, {"statusCode": 404, "message": message})
    _, pools, _ = await call.get("/phone-system/number-pools", locationId=here)
    assert pools == {"success": True, "data": [], "total": 0}


async def test_strangers_are_refused(call: Caller) -> None:
    """No token and a wrong token are the same documented 401."""
    call.headers["Authorization"] = "Bearer nonsense"
    expected = {
        "statusCode": 401,
        "message": "Invalid token: access token is invalid",
        "error": "Unauthorized",
    }
    assert (await call.numbers(call.pooled()))[:2] == (401, expected)
    del call.headers["Authorization"]
    assert (await call.numbers(call.pooled()))[:2] == (401, expected)


async def test_a_location_token_opens_its_location(call: Caller) -> None:
    """It is refused elsewhere with 403, and need not say where it belongs when it asks for pools."""
    here, there = call.sandbox.location_ids[:2]
    call.headers["Authorization"] = f"Bearer {call.sandbox.location_token(here)}"
    assert (await call.get("/phone-system/number-pools"))[0] == 200
    assert (await call.get("/phone-system/number-pools", locationId=there))[0] == 403
    assert call.sandbox.requests[-2].account == here


async def test_a_revoked_token_is_a_stranger(call: Caller) -> None:
    """Revoking works while the server runs."""
    call.sandbox.revoke(call.sandbox.leadconnector_token)
    assert (await call.numbers(call.pooled()))[0] == 401


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        (None, 401, "version header was not found."),
        ("2020-01-01", 401, "version header is invalid"),
        ("2021-04-15", 200, None),
        ("2021-07-28", 200, None),
        ("2023-02-21", 200, None),
        ("v3", 200, None),
    ],
)
async def test_the_version_is_compulsory(
    call: Caller, version: str | None, status: int, message: str | None
) -> None:
    """Published versions are served; a missing or unknown one is a 401 in the vendor's words."""
    call.headers.pop("Version")
    if version:
        call.headers["Version"] = version
    got, answer, _ = await call.numbers(call.pooled())
    assert got == status
    assert message is None or answer["message"] == message


async def test_the_daily_quota_says_when_it_is_back(call: Caller) -> None:
    """`X-RateLimit-Daily-Reset` is in milliseconds, and a day after the last request at the most."""
    _, _, headers = await call.numbers(call.pooled())
    assert 0 < int(headers["X-RateLimit-Daily-Reset"]) <= 86_400_000


async def test_pages_may_be_capped_in_silence() -> None:
    """A cap changes which rows a page holds, and the response still repeats the size that was asked for."""
    async with Sandbox(locations=1, numbers=7, pools=0, page_cap=3) as sandbox, aiohttp.ClientSession() as s:
        call, here = Caller(sandbox, s), sandbox.location_ids[0]
        pages = [(await call.numbers(here, pageSize=100, page=page))[1] for page in range(3)]
    assert [len(page["numbers"]) for page in pages] == [3, 3, 1]
    assert {page["pageSize"] for page in pages} == {100}


@pytest.mark.parametrize(
    ("beyond_end", "status", "rows"),
    [
        ("empty", 200, []), ("null", 200, None), ("first", 200, [0, 1, 2]), ("last", 200, [6]),
        ("400", 400, ...), ("404", 404, ...), ("422", 422, ...), ("500", 500, ...),
    ],
)  # fmt: skip
async def test_a_page_beyond_the_end(beyond_end: Any, status: int, rows: Any) -> None:
    """Nothing, null, the first or the last page again, or an error: as the sandbox was told."""
    async with (
        Sandbox(locations=1, numbers=7, pools=0, beyond_end=beyond_end) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        call, here = Caller(sandbox, session), sandbox.location_ids[0]
        held = sandbox.state.location(here)
        got, answer, _ = await call.numbers(here, pageSize=3, page=3)
    assert got == status
    assert held is not None
    if rows is not ...:
        listed = answer["numbers"]
        assert (listed and [held.numbers.index(row["phoneNumber"]) for row in listed]) == rows


async def test_a_missing_phone_system_can_be_worded_otherwise() -> None:
    """The 404 of a location without a phone system has the message that the sandbox was made with."""
    words = "No Twilio account found"
    async with (
        Sandbox(locations=1, not_connected=1, missing_phone_system=words) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        status, answer, _ = await Caller(sandbox, session).numbers(sandbox.location_ids[0])
    assert (status, answer["message"]) == (404, words)


@pytest.mark.parametrize("options", [{"beyond_end": "nothing"}, {"page_cap": 0}, {"agents_update": "POST"}])
def test_unknown_habits_are_rejected(options: dict[str, Any]) -> None:
    """A sandbox is not made with options that it does not know."""
    with pytest.raises(ValueError, match=r"expected|no such"):
        Sandbox(**options)


async def test_quota_headers_count_down() -> None:
    """Every charged answer says what is left; the first one too many is a bare 429 that spends nothing."""
    async with (
        Sandbox(locations=2, leadconnector_limit=(2, 60.0), leadconnector_daily=5) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        call = Caller(sandbox, session)
        here, there = sandbox.location_ids
        answers = [await call.numbers(here, pageSize=size) for size in (1, 0, 1)]
        assert [status for status, _, _ in answers] == [200, 400, 429]
        assert answers[2][1] == {"statusCode": 429, "message": "Too Many Requests"}
        headers = answers[2][2]
        assert "Retry-After" not in headers
        assert {name: headers[name] for name in QUOTA - {"X-RateLimit-Daily-Reset"}} == {
            "X-RateLimit-Max": "2",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Interval-Milliseconds": "60000",
            "X-RateLimit-Limit-Daily": "5",
            "X-RateLimit-Daily-Remaining": "3",
        }
        assert (await call.get("/phone-system/number-pools", locationId=there))[0] == 200
        assert (await call.get("/phone-system/number-pools", locationId=here))[0] == 429


async def test_changes_are_served() -> None:
    """What is added to or taken from a location shows in the next answer."""
    async with Sandbox(locations=1, numbers=2) as sandbox, aiohttp.ClientSession() as session:
        call, here = Caller(sandbox, session), sandbox.location_ids[0]
        new = sandbox.state.add(here)
        _, answer, _ = await call.numbers(here, searchFilter=new)
        assert [row["phoneNumber"] for row in answer["numbers"]] == [new]
