"""The quick tests, `pytest -m "not slow"`, reach every package."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.pace import LONGEST, SLOW_MODULES, is_slow

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def packages() -> set[str]:
    """Every package of ours: those of `pipelines`, and the two beside it."""
    return {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")} | {"assets", "refold"}


def reached(path: Path) -> set[str]:
    """Packages that a test module names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, *rest = name.split(".")
            found |= {rest[0]} if root == "pipelines" and rest else {root}
    return found


def has_quick_tests(path: Path) -> bool:
    """Whether a test module has a test that is not slow by its folder or its own measure."""
    name = path.relative_to(TESTS).as_posix()
    return not is_slow(name, [], is_marked_quick="mark.quick" in path.read_text(encoding="utf-8"))


def test_the_quick_tests_reach_every_package():
    """A package whose tests are all slow is one that nobody tries before a commit."""
    modules = sorted(TESTS.rglob("test_*.py"))
    quick = [path for path in modules if has_quick_tests(path)]
    assert 50 < len(quick) < len(modules)
    assert packages() - set().union(*map(reached, quick)) == set()


def test_what_is_named_slow_is_there():
    """A module that was renamed or went away is in no list any more."""
    assert [name for name in (*SLOW_MODULES, *LONGEST) if not (TESTS / name).is_file()] == []
