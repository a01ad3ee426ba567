"""The verbs put together, and the entry point.

Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 a check found a difference or a gate failed.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from pipelines import startup
from pipelines.cli.ab import ab
from pipelines.cli.audit import checkpoint, seal, unseal, verify
from pipelines.cli.bundle import audit
from pipelines.cli.chat import import_chat
from pipelines.cli.db import db
from pipelines.cli.diffs import diffs
from pipelines.cli.erase import erase, hold
from pipelines.cli.events import events, import_postgres
from pipelines.cli.find import find, show
from pipelines.cli.forms import VERBS, Importers, form_verb
from pipelines.cli.help import GroupedVerbs, print_version, teach
from pipelines.cli.lines import lines
from pipelines.cli.options import (
    COUNT,
    FILE,
    TIME,
    json_option,
    months_option,
)
from pipelines.cli.receive import receive
from pipelines.cli.redact import redact
from pipelines.cli.replay import replan, report, tools
from pipelines.cli.review import review
from pipelines.cli.sql import sql
from pipelines.cli.storage import doctor, storage
from pipelines.console import (
    end,
    print_long,
    print_result,
    render_table,
    safe_streams,
    size,
    tell,
)
from pipelines.errors import CheckFailedError
from pipelines.privacy import private_files, withdraw_access
from pipelines.settings import Settings, is_debugging, read_shared

_NAME = "refold"
_COMPLETE = "_REFOLD_COMPLETE"
"""What click's completion for shells asks by."""


@click.group(cls=GroupedVerbs)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version and end.",
)
@click.pass_context
def app(context: click.Context) -> None:
    """Event sourcing for AI agents: replay a conversation, re-plan a decision, audit a refund.

    REFOLD_HOME (default ./.refold) holds everything; REFOLD_DSN names a PostgreSQL of your own, REFOLD_LAKE another
    folder for the lake, REFOLD_MEMORY (default 1GB) bounds memory, REFOLD_GRACE (default 7 days) keeps replaced files.
    Only this account may read what is written; REFOLD_SHARED=group lets the folder's group read it. --debug, or
    REFOLD_DEBUG=1, shows the trace of an error.
    """
    if context.invoked_subcommand not in (None, "doctor") and "--help" not in sys.argv:
        withdraw_access(Settings.from_env())


importer = Importers("import", help="Bring recorded history into the store.")
importer.add_command(import_chat, "chat")
importer.add_command(import_postgres, "postgres")
for name, what in VERBS.items():
    importer.add_command(form_verb(name, what))
for verb in (
    ab,
    db,
    diffs,
    doctor,
    importer,
    receive,
    sql,
    lines,
    events,
    tools,
    replan,
    review,
    report,
    storage,
    find,
    show,
    audit,
    seal,
    unseal,
    verify,
    checkpoint,
    redact,
    erase,
    hold,
):
    app.add_command(verb)


@app.command()
@click.option(
    "--events",
    type=click.IntRange(min=1000),
    default=20_000,
    show_default=True,
    help="About how many events to simulate.",
)
@json_option
def demo(events: int, as_json: bool) -> None:
    """Run the whole pipeline on simulated input."""
    from assets.verbs.demo import demo as run_demo
    from pipelines.demo.page import DemoMonth, render_demo
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    result = run_demo(settings, events, tell)
    months = []
    for exported, folded in zip(result.exported, result.folded, strict=True):
        tables = exported.tables | folded.tables
        rows = {name: table["row_count"] for name, table in tables.items()}
        months.append(DemoMonth(exported.month, rows, any(table["is_written"] for table in tables.values())))
    page = render_demo(Lake.from_settings(settings), result.loaded, months, result.diff, result.seconds)
    print_result(result, page, as_json=as_json)


@app.command()
@months_option
@json_option
def export(months: tuple[str, ...], as_json: bool) -> None:
    """Bring months of the store into the lake."""
    from assets.verbs.months import export_months
    from pipelines.home import tell_empty

    settings = Settings.from_env()
    runs = export_months(settings, months, tell)
    if not runs:
        tell_empty(settings, tell)
    _print_months(runs, ["events"], "no months: the store holds no events yet", as_json=as_json)


