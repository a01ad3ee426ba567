"""The shell without a terminal: keys from a pipe, what it prints, what it keeps, what it offers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.shell.asking import Asking
from pipelines.shell.completion import Words
from pipelines.shell.prompt import run_shell
from pipelines.shell.shell import COMMANDS, LeftError, Shell
from tests.support.history import copy_lake

HISTORY = "sql_history"
COLUMNS = "- {name: refund_usd, tool: refund, path: usd, type: DOUBLE}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory, folded_history) -> Path:
    """A home with a little history, and a column of its own."""
    folder = tmp_path_factory.mktemp("home")
    copy_lake(folded_history, folder / "lake")
    (folder / "columns.yaml").write_text(COLUMNS)
    return folder


@pytest.fixture(scope="module")
def asking(home):
    """A connection that the tests of this module share."""
    with Asking(Lake(home / "lake", home=home)) as opened:
        yield opened


@pytest.fixture
def shell(asking, capsys):
    """A shell; what it prints is `printed`."""
    return Shell(asking)


@pytest.fixture
def printed(shell, capsys):
    """Do what a text says; what is printed on stdout and stderr."""

    def take(text: str) -> tuple[str, str]:
        shell.take(text)
        out = capsys.readouterr()
        return out.out, out.err

    return take


def typed(shell: Shell, home: Path, keys: str) -> None:
    """Type keys until the shell is left."""
    with create_pipe_input() as terminal:
        terminal.send_text(keys)
        terminal.close()  # nothing more comes: no test waits for a key
        run_shell(shell, home / HISTORY, terminal=terminal, output=DummyOutput())


def test_lines_go_on_until_they_are_ended_and_are_kept_for_this_account(shell, home, capsys):
    """Two lines are one statement; an error, an unknown command and Ctrl-C keep the shell; what was asked is private, and comes back."""
    os.umask(before := os.umask(0o000))
    try:
        typed(shell, home, "SELECT\r41 + 1 AS n;\rSELECT nonsense;\r\\nothing\rSELECT 5\x03.tables\r\r\\q\r")
    finally:
        os.umask(before)
    told = capsys.readouterr()
    assert told.out.split() == ["n", "42"]
    assert '"nonsense" was not found' in told.err
    assert "'\\\\nothing' is no command" in told.err
    assert "'.tables' is no command; they begin with a backslash" in told.err
    assert stat.S_IMODE((home / HISTORY).stat().st_mode) == 0o600
    typed(shell, home, "\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r\x04")  # up to the first, send it; Ctrl-D leaves
    assert capsys.readouterr().out.split()[:2] == ["n", "42"]


def test_a_history_of_somebody_else_is_left_alone(shell, tmp_path, capsys):
    """A link is not followed, and a home that is not there is not made."""
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / HISTORY).symlink_to(tmp_path / "elsewhere")
    typed(shell, tmp_path, "\\q\r")
    typed(shell, tmp_path / "none", "quit\r")
    assert "what you ask is not kept" in capsys.readouterr().err
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "none").exists()


def offered(asking: Asking, before: str, after: str = "", *, is_asked: bool = True) -> list[str]:
    return [word.text for word in Words(asking).after(before, before + after, is_asked=is_asked)]


def test_what_is_offered_and_in_what_order(asking):
    """Columns of what the statement names come first, also by what it calls it; after FROM only relations; inside of texts nothing."""
    assert offered(asking, "SELECT na", " FROM tool_calls")[0] == "name"
    assert offered(asking, "SELECT c.", " FROM decisions AS c")[:3] == ["month", "aggregate_id", "aggregate_type"]
    assert offered(asking, "SELECT t.refund", " FROM tool_calls t") == ["refund_usd"]
    assert offered(asking, "SELECT x.", " FROM tool_calls t") == []
    assert set(offered(asking, "FROM conv")) == {"conversations", "conversation_months"}
    assert offered(asking, "SELECT called", "")[0] == "called("
    assert {"arg_max(", "arg("} <= set(offered(asking, "SELECT arg"))
    assert "select" in offered(asking, "sel")
    assert "SELECT" in offered(asking, "SEL")
    for quiet in ("SELECT 'na", "-- na", 'SELECT "na'):
        assert offered(asking, quiet, " FROM tool_calls") == []
    assert offered(asking, "SELECT ", " FROM tool_calls", is_asked=False) == []
    assert offered(asking, "SELECT ", " FROM tool_calls")[0] == "month"
    assert offered(asking, "\\") == [usage.split(" ")[0] for usage in COMMANDS]
    assert offered(asking, "\\d tool_calls_") == ["tool_calls_history"]


def test_commands(shell, printed, tmp_path):
    """What there is, what a column means, files by their ending, a line for each value, times; each says what was wrong with it."""
    out, _ = printed("\\d")
    assert "one tool call with its result" in out
    assert "arg(calls, tool, path)" in out
    assert "argument usd of refund" in printed("\\d tool_calls")[0]
    assert "the first call of a tool" in printed("\\d arg")[0]
    assert "there is no 'nothing'; \\d lists" in printed("\\d nothing")[1]
    assert "takes nothing, and 'more' was given" in printed("\\x more")[1]
    assert all(usage in printed("\\?")[0] for usage in COMMANDS)
    printed(f"\\o {tmp_path / 'n.csv'}\nSELECT 1 AS a; SELECT 2 AS b;")
    assert (tmp_path / "n.csv").read_text() == "a\n1\n"
    printed("\\x")
    assert printed("SELECT 7 AS a, 'x' AS b;")[0].split() == ["row", "1", "a", "7", "b", "x"]
    printed("\\x")
    printed("\\timing")
    assert printed("SELECT 1;")[1].endswith(" ms\n")
    printed("\\timing")
    with pytest.raises(LeftError):
        shell.take("\\q")


def test_results_can_be_kept_by_a_name_and_nothing_else_changed(shell, printed, tmp_path):
    """A table, a macro and a variable live as long as the connection; what would change files or settings is refused."""
    printed("CREATE TEMP TABLE kept AS SELECT 1 AS one; CREATE MACRO twice(n) AS 2 * n; SET VARIABLE v = 3;")
    assert printed("SELECT twice(one) + getvariable('v') AS n FROM kept;")[0].split() == ["n", "5"]
    assert "kept" in printed("\\d")[0]
    assert printed("\\d kept")[0].split() == ["column", "type", "one", "INTEGER"]
    for refused in (
        f"COPY kept TO '{tmp_path / 'x'}'",
        "SET memory_limit = '1GB'",
        "CREATE SECRET s (TYPE s3)",
        "INSTALL httpfs",
        f"ATTACH '{tmp_path / 'x'}' AS x",
        "INSERT INTO kept VALUES (2)",
    ):
        assert "gives no rows" in printed(f"{refused};")[1], refused
    assert list(tmp_path.iterdir()) == []


def test_a_statement_is_edited(shell, printed, tmp_path, monkeypatch):
    """EDITOR gets the last statement in a private file, and what it leaves comes back to be sent; one that fails is told."""
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\nstat -c %a "$1" > {tmp_path}/mode\nsed -i s/1/8/ "$1"\n')
    editor.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))
    printed("SELECT 1 AS a;\n\\e")
    assert shell.edited == "SELECT 8 AS a;"
    monkeypatch.setenv("EDITOR", str(tmp_path / "none"))
    assert "EDITOR is" in printed("\\e")[1]


def test_a_script_ends_at_its_first_error(asking, capsys):
    """Nobody is there to go on: what comes after it is not run."""
    script = Shell(asking, "csv", is_interactive=False)
    with pytest.raises(BadInputError, match="nonsense"):
        script.take("SELECT 1 AS a;\nSELECT nonsense;\nSELECT 3;")
    assert capsys.readouterr().out == "a\n1\n"


def test_the_lake_is_followed(tmp_path, folded_history, capsys):
    """What is written meanwhile is seen by the next question, columns of one's own too; a file that is wrong is told and keeps the shell."""
    lake = copy_lake(folded_history, tmp_path / "lake")
    with Asking(Lake(lake.root, home=tmp_path)) as opened:
        shell = Shell(opened)
        shell.take("SELECT count(*) AS n FROM tool_calls;")
        assert capsys.readouterr().out.split() == ["n", "1"]
        (tmp_path / "columns.yaml").write_text(COLUMNS)
        shell.take("SELECT refund_usd AS n FROM tool_calls;")
        assert capsys.readouterr().out.split() == ["n", "5.0"]
        (tmp_path / "columns.yaml").write_text(COLUMNS.replace("DOUBLE", "MONEY"))
        shell.take("SELECT refund_usd AS n FROM tool_calls;")
        assert "'MONEY' is no type that a column may have" in capsys.readouterr().err
        (tmp_path / "columns.yaml").unlink()
        shell.take("SELECT 6 AS n;")
        assert capsys.readouterr().out.split() == ["n", "6"]
