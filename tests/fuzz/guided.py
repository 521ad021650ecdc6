r"""Searches for input that breaks a promise of `targets`, led by which code it reaches.

    python -m tests.fuzz.guided --seconds 60 --target listing
    python -m tests.fuzz.guided --seconds 300 --target all --seed 7
    python -m tests.fuzz.guided --target config --replay "b'[leadping]\nx = 0xfff'"

Needs the extras `cli` and `crypto` and the dependency group `fuzz`. Each target runs in a process of its own.
Input that breaks it is printed as a Python literal, with the command that shows it again; the exit code is 1.
"""

from __future__ import annotations

import argparse
import ast
import gc
import random
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUPS = ("listing", "errors", "oauth", "config", "plan")
_LONGEST = 65_536
_TIME_OUT = 20  # seconds for one input; the slowest that is known takes a tenth of one
_MOST_MEMORY = 2_048  # megabytes, which is what libFuzzer gives up at
_STRUCTURED = 0.7


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, or try one input again."""
    options = _parser().parse_args(arguments)
    if options.replay is not None:
        return _replay(options.target, ast.literal_eval(options.replay))
    if _atheris() is None:
        print(f"this needs atheris: {sys.executable} -m pip install --group fuzz", file=sys.stderr)  # noqa: T201
        return 2
    if options.here:
        _search(options.target, options.seconds, options.seed)
        return 0
    groups = GROUPS if options.target == "all" else (options.target,)
    share = max(1, options.seconds // len(groups))
    found = [group for group in groups if not _searched(group, share, options.seed)]
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=[*GROUPS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="BYTES", help="try this input, written as Python writes it")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def _atheris() -> Any:
    try:
        import atheris
    except ImportError:
        return None
    return atheris


def _searched(group: str, seconds: int, seed: int) -> bool:
    """Search in a process of its own, which a finding ends; say whether there was none."""
    command = [sys.executable, "-m", "tests.fuzz.guided", "--here", "--target", group]
    ended = subprocess.run(  # noqa: S603 -- ourselves
        [*command, "--seconds", str(seconds), "--seed", str(seed)],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    runs = next((line for line in reversed(ended.stderr.splitlines()) if line.startswith("Done ")), "")
    if ended.returncode == 0:
        print(f"{group:8} nothing found; {runs or ended.stderr[-200:]}")  # noqa: T201
        return True
    print(f"{group:8} FOUND\n{ended.stderr[-4000:]}")  # noqa: T201
    return False


def _search(group: str, seconds: int, seed: int) -> None:
    atheris = _atheris()
    with atheris.instrument_imports(include=["phonesys"]):
        from tests.fuzz import targets
    from tests.fuzz.answers import mutated
    from tests.fuzz.seeds import SEEDS

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() >= _STRUCTURED:
            return bytes(atheris.Mutate(data, most))
        head, gap, body = data.rpartition(b"\n\n")  # of an error, whose headers come first
        return (head + gap + mutated(body, draw))[:most]

    with tempfile.TemporaryDirectory() as folder:
        for place, example in enumerate(SEEDS[group]):
            Path(folder, f"seed-{place}").write_bytes(example)
        flags = [
            f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_TIME_OUT}", f"-seed={seed}",
            f"-rss_limit_mb={_MOST_MEMORY}", f"-artifact_prefix={folder}/", "-len_control=0",
        ]  # fmt: skip
        atheris.Setup(
            ["fuzz", *flags, folder], _promised(group, targets.GROUPS[group]), custom_mutator=mutate
        )
        atheris.Fuzz()


def _promised(group: str, promises: Sequence[Callable[[bytes], None]]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        for promise in promises:
            try:
                promise(data)
            except BaseException:
                traceback.print_exc()
                print(_how_to_replay(group, data), file=sys.stderr, flush=True)  # noqa: T201
                raise

    return run


def _how_to_replay(group: str, data: bytes) -> str:
    return f"input: {data!r}\nagain: python -m tests.fuzz.guided --target {group} --replay INPUT"


def _replay(group: str, data: bytes) -> int:
    from tests.fuzz import targets

    try:
        _promised(group, targets.GROUPS[group])(data)
    except Exception:  # noqa: BLE001 -- shown already
        return 1
    gc.collect()  # what raises only when it is thrown away
    print("no promise was broken")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
