"""Each kind of fault, as a client sees it that reads bytes."""

from __future__ import annotations

import asyncio
import gzip
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.sandbox import Sandbox, faults
from phonesys.sandbox.faults import KINDS, FaultPlan, Rule
from tests.sandbox.rawclient import Answer, RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.jumping


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with Sandbox(locations=2, numbers=8, pools=0, leadping=60, agents=30) as sandbox:
        yield RawClient(sandbox)


def happens(raw: RawClient, rule: Rule) -> None:
    raw.sandbox.faults.add(rule)


async def test_latency_comes_before_or_after_the_operation(raw: RawClient) -> None:
    """A client that gives up early has created its number, unless the wait comes first."""
    happens(raw, faults.Latency(seconds=30, when="before", times=1))
    raw.sandbox.faults.add(faults.Latency(seconds=30))
    for number, done in (("+15005550001", False), ("+15005550002", True)):
        pending = asyncio.ensure_future(raw.create(number))
        await asyncio.wait([pending], timeout=1)
        pending.cancel()
        assert [number in {made.number for made in raw.sandbox.created}] == [done]


async def test_a_slow_vendor_carries_out_what_nobody_waits_for(raw: RawClient) -> None:
    """A request that was received is carried out when its turn comes, whether or not its client is there."""
    happens(raw, faults.Latency(seconds=2, when="regardless"))
    assert (await raw.create("+15005550001")).status == 200
    pending = asyncio.ensure_future(raw.create("+15005550002"))
    await asyncio.wait([pending], timeout=1)
    pending.cancel()
    assert len(raw.sandbox.created) == 1
    await asyncio.sleep(2)
    assert len(raw.sandbox.created) == 2
    assert raw.sandbox.served["leadping.create", None] == 1


async def test_latency_has_jitter_and_a_long_tail(raw: RawClient) -> None:
    """Waits differ, are the same for the same seed, and never exceed their end."""
    rule = faults.Latency(seconds=0.001, jitter=0.002, tail=0.001, most=0.01)

    async def durations() -> list[float]:
        clock = asyncio.get_running_loop().time
        async with Sandbox(locations=1, faults=FaultPlan((rule,), seed=5), clock=clock) as sandbox:
            client = RawClient(sandbox)
            for page in range(20):
                await client.numbers(page=page)
            return [served.duration for served in sandbox.requests]

    first = await durations()
    assert 0.001 <= min(first) < max(first)
    waits = {_drawn(rule, bits) for bits in range(1000)}
    assert len(waits) > 900
    assert min(waits) >= 0.001
    assert max(waits) == 0.01


def _drawn(rule: faults.Latency, bits: int) -> float:
    class Drawn:
        rng = faults.engine.random.Random(bits)  # type: ignore[attr-defined]

    return rule.wait(Drawn())  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
async def test_status_answers_in_the_vendors_words(raw: RawClient, code: int) -> None:
    """Each vendor has its own error body, and nothing was carried out unless that is asked for."""
    happens(raw, faults.Status(code=code))
    numbers, listing, agents = await raw.numbers(), await raw.listing(), await raw.agents()
    assert {numbers.status, listing.status, agents.status} == {code}
    assert numbers.json["statusCode"] == listing.json["status"] == code
    assert agents.json["error"]["message"]
    await raw.create()
    assert not raw.sandbox.created
    raw.sandbox.faults.clear()
    raw.sandbox.faults.add(faults.Status(code=code, carry_out=True))
    assert (await raw.create()).status == code
    assert raw.sandbox.created


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, None), (0, "0"), (2, "2"), (0.5, "0.5"), (-3, "-3"), ("absurd", "1857905136"),
        ("negative", "-5"), ("malformed", "soon"),
    ],
)  # fmt: skip
async def test_retry_after_as_vendors_write_it(
    raw: RawClient, asked: faults.answers.RetryAfter | None, sent: str | None
) -> None:
    """Seconds, absurd, negative, or not at all."""
    happens(raw, faults.Status(code=429, retry_after=asked))
    assert (await raw.numbers()).headers.get("retry-after") == sent


