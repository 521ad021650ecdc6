"""The benchmarks' arithmetic, and that one of them runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import report, simulation
from benchmarks.__main__ import main
from benchmarks.cases import CASES, DEEP, LIMITED, REQUESTS, SIZES, SMALL, quick
from benchmarks.data import location_pages, organization_pages
from benchmarks.goals import GOALS, Goal, faster_than, verdicts
from benchmarks.job import Job, Outcome
from benchmarks.results import CaseResult, Row, Run
from benchmarks.runner import derive
from benchmarks.server import Serving, Site
from benchmarks.stats import interleaved, spread
from phonesys.backends.leadconnector.wire import decode_listing
from phonesys.backends.leadping.wire import decode_listing as read_rows
from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent


def row(*seconds: float, units: float = 1, cpu: float = 1.0, peak: int = 1024) -> Row:
    samples = [Outcome(seconds=s, cpu=cpu, peak_kib=peak) for s in seconds]
    return Row(label="a client", units=units, samples=samples)


def run_of(case: CaseResult) -> Run:
    return Run(machine={}, versions={}, rounds=1, cases={case.name: case})


@pytest.fixture
def small() -> CaseResult:
    return CaseResult(
        name="small",
        title="Small",
        unit="request",
        loader=90.0,
        rows={"phonesys": row(2.0, 4.0, 3.0, units=100), "by_hand": row(6.0, units=100)},
    )


def test_rounds_are_interleaved_and_no_client_is_always_first() -> None:
    """Each round has everybody once, and begins with another."""
    order = [thing for _, thing in interleaved("ABC", 3)]
    assert order == list("ABCBCACAB")
    assert list(interleaved([], 2)) == []


def test_spread_is_the_distance_between_quartiles() -> None:
    """One outlier does not count; a single value has no spread."""
    assert spread([5.0]) == 0.0
    assert spread([10.0, 10.0, 10.0, 10.0, 99.0]) == 0.0
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.2)


def test_figures_are_medians_of_one_unit(small: CaseResult) -> None:
    """Median over rounds, divided by the units of one pass."""
    assert small.rows["phonesys"].per_unit() == pytest.approx(0.03)
    assert small.rows["phonesys"].per_unit("cpu") == pytest.approx(0.01)
    assert small.rows["phonesys"].peak_mib() == 1.0


def test_a_ratio_says_how_many_times_as_fast(small: CaseResult) -> None:
    """Twice as long is half as fast; who was not measured has no ratio."""
    assert small.ratio("by_hand") == pytest.approx(2.0)
    assert small.ratio("httpx") is None


def test_the_server_is_judged_by_the_fastest_client(small: CaseResult) -> None:
    """90 requests a second against 33 is 2.7 times, and too little."""
    assert small.server_margin() == pytest.approx(2.7)
    assert "too little" in (report.about_server(small) or "")
    small.loader = None
    assert report.about_server(small) is None


def test_ceilings_are_no_rivals(small: CaseResult) -> None:
    """A client that leaves out part of the work does not count as the fastest one."""
    small.rows["bytes"] = msgspec.structs.replace(row(0.001, units=100), ceiling=True)
    assert small.server_margin() == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("target", "most", "met"), [(1.5, False, True), (2.5, False, False), (2.5, True, True)]
)
def test_goals_are_floors_or_ceilings(small: CaseResult, target: float, most: bool, met: bool) -> None:
    """A measured 2.0 against targets of both kinds."""
    verdict = Goal("small", "a goal", target, faster_than("by_hand"), most=most).verdict(run_of(small))
    assert verdict is not None
    assert verdict.met is met


def test_goals_of_what_was_not_measured_are_not_judged(small: CaseResult) -> None:
    """No peer, no case: no verdict."""
    judged = [verdict.goal for verdict in verdicts(run_of(small))]
    assert judged == ["small locations: speed beside the loop by hand"]


def test_every_goal_names_a_case() -> None:
    """A goal of a case that is not there would never be judged."""
    assert {goal.case for goal in GOALS} <= {case.name for case in CASES}


def test_what_the_server_saw_becomes_figures() -> None:
    """Requests beyond the pages are waste. The use of a window is a share of time."""
    outcome = Outcome(seconds=1, cpu=1, extra={"requests": 202, "ideal": 4.0, "span": 4.1})
    derive(Job(client="", task="", locations=1, pages=100), outcome)
    assert outcome.extra["wasted"] == 102
    assert outcome.extra["used"] == pytest.approx(4.0 / 4.1)


def test_the_best_time_of_the_deep_location() -> None:
    """One page alone, then more as pages prove full: 1, 2, 4, 7, 10, 14, 19, 25, 33, 43, 55 in all."""
    assert DEEP.bound == pytest.approx(0.04 * 16)


def test_the_server_has_pages_of_any_size() -> None:
    """A location says in its name how many numbers it has, and whether its pages state a total."""
    site = Site(Serving(rows=4, pages=3))

    def rows(location: str, page: int, size: int) -> tuple[int, int | None]:
        target = f"/phone-system/numbers/location/{location}?pageSize={size}&page={page}".encode()
        read = decode_listing(site.answer(target, b"", lambda: 0.0).partition(b"\r\n\r\n")[2])
        return len(read.numbers), read.total

    assert [rows("loc", page, 4)[0] for page in range(4)] == [4, 4, 3, 0]
    assert [rows("loc", page, 3)[0] for page in range(4)] == [3, 3, 3, 2]
    assert rows("loc", 10, 1) == (1, None)
    assert rows("rows-25", 2, 10) == (5, None)
    assert rows("counted-25", 2, 10) == (5, 25)


def test_requests_are_counted() -> None:
    """Each size has a goal, and no location is read in fewer requests than it has pages."""
    assert len(SIZES) == len(REQUESTS.entries) == len({entry.key for entry in REQUESTS.entries})
    for entry, (count, size, _, _, most) in zip(REQUESTS.entries, SIZES, strict=True):
        job = REQUESTS.job_of(entry)
        assert (job.numbers, job.rows) == (count, size)
        assert job.requests <= most


def test_quick_cases_are_small() -> None:
    """Fewer locations and pages, no loader, no repetition; the server's limit shrinks with them."""
    for case in map(quick, CASES):
        assert case.job.locations <= 20
        assert case.job.least_seconds == 0
        assert case.loader is None
    limited = quick(LIMITED)
    assert limited.serving is not None
    assert limited.serving.window == limited.job.limit[0] == 10  # type: ignore[index]


