"""Whatever a library raises ends a verb with one sentence and the right exit code, never with a trace."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys

import adbc_driver_manager
import click
import duckdb
import psycopg
import pyarrow as pa
import pytest
import sqlalchemy.exc
from dagster._core.errors import DagsterExecutionStepExecutionError  # noqa: TID251 - what it wraps is what is tested
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

import assets.ui
from pipelines import cli, foreign
from pipelines.cli.forms import VERBS as IMPORTS
from pipelines.console import printable
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.store import EmbeddedServer, Store
from tests.support.verbs import run_verb

FILE, BODY = "FILE", "BODY"
PAGES = ("review", "dashboard", "ui", "receive", "db psql")
"""Verbs that print no object."""
VERBS = {
    "replan": ("stream", "--decision", "1", "--candidate", FILE),
    "report": ("e",),
    "storage": (),
    "seal": ("2026-01",),
    "unseal": ("2026-01", "--reason", "r"),
    "verify": (),
    "checkpoint": (),
    "redact": (),
    "erase": (),
    "hold": (),
    "lines": ("-o", "lines-out.jsonl"),
    "demo": (),
    "export": (),
    "fold": (),
    "ab": (FILE,),
    "find": ("text",),
    "show": ("s/c",),
    "audit": ("s/c", "--reason", "r"),
    "state": ("s/c",),
    "sql": ("SELECT 1",),
    "review": (),
    "vacuum": (),
    "doctor": (),
    "dashboard": (),
    "ui": (),
    "receive": ("--port", "0"),
    "db start": (),
    "db stop": (),
    "db status": (),
    "db migrate": (),
    "db months": (),
    "db new-epoch": (),
    "db psql": (),
    "diffs show": (),
    "diffs prune": ("e",),
    "import postgres": ("--dsn", "postgresql://", "--table", "t"),
    "import chat": (FILE,),
    "events list": (),
    "events show": ("user.utterance.v1",),
    "events register": (FILE,),
    "events upcast": ("--check",),
    "tools suggest": (),
    **{f"import {name}": (FILE,) for name in IMPORTS if name != "auto"},
    "import auto": (BODY,),
}
TRACE = "\n   0: <unknown>\n   1: <unknown>\n"
ERRORS = [
    (duckdb.InternalException(f"INTERNAL Error: x{TRACE}"), "DuckDB failed"),
    (duckdb.IOException("IO Error: No files found that match the pattern '/l/part-0.parquet'"), "refold verify"),
    (duckdb.InvalidInputException("No magic bytes found at end of file '/l/part-0.parquet'"), "refold verify"),
    (duckdb.OutOfMemoryException("failed to pin block"), "REFOLD_MEMORY"),
    (duckdb.Error("\x1b[31mred\x07"), "DuckDB failed"),
    (DeltaError(f"Kernel error: Json error{TRACE}"), "the Delta table failed"),
    (TableNotFoundError("no log segment"), "refold verify"),
    (CommitFailedError("Read-only file system (os error 30)"), "may not be written"),
    (pa.ArrowInvalid("Parquet file size is 3 bytes"), "refold verify"),
    (pa.ArrowMemoryError("malloc of size 9 failed"), "REFOLD_MEMORY"),
    (psycopg.OperationalError("server closed the connection\nunexpectedly"), "refold db status"),
    (
        adbc_driver_manager.OperationalError("gone", status_code=adbc_driver_manager.AdbcStatusCode.IO),
        "refold db status",
    ),
    (sqlite3.DatabaseError("file is not a database"), "dagster/"),
    (
        sqlalchemy.exc.DatabaseError("SELECT secret", {}, sqlite3.DatabaseError("database disk image is malformed")),
        "dagster/",
    ),
    (OSError(errno.EROFS, "Read-only file system", "/l/x"), "REFOLD_LAKE"),
    (PermissionError(errno.EACCES, "Permission denied", "/l/x"), "REFOLD_LAKE"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space is left"),
    (OSError(errno.EIO, "Input/output error"), "the system failed"),
    (MemoryError(), "REFOLD_MEMORY"),
    (KeyError("x"), "not foreseen"),
    (RecursionError("maximum recursion depth exceeded"), "not foreseen"),
    (BaseException("a panic in Rust"), "not foreseen"),
]


def paths(command: click.Command, before: str = "") -> list[str]:
    """Every verb by its words."""
    if isinstance(command, click.Group):
        return [path for name, each in command.commands.items() for path in paths(each, f"{before}{name} ")]
    return [before.strip()]


@pytest.fixture
def run(settings, monkeypatch, capsys, tmp_path):
    """Run a verb in this process, whose store, lake, server and pages raise an exception; (exit code, stdout, stderr)."""
    monkeypatch.setenv("REFOLD_HOME", str(settings.home))
    for name in ("REFOLD_DSN", "REFOLD_LAKE", "REFOLD_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "file"
    file.write_text("{model: m, base_url: http://127.0.0.1:1/v1}\n", encoding="utf-8")
    body = tmp_path / "body"
    body.write_text('{"resourceSpans": []}\n', encoding="utf-8")
    files = {FILE: file, BODY: body}

    def run(error: BaseException, *arguments: str):
        def fail(*_arguments, **_options):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Lake, "__init__", fail)
            patch.setattr(Store, "open", fail)
            patch.setattr(EmbeddedServer, "__init__", fail)
            patch.setattr(assets.ui, "serve", fail)
            patch.setattr("pipelines.diff.check.read_checked", fail)
            patch.setattr("pipelines.replay.replan.replan", fail)
            patch.setattr("pipelines.desks.serve.serve_review", fail)
            patch.setattr("pipelines.notebooks.serve_notebook", fail)
            patch.setattr("pipelines.receive.server.serve", fail)
            code = run_verb(patch, *(str(files.get(each, each)) for each in arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_every_verb_is_tried():
    """A verb that is added is tried, too."""
    assert set(VERBS) == set(paths(cli.app))


def test_the_doctor_takes_it_for_a_finding(run):
    """Whatever a library raises there, a panic in Rust too, is what the verb is for; an interrupt still ends it."""
    for error in (duckdb.InternalException("broken"), BaseException("a panic in Rust")):
        code, out, err = run(error, "doctor", "--json")
        assert (code, err, json.loads(out)["state"]) == (3, "", "fail")
    assert run(KeyboardInterrupt(), "doctor")[0] == 130


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "doctor"])
def test_a_verb_ends_with_one_sentence(verb, run):
    """A library's error inside any verb: one line on stderr, exit code 1; with `--json` one object on stdout."""
    error = duckdb.InternalException(f"INTERNAL Error: broken{TRACE}")
    code, out, err = run(error, *verb.split(), *VERBS[verb], *([] if verb in PAGES else ["--json"]))
    assert (code, err.count("Traceback"), err.count("<unknown>")) == (1, 0, 0), err
    assert (
        err.splitlines()[-1]
        == "refold: DuckDB failed (InternalException: INTERNAL Error: broken); run the command again, with --debug for the trace"
    )
    if verb not in PAGES:
        assert json.loads(out) == {
            "error": "InternalException",
            "message": err.splitlines()[-1].removeprefix("refold: "),
        }


