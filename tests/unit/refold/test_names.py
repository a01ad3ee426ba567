"""The public package: which names it has, and what is loaded when."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import refold
from pipelines.errors import BadInputError
from pipelines.experiment.decision import Reply

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"adbc_driver_postgresql", "dagster", "deltalake", "duckdb", "numpy", "pandas", "polars", "pyarrow", "scipy"}


def loaded(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_else():
    """Neither the library, nor what it stands on."""
    assert loaded("import refold; dir(refold)") & (HEAVY | {"pipelines", "psycopg"}) == set()


@pytest.mark.parametrize("name", ["Recorder", "Talk", "RecorderFull", "Decision", "Reply", "ToolCall", "RefoldError"])
def test_an_agent_loads_no_more_than_it_uses(name: str):
    """What an agent's process imports is light: no engine, no lake, no Dagster."""
    assert loaded(f"from refold import {name}") & HEAVY == set()


def test_the_lake_needs_no_dagster():
    """Whoever reads the lake loads what reads it, and no orchestration."""
    assert "dagster" not in loaded("from refold import Lake")


def test_every_name_can_be_had_and_no_other():
    """`__all__` is what there is, for `dir`, for a star and for type checkers."""
    tree = ast.parse((ROOT / "refold" / "__init__.py").read_text(encoding="utf-8"))
    [types] = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name for node in types.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(refold.__all__)
    assert set(refold.__all__) <= set(dir(refold))
    for name in refold.__all__:
        assert getattr(refold, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Lakes'"):
        _ = refold.Lakes


def test_the_public_names_are_the_classes_that_the_library_uses():
    """One home for each: an error that the library raises is caught by its public name, a `Reply` is one to a replay."""
    assert refold.BadInputError is BadInputError
    assert refold.Reply is Reply
