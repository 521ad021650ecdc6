"""`python -m benchmarks`: measure, print, and write the results."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import affinity, certificate, loader, machine, plot, report
from benchmarks.cases import CASES, quick
from benchmarks.results import Run
from benchmarks.runner import Failed, Runner

if TYPE_CHECKING:
    from benchmarks.cases import Case, Entry

_RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; the exit status says whether it ran, never how fast."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    progress = Console(stderr=True, quiet=options.quiet)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phonesys-benchmark-")))
        out = options.out or (work if options.quick else _RESULTS)
        cores = affinity.cores()
        run = Run(
            machine=machine.machine(cores),
            versions=machine.versions(),
            rounds=options.rounds or (1 if options.quick else 5),
            figure=options.figure,
        )
        runner = Runner(folder=work, cores=cores, certificate=certificate.make(work), tell=progress.print)
        failed = _measure(run, runner, _chosen(options))
        report.show(run, console, goals=not options.quick)
        report.write(run, out)
        if not plot.draw(run, out):
            console.print("no plot: it needs matplotlib, and a case that it shows")
    for reason in failed:
        console.print(f"[red]failed[/red]: {reason}")
    return 1 if failed or (options.require_peers and run.skipped) else 0


def _measure(run: Run, runner: Runner, cases: list[Case]) -> list[str]:
    """Measure the cases into the run; return what failed."""
    failed = []
    for case in cases:
        if runner.certificate is None and case.serving is not None and case.serving.certificate:
            run.skipped.append(f"{case.name}: no certificate could be made, which takes openssl 1.1.1")
            continue
        entries = tuple(entry for entry in case.entries if not _skipped(run, case, entry))
        try:
            run.cases[case.name] = runner.case(case, entries, run.rounds)
        except Failed as failure:
            failed.append(f"{case.name}: {failure}")
    if not loader.available() and any(case.loader for case in cases):
        run.skipped.append("the loader: wrk is not installed, so that the server's speed is not shown")
    return failed


def _skipped(run: Run, case: Case, entry: Entry) -> bool:
    missing = entry.missing()
    if missing:
        run.skipped.append(f"{case.name}, {entry.label}: {', '.join(missing)} not installed")
    return bool(missing)


def _chosen(options: argparse.Namespace) -> list[Case]:
    named = set(options.cases or ())
    chosen = [case for case in CASES if case.name in named or (not named and (options.long or not case.long))]
    return [quick(case) for case in chosen] if options.quick else chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    names = [case.name for case in CASES]
    add("--quick", action="store_true", help="only see whether everything runs; the figures mean nothing")
    add("--long", action="store_true", help="the case of 100 000 locations too")
    add("--cases", nargs="+", choices=names, metavar="CASE", help=f"only these: {', '.join(names)}")
    add("--rounds", type=int, help="how many interleaved rounds (5)")
    add("--out", type=Path, help="where to write results.json, results.md, plot.png and plot.svg")
    add(
        "--figure", choices=("seconds", "cpu"), default="seconds", help="what goals compare: wall or CPU time"
    )
    add("--require-peers", action="store_true", help="fail where a peer is not installed")
    add("--quiet", action="store_true", help="no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
