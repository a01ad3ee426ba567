"""`refold sql` at a real pseudo-terminal, and piped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.sql import FORMATS
from pipelines.lake import query
from tests.support.history import copy_lake
from tests.support.terminal import Terminal

PAGER = f"{sys.executable} -c \"import sys; print('paged', len(sys.stdin.readlines()))\""


@pytest.fixture(scope="module")
def home(tmp_path_factory, folded_history) -> Path:
    """A home with a little history."""
    folder = tmp_path_factory.mktemp("home")
    copy_lake(folded_history, folder / "lake")
    return folder


def test_a_session_at_a_terminal(home):
    """Tab completes; a long result is paged and a hostile one inert; Ctrl-C ends the query and not the shell; `\\q` ends it with 0."""
    with Terminal(["sql"], {"REFOLD_HOME": str(home), "PAGER": PAGER}) as terminal:
        terminal.wait_for("refold>")
        terminal.type("FROM tool_calls SELECT na\t")
        terminal.wait_for("column of tool_calls")
        terminal.type("\t AS tool;\r")
        assert "refund" in terminal.wait_for("refund")
        terminal.wait_for("refold>")
        terminal.type("SELECT chr(27) || '[2J' || chr(8238) AS hostile;\r")
        terminal.wait_for("\\x1b[2J\\u202e")
        terminal.type("FROM range(40);\r")
        terminal.wait_for("paged 41")
        terminal.type("SELECT 'begun' AS a; SELECT count(*) FROM range(1000000000000) t(n) WHERE hash(n) = 1;\r")
        terminal.wait_for("\r\nbegun\r\n")
        terminal.type("\x03")
        terminal.wait_for("refold: stopped")
        terminal.type("SELECT 40 + 2 AS still_there;\r")
        terminal.wait_for("         42")
        terminal.type("\\q\r")
        assert terminal.ended() == 0


@pytest.fixture
def piped(home, tmp_path):
    """`refold sql` with something on stdin: exit code, stdout, stderr."""

    def run(text: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "sql", *arguments],
            input=text,
            env={**os.environ, "REFOLD_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_what_is_piped_is_run(piped, tmp_path):
    """Several statements and commands in order, up to the first error, which is the exit code; one file is for one statement."""
    code, out, _ = piped("SELECT 1 AS a; -- ;\n\\x\nSELECT name FROM tool_calls;\n\\q\nSELECT 3;", "--json")
    assert (code, out.splitlines()) == (0, ['{"columns": ["a"], "rows": [{"a": 1}]}', "row 1", "name  refund"])
    code, out, err = piped("SELECT 1 AS a;\nSELECT nonsense;\nSELECT 3 AS c;\n", "--format", "csv")
    assert (code, out) == (2, "a\n1\n")
    assert '"nonsense" was not found' in err
    code, out, err = piped("SELECT 1;SELECT 2", "-o", str(tmp_path / "out"))
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert "several statements and one file" in err


def test_formats_are_those_of_the_library():
    """The verb lists them without loading DuckDB."""
    assert set(FORMATS) == set(query.FORMATS)