async def test_retry_after_as_a_date(raw: RawClient) -> None:
    """An HTTP date, a second ahead or long past."""
    happens(raw, faults.Status(retry_after="date", times=1))
    raw.sandbox.faults.add(faults.Status(retry_after="past"))
    soon, past = [parsedate_to_datetime((await raw.numbers()).headers["retry-after"]) for _ in range(2)]
    assert -1 < (soon - datetime.now(UTC)).total_seconds() <= 1
    assert past < datetime.now(UTC)


async def test_status_with_a_body_of_ones_own(raw: RawClient) -> None:
    """Whatever a vendor was seen to say can be said."""
    happens(raw, faults.Status(code=401, body="who?", content_type="text/plain"))
    answer = await raw.numbers()
    assert (answer.status, answer.headers["content-type"], answer.body) == (401, "text/plain", b"who?")


@pytest.mark.parametrize("code", [200, 502])
async def test_html_comes_from_a_proxy(raw: RawClient, code: int) -> None:
    """A page, with any status."""
    happens(raw, faults.Html(code=code))
    answer = await raw.numbers()
    assert (answer.status, answer.headers["content-type"]) == (code, "text/html; charset=utf-8")
    assert b"<title>" in answer.body


async def test_redirect_leads_to_another_host(raw: RawClient) -> None:
    """With the same path and query there."""
    happens(raw, faults.Redirect(to="https://evil.example"))
    answer = await raw.numbers(page=0)
    assert answer.status == 307
    assert answer.headers["location"].startswith("https://evil.example/leadconnector/phone-system/")


async def test_refused_closes_the_door_for_a_while(raw: RawClient) -> None:
    """The request is reset; nobody can connect; and then everything is as it was, on the same port."""
    happens(raw, faults.Refused(seconds=0.2, times=1))
    assert [(await raw.numbers()).ended, (await raw.listing()).ended] == ["reset", "refused"]
    await asyncio.sleep(0.3)
    assert (await raw.numbers()).status == 200


async def test_refused_ends_kept_connections_too(raw: RawClient) -> None:
    """A client that holds a connection sees the outage as well."""
    url = raw.sandbox.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(url[0], int(url[1]))
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")
    raw.sandbox.refuse_connections(0.05)
    assert await reader.read() == b""
    writer.close()


async def test_a_sandbox_can_stop_while_it_refuses() -> None:
    """An outage ends with the sandbox, which can then be started again."""
    sandbox = Sandbox(locations=1)
    async with sandbox:
        sandbox.refuse_connections(3600)
        await asyncio.sleep(0)
    async with sandbox:
        assert (await RawClient(sandbox).numbers()).status == 200


async def test_reset_comes_before_the_answer(raw: RawClient) -> None:
    """A RST, and nothing was carried out."""
    happens(raw, faults.Reset())
    answer = await raw.create()
    assert (answer.raw, answer.ended, raw.sandbox.created) == (b"", "reset", [])


async def test_reset_body_comes_halfway(raw: RawClient) -> None:
    """Headers and half of what they promise, then a RST."""
    happens(raw, faults.ResetBody())
    answer = await raw.numbers()
    assert (answer.status, answer.ended) == (200, "reset")
    assert 0 < len(answer.body) < int(answer.headers["content-length"])


async def test_truncated_ends_in_good_order(raw: RawClient) -> None:
    """Half of what was promised, and a regular end."""
    happens(raw, faults.Truncated())
    answer = await raw.numbers()
    assert (answer.status, answer.ended) == (200, "closed")
    assert 0 < len(answer.body) < int(answer.headers["content-length"])


async def test_lost_answer_was_carried_out(raw: RawClient) -> None:
    """The number is there, and nobody was told."""
    happens(raw, faults.LostAnswer())
    answer = await raw.create()
    assert (answer.raw, answer.ended) == (b"", "closed")
    assert len(raw.sandbox.created) == 1


async def test_stalled_headers_never_end(raw: RawClient) -> None:
    """A status line, the beginning of the headers, and silence."""
    happens(raw, faults.StalledHeaders())
    answer = await raw.numbers(patience=0.1)
    assert (answer.status, answer.ended) == (200, "silent")
    assert b"\r\n\r\n" not in answer.raw