@app.command()
@click.argument("names", nargs=-1, help="Projections; default: all, your own too.")
@months_option
@click.option(
    "--check",
    type=FILE,
    help="Try this SQL file on a sample of the lake; write nothing.",
)
@click.option("--drop", is_flag=True, help="Remove the tables of your own projections NAMES.")
@json_option
def fold(names: tuple[str, ...], months: tuple[str, ...], check: Path | None, drop: bool, as_json: bool) -> None:
    """Fold the exported months into tables: the shipped projections, and those that you wrote in SQL.

    A projection of your own is a file REFOLD_HOME/folds/NAME.sql.
    """
    from pipelines.home import tell_empty

    settings = Settings.from_env()
    tell_empty(settings, tell)
    if check is not None:
        from pipelines.cli.folds import check_file

        check_file(settings, check, names, months, as_json=as_json)
        return
    if drop:
        from pipelines.cli.folds import drop_tables

        drop_tables(settings, names, as_json=as_json)
        return
    from assets.verbs.months import fold_months

    runs = fold_months(settings, names, months, tell)
    tables = list(dict.fromkeys(name for run in runs for name in run.tables))
    _print_months(runs, tables, "no months: the lake holds no events yet; run `refold export`", as_json=as_json)
    failed = [each for run in runs for each in run.failed]
    for fault in dict.fromkeys(each.description for each in failed):
        named = ", ".join(dict.fromkeys(each.asset for each in failed if each.description == fault))
        tell(f"refold: {named}: {fault}")
    if failed:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


@app.command()
@click.argument("stream", help="Stream id, or source/conversation_id.")
@click.option("--version", type=COUNT, help="As of this stream version.")
@click.option("--position", type=COUNT, help="As of this position of the store.")
@click.option("--at", type=TIME, help="As of this time, UTC.")
@json_option
def state(stream: str, version: int | None, position: int | None, at: datetime | None, as_json: bool) -> None:
    """Show one stream's state, now or as it was."""
    from pipelines.folds.state import state as fold_state
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    tell_empty(settings, tell)
    found = fold_state(Lake.from_settings(settings), stream, version=version, position=position, at=at)
    print_long(found, as_json=as_json)


@app.command()
@click.option("--port", type=int, help="Port on 127.0.0.1; default: a free one.")
@click.option("--headless", is_flag=True, help="Serve the page, open no browser.")
def dashboard(port: int | None, headless: bool) -> None:
    """Open what agents did in the browser: volume, outcomes, tools, cost, latency, fidelity."""
    from pipelines.home import tell_empty
    from pipelines.notebooks import serve_notebook

    settings = Settings.from_env()
    tell_empty(settings, tell)
    serve_notebook(settings, "explore.py", port, tell, is_headless=headless)


@app.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@json_option
def vacuum(dry_run: bool, as_json: bool) -> None:
    """Remove files of the lake that nobody needs any more."""
    from pipelines.home import tell_empty
    from pipelines.lake.housekeeping import vacuum as remove_leftovers
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    result = remove_leftovers(lake, settings.catalog, grace_days=settings.grace_days, is_dry_run=dry_run)
    rows = [[swept.dataset or "(home)", swept.reason, swept.files, size(swept.size_bytes)] for swept in result.swept]
    lines = [
        f"{'would remove' if dry_run else 'removed'} {result.files:,} files, {size(result.size_bytes)}",
        *([render_table(["dataset", "why", "files", ""], rows)] if rows else []),
        f"kept for {settings.grace_days:g} days (REFOLD_GRACE): {result.kept_files:,} replaced files, {size(result.kept_bytes)}",
    ]
    print_result(result, "\n".join(lines), as_json=as_json)


@app.command()
@click.option("--port", type=int, help="Port on 127.0.0.1; default: 3000, or a free one when that is taken.")
def ui(port: int | None) -> None:
    """Serve Dagster's web page for this home; the address printed holds the token that the page takes."""
    from assets.ui import serve

    serve(Settings.from_env(), port, tell)


teach(app)


def _print_months(runs: list[Any], tables: list[str], none: str, *, as_json: bool) -> None:
    """Rows per month and table, or that there is none; what was there already is said."""
    rows = []
    for run in runs:
        written = [name for name in tables if run.tables.get(name, {}).get("is_written")]
        counts = [run.tables[name]["row_count"] if name in run.tables else None for name in tables]
        done = "written" if written else "up to date"
        rows.append([run.month, *counts, f"{done}, {len(run.failed)} failed" if run.failed else done])
    text = render_table(["month", *tables, ""], rows) if rows else none
    print_result({"months": runs}, text, as_json=as_json)


def run() -> NoReturn:
    """Entry point of a process: run a verb and leave at once."""
    startup.begin()
    try:
        main()
    except SystemExit as ended:
        startup.end(int(ended.code or 0))


def main() -> NoReturn:
    """Run a verb; turn whatever ends it into one sentence and an exit code."""
    # A stop by the system ends like any other: what is open is closed, the embedded server included.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with safe_streams():
        code = _run()
    sys.exit(code)


def _run() -> int:
    if how := os.environ.get(_COMPLETE):  # a shell asks what may follow; nothing of the home is read
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, _NAME, _COMPLETE, how)
    is_debug = is_debugging()
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        is_debug = True
    try:
        # Not `app()`, which has ways of its own to end.
        with private_files(is_shared=read_shared()), app.make_context(_NAME, sys.argv[1:]) as context:
            app.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BaseException as error:  # noqa: BLE001 - Rust's panics are no Exceptions
        return end(error, is_debug=is_debug)
    return 0