def test_pages_hold_as_many_numbers_as_jobs_expect() -> None:
    """Full pages, the last one short by one, an empty one after it; ids differ."""
    job = Job(client="", task="", locations=1, pages=3, rows=4)
    pages = [decode_listing(body) for body in location_pages(3, 4)]
    assert [len(page.numbers) for page in pages] == [4, 4, 3, 0]
    assert len({number.id for page in pages for number in page.numbers}) == job.numbers == 11


def test_organizations_are_chained_by_tokens() -> None:
    """Each page names the next but the last."""
    pages = [read_rows(body) for body in organization_pages(3, 2)]
    assert [page.token for page in pages] == ["1", "2", None]
    assert {len(page.rows) for page in pages} == {2}


def test_the_server_enforces_an_exact_window() -> None:
    """Two in any second; the third is refused, and allowed once the first is a second ago."""
    site = Site(Serving(window=2, per=1.0))
    target = b"/phone-system/numbers/location/a?page=0"
    seen = [site.answer(target, b"", lambda now=now: now)[9:12] for now in (0.0, 0.5, 0.9, 1.0, 1.2)]  # type: ignore[misc]
    assert seen == [b"200", b"200", b"429", b"200", b"429"]


def test_markdown_and_json_say_the_same(small: CaseResult, tmp_path: Path) -> None:
    """Both hold the case, its clients and the goals."""
    run = run_of(small)
    run.skipped.append("dlt: not installed")
    report.write(run, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| a client | 30 ms |" in text
    assert "2.00 x as fast" in text
    assert "Skipped: dlt" in text
    document = msgspec.json.decode((tmp_path / "results.json").read_bytes())
    assert document["goals"][0]["met"] is True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 µs"), (2.5e-6, "2.5 µs"), (1.234e-4, "123 µs"), (0.0452, "45.2 ms"), (3.0, "3 s")],
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    """Three digits, and a unit that fits."""
    assert report.duration(seconds) == text


def test_one_case_runs(tmp_path: Path) -> None:
    """`python -m benchmarks --quick` starts a server and fresh clients, and writes what they did."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--cases", SMALL.name, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert "phonesys" in done.stdout
    document = msgspec.json.decode((tmp_path / "results.json").read_bytes())
    outcome = document["cases"]["small"]["rows"]["phonesys"]["samples"][0]
    assert outcome["numbers"] == 20 * 8


def test_without_a_certificate_tls_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither a failure, nor a case that looks as if it had been measured over TLS."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert main(["--quick", "--cases", "tls", "--quiet", "--out", str(tmp_path)]) == 0
    assert "tls: no certificate could be made" in capsys.readouterr().out
    assert "tls" not in msgspec.json.decode((tmp_path / "results.json").read_bytes())["cases"]


def test_a_day_of_agencies_can_be_simulated() -> None:
    """A cold day takes as long as its exchanges, a warm one exchanges nothing, and no call is refused."""
    settings = simulation.Settings(agencies=2, locations=220, workers=1, concurrency=64)
    with asyncio.Runner(loop_factory=simulation.JumpingLoop) as runner:
        cold, warm, tomorrow = runner.run(simulation.simulate(settings))
    assert [one.refused for one in (cold, warm, tomorrow)] == [0, 0, 0]
    assert [one.requests["location_token"] for one in (cold, warm, tomorrow)] == [440, 0, 0]
    assert [one.requests["active_numbers"] for one in (cold, warm, tomorrow)] == [440, 440, 440]
    assert cold.most_in_a_window == 100
    assert 20 < cold.seconds < 24
    assert warm.seconds < 2
    assert tomorrow.requests["refresh_token"] == 442