async def test_stalled_body_never_ends(raw: RawClient) -> None:
    """Headers, half a body, and silence."""
    happens(raw, faults.StalledBody())
    answer = await raw.numbers(patience=0.1)
    assert (answer.status, answer.ended) == (200, "silent")
    assert answer.body


@pytest.mark.parametrize("kind", [faults.StalledHeaders, faults.StalledBody])
async def test_a_stall_can_have_an_end(raw: RawClient, kind: type[faults.slow.Stall]) -> None:
    """After so many seconds the connection is closed."""
    happens(raw, kind(seconds=0.02))
    assert (await raw.numbers()).ended == "closed"


async def test_drip_is_slow_and_complete(raw: RawClient) -> None:
    """The real answer, in small pieces with pauses between them."""
    whole = (await raw.numbers()).json
    happens(raw, faults.Drip(piece=1000, pause=0.005))
    answer = await raw.numbers()
    assert answer.json == whole
    assert len(answer.times) > 3
    assert answer.times[-1] - answer.times[0] > 0.01


async def test_content_type_is_wrong(raw: RawClient) -> None:
    """Good JSON under a bad label."""
    happens(raw, faults.ContentType())
    answer = await raw.numbers()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert len(answer.json["numbers"]) == 8


async def test_charset_is_wrong(raw: RawClient) -> None:
    """It says UTF-8 and is not."""
    happens(raw, faults.Charset())
    answer = await raw.numbers()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    with pytest.raises(UnicodeDecodeError):
        answer.body.decode()
    assert '"numbers"' in answer.body.decode("utf-16")


async def test_invalid_json_is_all_there_is(raw: RawClient) -> None:
    """The length is right, so that only a parser notices."""
    happens(raw, faults.InvalidJson())
    answer = await raw.numbers()
    assert len(answer.body) == int(answer.headers["content-length"])
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        _ = answer.json


@pytest.mark.parametrize(("kind", "sent"), [(faults.Null, b"null"), (faults.EmptyObject, b"{}")])
async def test_nothing_as_an_answer(raw: RawClient, kind: type[Rule], sent: bytes) -> None:
    """JSON that says nothing, with status 200."""
    happens(raw, kind())
    answer = await raw.numbers()
    assert (answer.status, answer.body) == (200, sent)


async def test_gzip_bomb_is_small_until_opened(raw: RawClient) -> None:
    """A thousandth on the wire."""
    happens(raw, faults.GzipBomb(megabytes=4))
    answer = await raw.numbers()
    assert len(answer.body) < 10_000
    assert len(gzip.decompress(answer.body)) == 4 * 2**20


async def test_huge_headers_are_huge(raw: RawClient) -> None:
    """Larger than clients are prepared to read."""
    happens(raw, faults.HugeHeaders())
    answer = await raw.numbers()
    assert len(answer.headers["x-padding"]) == 131_072
    assert answer.json["numbers"]


async def test_wrong_shape_is_an_object_of_rows(raw: RawClient) -> None:
    """In every vendor's envelope."""
    happens(raw, faults.WrongShape())
    assert list((await raw.numbers()).json["numbers"]) == [str(i) for i in range(8)]
    assert isinstance((await raw.listing()).json["items"], dict)
    assert isinstance((await raw.agents()).json["data"], dict)


async def test_bad_row_is_one_of_many(raw: RawClient) -> None:
    """The others are what they should be."""
    happens(raw, faults.BadRow())
    kinds = [type(row["phoneNumber"]) for row in (await raw.numbers()).json["numbers"]]
    assert sorted(kind.__name__ for kind in kinds) == ["dict"] + ["str"] * 7


async def test_odd_types_change_types(raw: RawClient) -> None:
    """Phone numbers become integers, and other fields anything but what they were."""
    plain = (await raw.numbers()).json["numbers"]
    happens(raw, faults.OddTypes(share=1, numbers=True))
    odd = (await raw.numbers()).json["numbers"]
    assert [f"+{row['phoneNumber']}" for row in odd] == [row["phoneNumber"] for row in plain]
    for row, before in zip(odd, plain, strict=True):
        assert all(type(row[key]) is not type(before[key]) for key in before if key != "sid")


