"""Runs cases: a server of its own for each, and each client in a fresh process on the other core."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import msgspec

from benchmarks import loader
from benchmarks.job import Job, Outcome
from benchmarks.results import CaseResult, Row
from benchmarks.server import Serving, Started, Stats
from benchmarks.stats import interleaved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.cases import Case, Entry

_ROOT = Path(__file__).parent.parent
_PATIENCE = 600.0


class Failed(Exception):
    """A client did not do its work; its last words."""


class Runner:
    """Where things run, and who is told about it."""

    def __init__(
        self,
        *,
        folder: Path,
        cores: tuple[int | None, int | None],
        certificate: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._server_core, self._client_core = cores
        self.certificate = certificate
        self._tell = tell

    def case(self, case: Case, entries: tuple[Entry, ...], rounds: int) -> CaseResult:
        """Measure the clients of a case, in interleaved rounds."""
        result = CaseResult(name=case.name, title=case.title, unit=case.unit, bound=case.bound)
        for entry in entries:
            result.rows[entry.key] = Row(
                label=entry.label,
                units=case.units(case.job_of(entry)),
                ceiling=entry.ceiling,
                note=entry.note,
            )
        with self._serving(case) as url:
            for number, entry in interleaved(entries, max(rounds, case.least_rounds)):
                self._tell(f"{case.name}: round {number + 1}, {entry.label}")
                result.rows[entry.key].samples.append(self._sample(case, entry, url))
            if case.loader is not None and url is not None and loader.available():
                self._tell(f"{case.name}: the loader")
                result.loader = loader.requests_per_second(url + case.loader, self._client_core)
        return result

    def _sample(self, case: Case, entry: Entry, url: str | None) -> Outcome:
        job = msgspec.structs.replace(
            case.job_of(entry),
            url=url or "",
            core=self._client_core,
            file=str(self._folder / "numbers.jsonl"),
            certificate=str(self.certificate) if case.serving and case.serving.certificate else None,
        )
        if url is not None and case.serving is not None and case.serving.certificate is None:
            stats(url)  # reset the counts
            outcome = run(job)
            seen = stats(url)
            outcome.extra |= {"answered": seen.requests, "refused": seen.refused, "ideal": seen.ideal,
                              "span": seen.last - seen.first}  # fmt: skip
        else:
            outcome = run(job)
        derive(job, outcome)
        return outcome

    @contextmanager
    def _serving(self, case: Case) -> Iterator[str | None]:
        if case.serving is None:
            yield None
            return
        certificate = str(self.certificate) if case.serving.certificate else None
        serving = msgspec.structs.replace(case.serving, core=self._server_core, certificate=certificate)
        with server(serving) as url:
            yield url


def derive(job: Job, outcome: Outcome) -> None:
    """Add what follows from what the server saw."""
    extra = outcome.extra
    if "requests" in extra:
        extra["wasted"] = extra["requests"] - job.requests
    if extra.get("ideal") and extra.get("span"):
        extra["used"] = extra["ideal"] / extra["span"]


@contextmanager
def server(serving: Serving) -> Iterator[str]:
    """Run a server and give its URL; it ends when its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(serving).decode() + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise Failed("the server did not start")
        scheme = "http" if serving.certificate is None else "https"
        yield f"{scheme}://127.0.0.1:{msgspec.json.decode(line, type=Started).port}"
        process.stdin.close()


def stats(url: str) -> Stats:
    """Ask the server what it saw since it was last asked."""
    with urlopen(f"{url}/stats") as answer:  # noqa: S310 -- loopback
        return msgspec.json.decode(answer.read(), type=Stats)


def run(job: Job) -> Outcome:
    """Do a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child"],
        input=msgspec.json.encode(job),
        capture_output=True,
        cwd=_ROOT,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise Failed(f"{job.client}.{job.task}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Outcome)
