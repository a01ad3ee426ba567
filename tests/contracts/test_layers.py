"""Dependencies between the library's packages point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "pipelines"
BASE = {"address", "documents", "errors", "interrupt", "output", "settings", "sqlfiles", "console", "notebooks"}
MAY_IMPORT: dict[str, set[str]] = {
    "stats": set(),
    "canonical": set(),
    "proof": {"canonical"},
    "store": set(),
    "lake": set(),
    "ingest": {"store", "canonical"},
    "export": {"store", "lake", "proof"},
    "audit": {"store", "lake", "proof", "export", "canonical"},
    "folds": {"store", "lake", "canonical"},
    "projections": {"lake"},
    "recorder": {"store", "folds", "canonical", "ingest"},
    "replay": {"lake", "folds", "canonical", "stats"},
    "diff": {"lake", "canonical", "stats", "replay"},
    "web": set(),
    "review": {"lake", "folds", "diff", "stats", "replay", "canonical"},
    "demo": {"store", "lake", "folds", "diff", "review", "replay"},
}
COMMAND_LINE = "cli"
"""Imports any, and is imported by none."""
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != COMMAND_LINE)


def imported(path: Path) -> set[str]:
    """Packages and modules directly under `pipelines` that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name.split(".")[1] for name in names if name.startswith("pipelines.")}
        found |= {"assets" for name in names if name.split(".")[0] == "assets"}
    return found


def test_every_package_has_its_place():
    """A package under `pipelines` is listed here with what it may import."""
    assert [name for name in PACKAGES if name not in MAY_IMPORT] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_is_before_it(package: str):
    """No package imports a later one, nor the command line, nor the assets."""
    allowed = MAY_IMPORT.get(package, set()) | BASE | {package}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if name not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("folder", ["pipelines", "assets"])
def test_nothing_of_ours_imports_the_public_package(folder: str):
    """It stands on the others, and a file `refold.py` beside an experiment is in nobody's way."""
    files = sorted((ROOT.parent / folder).rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "refold"], path
