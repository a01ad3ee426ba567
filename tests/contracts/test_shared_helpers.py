"""Where tests keep what they share: no test module is imported, and what several folders use stands in `tests/support`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SHARED = ("support", "oracles", "benchmarks", "acceptance")
"""Folders that any may import: helpers, references, and the two kinds of programs, which tests try once."""


def faults(text: str, folder: str) -> list[str]:
    """What a test file of a folder such as `unit/lake` imports and should not."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
        for name in names:
            root, *path = name.split(".")
            if root != "tests":
                continue
            if any(part.startswith("test_") or part == "conftest" for part in path[:-1]) or path[-1].startswith(
                "test_"
            ):
                found.append(f"line {node.lineno}: {name} is of a test module or a conftest; move it to tests/support")
            elif path[0] not in SHARED and not "/".join(path).startswith(f"{folder}/"):
                found.append(f"line {node.lineno}: {name} is of another folder; move it to tests/support")
    return found


def test_nothing_is_imported_from_a_test():
    """A helper that two modules use has a module of its own, beside them, or in `tests/support` when they are of two folders."""
    files = sorted(TESTS.rglob("*.py"))
    assert len(files) > 200
    found = {}
    for path in files:
        here = faults(path.read_text(encoding="utf-8"), path.parent.relative_to(TESTS).as_posix())
        if here:
            found[str(path.relative_to(TESTS))] = here
    assert found == {}


@pytest.mark.parametrize(
    ("line", "is_taken"),
    [
        ("from tests.support.shop import add", True),
        ("from tests.oracles import left_fold", True),
        ("from tests.unit.lake.lost_answers import Commits", True),
        ("from tests.unit.lake.test_lake import write", False),
        ("from tests.unit.lake import test_lake", False),
        ("import tests.unit.lake.test_lake", False),
        ("from tests.unit.lake.conftest import lake", False),
        ("def f():\n    from tests.unit.diff.plain_pairs import diff_plainly", False),
        ("from tests.unit.diff import plain_pairs", False),
    ],
)
def test_what_is_an_import_of_a_test(line: str, is_taken: bool):
    """As seen from `unit/lake`: one's own folder and the shared ones may be imported."""
    assert (faults(line, "unit/lake") == []) is is_taken
