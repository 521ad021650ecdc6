"""What is in the wheel and in the source distribution: what is listed, and nothing else."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

builders = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling, of the extra `test`")

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"phonesys", "tests", "benchmarks", "docs", "examples"}
FILES = {
    ".gitignore", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md",
    "SECURITY.md", "llms.txt", "pyproject.toml", "zensical.toml",
}  # fmt: skip
GENERATED = {"__pycache__", ".pyc", ".pyo", ".so", ".orig", ".rej", ".db", ".log", ".part"}


def package() -> set[str]:
    """Return the files of the package in this checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "phonesys").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build(kind: str, folder: Path) -> Path:
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(ROOT)) if kind == "wheel" else SdistBuilder(str(ROOT))
    return Path(next(iter(builder.build(directory=str(folder)))))


def test_a_wheel_holds_the_package_and_its_metadata(tmp_path: Path) -> None:
    """Every file of the package is there, `py.typed` too, and no test."""
    with zipfile.ZipFile(build("wheel", tmp_path)) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    metadata = {name for name in names if PurePosixPath(name).parts[0].endswith(".dist-info")}
    assert names - metadata == package()
    assert "phonesys/py.typed" in names
    assert {PurePosixPath(name).name for name in metadata} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "LICENSE",
    }  # fmt: skip


def test_a_source_distribution_holds_what_is_listed(tmp_path: Path) -> None:
    """The package, its tests, documents and examples, and nothing that was generated beside them."""
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {PurePosixPath(*PurePosixPath(one.name).parts[1:]) for one in archive if one.isfile()}
    inside = {name for name in names if len(name.parts) > 1}
    assert {name.parts[0] for name in inside} == FOLDERS
    assert {str(name) for name in names - inside} == FILES
    assert {str(name) for name in names if name.parts[0] == "phonesys"} == package()
    assert not [name for name in names if GENERATED & {*name.parts, *name.suffixes}]
