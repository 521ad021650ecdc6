"""Run the program in situations that need root, mounts or another user, where this machine can.

    python -m tests.machines
    python -m tests.machines --rounds 20 --only disk

The report names each situation, and the reason for those that could not run. The status is 1 if one that ran
failed. Each runs in a process of its own and, where it mounts something, in namespaces that end with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.machines.machine import NAMESPACES, NEEDS, ROOT
from tests.machines.situations import SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.machines.situations import Situation

HELD, FAILED, NOT_RUN = "held", "FAILED", "not run"


class Verdict(NamedTuple):
    situation: Situation
    outcome: str
    detail: str
    """Claim, error, or the reason for not running."""

    def __str__(self) -> str:
        return f"{self.outcome:8} {self.situation.name}: {self.detail}"


@cache
def missing(need: str) -> str | None:
    """Return the reason why this machine lacks what is needed, found once, or None."""
    return NEEDS[need]()


def judge(situation: Situation) -> Verdict:
    """Run a situation in a process of its own, if this machine can."""
    for need in situation.needs:
        if reason := missing(need):
            return Verdict(situation, NOT_RUN, f"needs {need} ({reason})")
    options = dict.fromkeys(option for need in situation.needs for option in NAMESPACES.get(need, ()))
    namespaces = ["unshare", *options, "--"] if options else []
    done = subprocess.run(  # noqa: S603 -- ourselves
        [*namespaces, sys.executable, "-m", "tests.machines", "--inside", situation.name],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return Verdict(situation, FAILED, f"status {done.returncode}\n{done.stdout}{done.stderr}")
    return Verdict(situation, HELD, situation.claim)


def run_inside(name: str) -> int:
    """Run one situation in this process, with whose namespaces it may do as it likes."""
    (situation,) = (one for one in SITUATIONS if one.name == name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        situation.run(Path(folder).resolve())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        prog="python -m tests.machines", description=(__doc__ or "").split("\n")[0]
    )
    options.add_argument("--rounds", type=int, default=1, help="how often each situation is run")
    options.add_argument(
        "--only", default="", metavar="WORDS", help="situations with these words in their name"
    )
    options.add_argument("--inside", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.inside:
        return run_inside(given.inside)
    counts: Counter[str] = Counter()
    for situation in SITUATIONS:
        if given.only in situation.name:
            for _ in range(given.rounds):
                verdict = judge(situation)
                counts[verdict.outcome] += 1
                print(verdict, flush=True)  # noqa: T201
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in (HELD, FAILED, NOT_RUN)))  # noqa: T201
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    sys.exit(main())
