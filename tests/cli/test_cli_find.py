"""`phonesys find` accepts numbers as people have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from phonesys._matching import NumberQuery
from phonesys.cli.queries import NumberQueries
from tests.cli.vendors import Result, call, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with serving(locations=6, seed=1, leadping=30, agents=20, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def vendors(server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Run in a folder with a configuration that points at the sandbox."""
    monkeypatch.delenv("PHONESYS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(server))
    return server


def american(vendors: Sandbox, backend: str) -> tuple[str, str]:
    """Return an account of the backend and a number that it holds, with the country code 1."""
    return next(
        (account, number)
        for (name, account), held in sorted(vendors.truth.items())
        if name == backend
        for number in sorted(held)
        if number.startswith("+1") and len(number) == 12
    )


def found(done: Result) -> list[tuple[str, str, str]]:
    rows = map(json.loads, done.out.splitlines())
    return [(row["backend"], row["account"], row["number"]) for row in rows]


SPELLINGS = {
    "digits": "{0}",
    "grouped": "+1 {1}-{2}-{3}",
    "tel": "tel:+1-{1}-{2}-{3}",
    "zeros": "001 {1} {2} {3}",
    "national": "({1}) {2}-{3}",
    "dots": "{1}.{2}.{3}",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("backend", ["leadconnector", "leadping"])
@pytest.mark.parametrize("country", [(), ("--country", "us")], ids=["bare", "country"])
def test_every_spelling_finds_the_number(
    vendors: Sandbox, backend: str, spelling: str, country: tuple[str, ...]
) -> None:
    """Digits are compared, in vendors with a search and without one."""
    account, number = american(vendors, backend)
    written = spelling.format(number[1:], number[2:5], number[5:8], number[8:])
    done = call("find", written, *country, "--format", "jsonl")
    assert (done.status, found(done)) == (0, [(backend, account, number)]), done


def test_several_numbers_are_found_in_one_sweep(vendors: Sandbox, tmp_path: Path) -> None:
    """They come from arguments, a file and stdin, and each is summarised."""
    first, second = american(vendors, "leadconnector"), american(vendors, "leadping")
    third = min(vendors.truth["agents", "default"])
    (tmp_path / "numbers.txt").write_text(f"# numbers\n\n{second[1][1:]}\n", encoding="utf-8")
    before = vendors.served["agents.list", 200]
    done = call(
        "find", first[1], "-", "+14155550000", "--numbers", "numbers.txt", "-f", "jsonl", stdin=f"{third}\n"
    )
    assert done.status == 0, done
    assert sorted(found(done)) == sorted(
        [("leadconnector", *first), ("leadping", *second), ("agents", "default", third)]
    )
    assert vendors.served["agents.list", 200] == before + 1
    lines = done.err.splitlines()
    assert lines[0] == "+14155550000 is in none of 8 accounts"
    assert f"{first[1]} found 1 time in 8 accounts" in lines


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "expected a number, - for stdin, or --numbers FILE"),
        (("",), "expected a phone number, a short code or a sender"),
        (("--numbers", "none.txt"), "--numbers none.txt: No such file or directory"),
        (("4155552671", "--country", "Narnia"), "--country Narnia: expected two letters"),
        (("415555267112345678", "--country", "US"), "'415555267112345678' is not a number of US"),
    ],
)
def test_a_number_that_is_none_is_one_line(
    vendors: Sandbox, arguments: tuple[str, ...], expected: str
) -> None:
    """The status is 2, and nothing is sent."""
    before = sum(vendors.served.values())
    done = call("find", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"phonesys: {expected}"), done
    assert sum(vendors.served.values()) == before


def test_an_index_of_queries_matches_like_each_query() -> None:
    """Short codes, senders and national spellings are compared with each, E.164 by its digits."""
    spellings = ["+14155552671", "(415) 555-2671", "12345", "ACME", "tel:+442079460000", "020 7946 0000"]
    queries = NumberQueries(map(NumberQuery.parse, [*spellings, "+1 415 555 2671"]))
    assert len(queries.all) == len(spellings)
    for spelling in (*spellings, "14155552671", "+14155552672", "acme", "0207946", ""):
        expected = [query for query in queries.all if query.matches(spelling)]
        assert sorted(queries.matching(spelling)) == sorted(expected), spelling