@pytest.mark.parametrize(
    ("error", "says"), ERRORS, ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else ""
)
def test_what_each_exception_means(error, says, run):
    """The sentence says what failed, why and what to do; no trace, statement or control character is in it."""
    code, out, err = run(error, "sql", "SELECT 1", "--json")
    line = err.splitlines()[-1]
    assert (code, line.startswith("refold: ")) == (1, True)
    assert says in line
    assert line.isprintable()
    assert "secret" not in line
    assert printable(json.loads(out)["message"]) == line.removeprefix("refold: ")


def test_dagster_is_unwrapped(run):
    """A step's error is what was raised in it: a sentence of our own keeps its exit code, a library's is put into words."""
    for inner, code, says in (
        (BadInputError("this is wrong"), 2, "refold: this is wrong"),
        (DeltaError("x"), 1, "the Delta table failed"),
    ):
        wrapped = DagsterExecutionStepExecutionError(
            "Error occurred",
            user_exception=inner,
            original_exc_info=(type(inner), inner, None),
            step_key="events",
            op_name="events",
            op_def_name="events",
        )
        wrapped.__cause__ = inner
        found, _, err = run(wrapped, "sql", "SELECT 1")
        assert (found, says in err) == (code, True)


@pytest.mark.parametrize("is_option", [True, False])
def test_the_trace_is_there_when_asked_for(is_option, run, monkeypatch):
    """`--debug`, anywhere, and REFOLD_DEBUG show it; the sentence is still the last line."""
    if not is_option:
        monkeypatch.setenv("REFOLD_DEBUG", "1")
    code, _, err = run(KeyError("x"), "sql", "SELECT 1", *(["--debug"] if is_option else []))
    assert (code, "Traceback" in err) == (1, True)
    assert err.splitlines()[-1].startswith("refold: something that was not foreseen (KeyError: 'x')")


def test_an_interrupt_is_130(run):
    """Ctrl-C inside a verb."""
    code, out, err = run(KeyboardInterrupt(), "sql", "SELECT 1", "--json")
    assert (code, err.splitlines()[-1]) == (130, "refold: stopped")
    assert json.loads(out) == {"error": "KeyboardInterrupt", "message": "stopped"}


def test_a_reader_that_has_seen_enough(settings):
    """`refold --help | head -1` ends quietly."""
    env = {**os.environ, "REFOLD_HOME": str(settings.home)}
    command = f"{sys.executable} -m pipelines.cli sql 'SELECT repeat(i::VARCHAR, 100) FROM range(20000) r(i)' --format json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=env, check=False)
    assert len(done.stdout) == 10
    assert done.stderr.count("\n") == 1  # the home is empty, and that alone is said
    assert "holds no events yet" in done.stderr


def test_the_innermost_is_found_without_end():
    """A chain that leads back to itself ends."""
    one, two = sqlalchemy.exc.SQLAlchemyError("a"), sqlalchemy.exc.SQLAlchemyError("b")
    one.__cause__, two.__cause__ = two, one
    assert foreign.find_cause(one) is two