async def test_live_spelling_is_what_vendors_send(raw: RawClient) -> None:
    """Empty strings for null, RFC 2822 dates, words and capabilities in capitals, and `tollFree`."""
    happens(raw, faults.LiveSpelling())
    rows = (await raw.numbers()).json["numbers"]
    assert all(value is not None for row in rows for value in row.values())
    assert all(re.match(r"\w{3}, \d{2} \w{3} \d{4} ", row["dateAdded"]) for row in rows)
    assert {key for row in rows for key in row["capabilities"]} == {"VOICE", "SMS", "MMS", "FAX"}
    assert {row["type"] for row in rows} <= {"LOCAL", "MOBILE", "NATIONAL", "tollFree"}
    assert faults.live._respelled("type", "toll-free") == "tollFree"  # this location may have none


async def test_broken_text_is_half_a_pair(raw: RawClient) -> None:
    """In labels only, and as the escape that JSON has for it."""
    happens(raw, faults.BrokenText())
    answer = await raw.listing()
    assert b"\\ud83d" in answer.body
    assert all(row["name"].endswith("\ud83d") for row in answer.json["items"])


async def test_no_number_leaves_the_id(raw: RawClient) -> None:
    """Rows without a phone number are the same in every page, and keep everything else."""
    happens(raw, faults.NoNumber(share=0.5))
    pages = [(await raw.listing()).json["items"] for _ in range(2)]
    assert pages[0] == pages[1]
    assert {row["number"] is None for row in pages[0]} == {True, False}
    assert all(row["id"] for row in pages[0])


async def test_unknown_enum_is_a_new_word(raw: RawClient) -> None:
    """Wherever a document lists the values, also deep inside a row."""
    happens(raw, faults.UnknownEnum(word="New/Word 2"))
    assert {row["type"] for row in (await raw.numbers()).json["numbers"]} == {"New/Word 2"}
    assert {row["warmup"]["healthStatus"] for row in (await raw.listing()).json["items"]} == {"New/Word 2"}


async def test_unknown_fields_are_everywhere(raw: RawClient) -> None:
    """In rows, and beside them."""
    happens(raw, faults.UnknownFields())
    page = (await raw.numbers()).json
    assert "newInV9" in page
    assert all("newInV9" in row for row in page["numbers"])


async def test_missing_fields_leave_the_number(raw: RawClient) -> None:
    """Any field may be gone but that one."""
    happens(raw, faults.MissingFields(share=1))
    assert {tuple(row) for row in (await raw.numbers()).json["numbers"]} == {("phoneNumber",)}
    assert {tuple(row) for row in (await raw.listing()).json["items"]} == {("number",)}


async def test_duplicate_rows_were_on_an_earlier_page(raw: RawClient) -> None:
    """A later page holds some rows twice; the first one never does."""
    happens(raw, faults.DuplicateRows(count=2))
    first, second = [(await raw.numbers(pageSize=4, page=page)).json["numbers"] for page in (0, 1)]
    ids = [row["sid"] for row in first]
    assert len(ids) == 4
    assert len([row for row in second if row["sid"] in ids]) == 2
    assert len(second) == 6


async def test_repeated_token_goes_in_a_circle(raw: RawClient) -> None:
    """The page behind a token leads to that token."""
    happens(raw, faults.RepeatedToken())
    token = (await raw.listing(pageSize=10)).json["continuationToken"]
    assert (await raw.listing(pageSize=10, continuationToken=token)).json["continuationToken"] == token


def _numbers(answer: Answer) -> list[Any]:
    return [row["phoneNumber"] for row in answer.json.get("numbers") or answer.json["data"]]


async def test_moving_rows_come_twice(raw: RawClient) -> None:
    """A number is added in front while the list is read; the data have really changed."""
    here = "leadconnector", raw.sandbox.location_ids[0]
    before = raw.sandbox.truth[here]
    happens(raw, faults.MovingRows())
    first, second = [_numbers(await raw.numbers(pageSize=4, page=page)) for page in (0, 1)]
    assert second[0] == first[-1]
    assert before < raw.sandbox.truth[here]
    one, two = [_numbers(await raw.agents(limit=10, page=page)) for page in (1, 2)]
    assert two[0] == one[-1]
    assert raw.sandbox.created == []


