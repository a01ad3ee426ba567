"""Dependencies between the library's packages point one way."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "pipelines"
BASE = {
    "address",
    "collecting",
    "compact_json",
    "compiled",
    "arrow",
    "documents",
    "duck",
    "errors",
    "interrupt",
    "locks",
    "output",
    "settings",
    "sqlfiles",
    "console",
    "notebooks",
}
MAY_IMPORT: dict[str, set[str]] = {
    "stats": set(),
    "canonical": set(),
    "detect": set(),
    "proof": {"canonical"},
    "store": set(),
    "fold": {"canonical"},
    "log": {"canonical"},
    "lake": {"fold", "log"},
    "ingest": {"store", "canonical", "log"},
    "export": {"store", "lake", "proof"},
    "audit": {"store", "lake", "proof", "export", "canonical"},
    "folds": {"store", "lake", "canonical", "fold", "log"},
    "projections": {"lake", "fold", "log"},
    "recorder": {"store", "log", "canonical", "ingest"},
    "experiment": {"lake", "fold", "folds", "log", "canonical", "stats"},
    "replay": {"ingest", "lake", "fold", "folds", "log", "canonical", "experiment"},
    "diff": {"lake", "canonical", "stats", "experiment"},
    "shell": {"lake"},
    "web": set(),
    "receive": {"ingest", "store", "web"},
    "explore": {"lake", "review"},
    "doctor": {"store", "lake", "proof", "export", "home", "privacy", "foreign"},
    "review": {"lake", "log", "diff", "stats", "experiment", "replay", "canonical"},
    "verdicts": {"store", "lake", "diff", "stats", "experiment"},
    "judge": {"lake", "diff", "experiment", "replay", "review", "verdicts"},
    "pull_request": {"lake", "diff", "review", "stats"},
    "desks": {"lake", "diff", "review", "verdicts", "web"},
    "demo": {"store", "lake", "log", "diff", "review", "experiment"},
    "redaction": {
        "store",
        "lake",
        "log",
        "detect",
        "folds",
        "experiment",
        "replay",
        "diff",
        "review",
        "erasure",
    },
    "erasure": {
        "store",
        "ingest",
        "lake",
        "log",
        "proof",
        "export",
        "folds",
        "experiment",
        "replay",
        "diff",
        "review",
        "recorder",
    },
    "evidence": {
        "store",
        "lake",
        "proof",
        "export",
        "audit",
        "canonical",
        "fold",
        "folds",
        "log",
        "experiment",
        "replay",
        "diff",
        "review",
        "erasure",
    },
}
COMMAND_LINE = "cli"
"""Imports any, and is imported by none."""
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != COMMAND_LINE)
MODULES, LINES = 25, 80
"""Most modules of a folder, and most lines of a function; what needs more is two ideas."""


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


def test_there_is_no_circle():
    """What packages may import has an order."""
    order = list(TopologicalSorter(MAY_IMPORT).static_order())
    assert order.index("fold") < order.index("lake") < order.index("folds") < order.index("replay")


@pytest.mark.parametrize("package", [*(f"pipelines/{name}" for name in PACKAGES), "pipelines/cli", "assets", "refold"])
def test_a_package_can_be_read_at_once(package: str):
    """No folder has many modules, and no function is long."""
    folders: dict[Path, int] = {}
    long = []
    for path in (ROOT.parent / package).rglob("*.py"):
        folders[path.parent] = folders.get(path.parent, 0) + 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{path.relative_to(ROOT.parent)}: {node.name} has {lines} lines"] if lines > LINES else []
    assert long == []
    assert max(folders.values()) <= MODULES


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


def test_the_fold_is_pure():
    """The fold knows columns and nothing of where they come from: no DuckDB, no lake, no files."""
    allowed = {
        "__future__",
        "collections",
        "contextlib",
        "dataclasses",
        "decimal",
        "functools",
        "hashlib",
        "json",
        "typing",
    }
    allowed |= {"numpy", "pyarrow", "pipelines.arrow", "pipelines.errors", "pipelines.canonical", "pipelines.fold"}
    wrong = {
        f"{path.name} imports {name}"
        for path in (ROOT / "fold").glob("*.py")
        if path.name != "identity.py"  # reads the files that it names
        for name in modules_of(path)
        if not any(name == each or name.startswith(f"{each}.") for each in allowed)
    }
    assert not wrong


def test_a_pair_is_compared_without_a_lake():
    """How two answers differ is a function of them and of what is known of their tools."""
    files = sorted((ROOT / "diff" / "pair").glob("*.py"))
    allowed = ("pipelines.diff.pair.", "pipelines.canonical.", "pipelines.errors", "pipelines.experiment.manifest")
    wrong = {
        f"{path.name} imports {name}"
        for path in files
        for name in modules_of(path)
        if name in ("duckdb", "deltalake", "polars") or (name.startswith("pipelines.") and not name.startswith(allowed))
    }
    assert files
    assert not wrong


def modules_of(path: Path) -> set[str]:
    """All modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found
