"""Lists of the agents' API that are read page after page, to an end that the vendor may not state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import AgentNumbers, RepeatedPage
from phonesys.testing import MockTransport, json_response
from phonesys.writes import Write

if TYPE_CHECKING:
    from phonesys.http import Call, RawResponse


class Vendor:
    """A list of ids, page by page, what each page says, and the pages and sizes that were requested."""

    def __init__(self, *pages: list[int], says: dict[int, dict[str, Any]] | None = None) -> None:
        self.pages = pages
        self.says = says or {}
        self.requests: list[tuple[int | None, int | None]] = []

    def rows(self, page: int, size: int | None) -> list[int]:
        return self.pages[page - 1] if page <= len(self.pages) else []

    def __call__(self, call: Call[Any]) -> RawResponse:
        assert call.account == "b"
        query = parse_qs(urlsplit(call.target).query)
        page, size = (int(query[name][0]) if name in query else None for name in ("page", "limit"))
        self.requests.append((page, size))
        rows = [
            {"id": id_, "phoneNumber": f"+1415555{id_:04}", "name": f"Agent {id_}"}
            for id_ in self.rows(page or 1, size)
        ]
        return json_response({"data": rows, "meta": self.says.get(page or 1, {})})


class Capped(Vendor):
    """A list that is sent in pages of ten, whatever is requested."""

    def __init__(self, count: int, cap: int = 10, **says: Any) -> None:
        super().__init__(says=dict.fromkeys(range(1, 50), says))
        self.count, self.cap = count, cap

    def rows(self, page: int, size: int | None) -> list[int]:
        limit = min(size or self.cap, self.cap)
        return list(range(self.count))[(page - 1) * limit : page * limit]


async def agents(vendor: Vendor, **options: Any) -> list[int]:
    async with AgentNumbers("key", name="mine", transport=MockTransport(vendor), **options) as provider:
        return [int(agent.id) for agent in await provider.agents(account="b")]


async def numbers(vendor: Vendor) -> list[int]:
    async with AgentNumbers("key", name="mine", transport=MockTransport(vendor)) as provider:
        found = await provider.of_agent("a1", account="b")
    assert {(number.account, number.backend) for number in found} <= {("b", "mine")}
    return [int(number.id) for number in found]


MORE: dict[str, Any] = {"hasMore": True}


@pytest.mark.parametrize(
    ("pages", "says", "found", "requests"),
    [
        # Nothing is said: a page that is not full is the last, and so is one that brings nothing new.
        ([[1]], {}, [1], 1),
        ([[]], {}, [], 1),
        ([[1, 2], [3]], {}, [1, 2, 3], 2),
        ([[1, 2], [3, 4]], {}, [1, 2, 3, 4], 3),
        ([[1, 2], [3, 4], [1, 2]], {}, [1, 2, 3, 4], 3),
        ([[1, 2], [3, 4], [1, 2, 3, 4]], {}, [1, 2, 3, 4], 3),
        ([[1, 2], [1, 1]], {}, [1, 2], 2),
        ([[1, 2], [2, 3], [4]], {}, [1, 2, 3, 4], 3),
        # The vendor says whether there is more, in one way or another.
        ([[1, 2]], {1: {"total": 2}}, [1, 2], 1),
        ([[1, 2], [3, 4]], {1: {"total": 4}, 2: {"total": 4}}, [1, 2, 3, 4], 2),
        ([[1, 2], [3, 4], [5, 6]], {1: MORE, 2: MORE, 3: {"hasMore": False}}, [1, 2, 3, 4, 5, 6], 3),
        ([[1, 2], [3, 4]], {1: {"pages": 2}, 2: {"pages": 2}}, [1, 2, 3, 4], 2),
        ([[1, 2], [3, 4]], {1: {"pages": 0}}, [1, 2], 1),
        ([[1, 2], [1, 2]], {1: MORE, 2: {"hasMore": False}}, None, 2),
    ],
)
async def test_agents_are_read_to_the_end(
    pages: list[list[int]], says: dict[int, Any], found: list[int] | None, requests: int
) -> None:
    """In pages of two; each agent comes once."""
    vendor = Vendor(*pages, says=says)
    if found is None:
        with pytest.raises(RepeatedPage):
            await agents(vendor, page_size=2)
    else:
        assert await agents(vendor, page_size=2) == found
    assert vendor.requests == [(page, 2) for page in range(1, requests + 1)]


@pytest.mark.parametrize(
    ("pages", "says", "page"),
    [
        ([[1, 2], [1, 2], [3]], {}, 2),  # the vendor may ignore the page number
        ([[1, 2], [1]], {1: MORE, 2: MORE}, 2),
        ([[1, 2], []], {1: MORE, 2: MORE}, 2),
        ([[1, 2], [3, 4], [1, 2]], {1: MORE, 2: MORE, 3: MORE}, 3),
    ],
)
async def test_an_announced_page_without_news_is_an_error(
    pages: list[list[int]], says: dict[int, Any], page: int
) -> None:
    """Others may be missing behind it. So is a full page that repeats the only one before it."""
    vendor = Vendor(*pages, says=says)
    with pytest.raises(RepeatedPage) as caught:
        await agents(vendor, page_size=2)
    assert caught.value.message == f"page {page} has no new row, but is not the last"
    facts = caught.value.backend, caught.value.operation, caught.value.account
    assert facts == ("mine", "list_agents", "b")
    assert len(vendor.requests) == page


@given(count=st.integers(0, 45), cap=st.sampled_from([10, 20, 25]))
def test_a_silent_cap_hides_no_agent(count: int, cap: int) -> None:
    """A first page with a customary number of rows is followed by another of that size."""
    vendor = Capped(count, cap)
    assert asyncio.run(agents(vendor)) == list(range(count))
    if count >= cap:
        assert vendor.requests[:2] == [(1, 100), (2, cap)]
    elif count in {10, 20}:
        assert vendor.requests == [(1, 100), (2, count)]
    else:
        assert vendor.requests == [(1, 100)]


async def test_a_short_page_after_a_full_one_is_the_last() -> None:
    """Also with a customary number of rows: the vendor has shown that its pages are larger."""
    vendor = Vendor(list(range(100)), list(range(100, 110)))
    assert len(await agents(vendor)) == 110
    assert vendor.requests == [(1, 100), (2, 100)]


async def test_the_numbers_of_an_agent_are_read_without_a_page_size() -> None:
    """The list is not documented to be paged. Pages that are announced are read, and each number once."""
    vendor = Vendor([1, 2], [2, 3], [4], says={1: MORE, 2: MORE})
    assert await numbers(vendor) == [1, 2, 3, 4]
    assert vendor.requests == [(None, None), (2, None), (3, None)]
    vendor = Vendor(list(range(150)))
    assert len(await numbers(vendor)) == 150
    assert vendor.requests == [(None, None)]


async def test_a_refusal_after_a_page_that_may_be_capped_is_the_end() -> None:
    """The second page was requested to find out, and nothing had announced it."""

    def respond(call: Call[Any]) -> RawResponse:
        return vendor(call) if len(vendor.requests) == 0 else json_response({"message": "no"}, status=404)

    vendor = Vendor(list(range(10)))
    async with AgentNumbers("key", transport=MockTransport(respond)) as provider:
        assert len(await provider.agents(account="b")) == 10


async def test_a_lost_assignment_is_looked_for_in_every_page() -> None:
    """Until two readings agree. One on the last page is of another agent; one on none was not assigned."""
    write = Write(kind="assign", account="b", number="+14155550004", wanted={"agent_id": "a9"})

    def respond(call: Call[Any]) -> RawResponse:
        return json_response([]) if call.operation == "numbers_of_agent" else vendor(call)

    for pages, outcome in (
        ([[1, 2], [3]], "not_done"),
        ([[1, 2], [3, 5], [6]], "not_done"),
        ([[1, 2], [4]], "unclear"),
    ):
        vendor = Vendor(*pages)
        async with AgentNumbers("key", transport=MockTransport(respond), page_size=2) as provider:
            found = await provider.reconcile(write, grace_period=0.0)
        assert found.outcome == outcome
        assert vendor.requests == [(page, 2) for page in range(1, len(pages) + 1)] * 2