async def test_moving_rows_can_be_skipped(raw: RawClient) -> None:
    """The first number goes, and whoever reads on misses one that is still there."""
    here = "leadconnector", raw.sandbox.location_ids[0]
    happens(raw, faults.MovingRows(direction="earlier"))
    seen = {n for page in (0, 1) for n in _numbers(await raw.numbers(pageSize=4, page=page))}
    assert len(raw.sandbox.truth[here] - seen) == 1
    assert len(_numbers(await raw.agents(limit=10, page=1))) == 10
    await raw.agents(limit=10, page=2)
    assert len(raw.sandbox.truth["agents", "default"]) == 29


async def test_moving_rows_are_put_where_they_are_wanted(raw: RawClient) -> None:
    """At the end, where the oldest number comes first, a list only grows; several rows move at once."""
    happens(raw, faults.MovingRows(where="end", rows=3))
    first, second = [_numbers(await raw.numbers(pageSize=4, page=page)) for page in (0, 1)]
    third = _numbers(await raw.numbers(pageSize=100))
    assert third[:8] == first + second
    assert [(row.number, row.added) for row in raw.sandbox.moved] == [(number, True) for number in third[8:]]
    assert len(third) == 8 + 3


async def test_moving_rows_can_come_and_go(raw: RawClient) -> None:
    """An exchange leaves as many as there were: no total tells that a number was skipped."""
    here = "leadconnector", raw.sandbox.location_ids[0]
    before = raw.sandbox.truth[here]
    happens(raw, faults.MovingRows(direction="exchange", where="end", rows=2))
    await raw.numbers(pageSize=4, page=1)
    after = raw.sandbox.truth[here]
    assert len(after) == len(before) == 8
    moved = raw.sandbox.moved
    assert after - before == {row.number for row in moved if row.added} & after
    assert before - after == {row.number for row in moved if not row.added} & before
    assert {(row.backend, row.account) for row in moved} == {here}


async def test_moving_rows_go_either_way(raw: RawClient) -> None:
    """One or the other is drawn for each request."""
    happens(raw, faults.MovingRows(direction="either", where="anywhere"))
    for page in range(2, 22):
        await raw.agents(limit=10, page=page)
    assert {row.added for row in raw.sandbox.moved} == {True, False}
    assert len(raw.sandbox.moved) == 20


async def test_moving_rows_skip_nothing_behind_a_token(raw: RawClient) -> None:
    """Leadping's list keeps its order of creation: what is added is at its end, and all others are found."""
    here = "leadping", "default"
    before = raw.sandbox.truth[here]
    happens(raw, faults.MovingRows(direction="exchange", where="anywhere"))
    token, seen = None, set[str]()
    while (page := (await raw.listing(pageSize=10, continuationToken=token)).json)["items"]:
        seen |= {row["number"] for row in page["items"]}
        if (token := page["continuationToken"]) is None:
            break
    assert before & raw.sandbox.truth[here] <= seen
    assert before != raw.sandbox.truth[here]
    assert raw.sandbox.created == []


async def test_moving_rows_need_a_list(raw: RawClient) -> None:
    """Where there is nothing to move, nothing moves."""
    for direction in ("earlier", "exchange"):
        happens(raw, faults.MovingRows(direction=direction, rows=9, times=1))
        assert (await raw.numbers("nowhere", page=1)).status == 400
    assert raw.sandbox.moved == []
    async with Sandbox(locations=1, not_connected=1, leadping=1, agents=0, agent_count=0) as empty:
        client = RawClient(empty)
        empty.faults.add(faults.MovingRows(direction="exchange"))
        assert (await client.numbers(page=1)).status == 404
        assert (await client.agents(page=2)).json["data"] == []
        assert empty.moved == []


async def test_row_faults_leave_other_answers_alone(raw: RawClient) -> None:
    """Errors and single numbers have no rows."""
    for kind in KINDS.values():
        if issubclass(kind, faults.rows.RowFault):
            raw.sandbox.faults.add(kind())
    assert (await raw.numbers("nowhere")).status == 400
    assert (await raw.create()).json["number"] == "+15005550006"


def test_every_kind_has_a_test() -> None:
    """None of the kinds goes untried."""
    tried = set(re.findall(r"faults\.(\w+)[(),]", Path(__file__).read_text()))
    assert {kind.__name__ for kind in KINDS.values()} <= tried
