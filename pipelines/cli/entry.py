"""The verbs put together, and the entry point.

Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 a check found a difference or a gate failed.
"""

from __future__ import annotations

import json
import signal
import sys
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.audit import seal, unseal, verify
from pipelines.cli.db import db
from pipelines.cli.diffs import diffs
from pipelines.cli.events import TimesFrom, TimesUntil, events, import_postgres
from pipelines.cli.help import GroupedVerbs, print_version
from pipelines.cli.replay import AllowFiles, allowing, replan, report, tools, write_starter
from pipelines.cli.storage import storage
from pipelines.console import Ticker, counted, end, print_result, render_table, safe_streams, size, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.interrupt import heard
from pipelines.privacy import private_files, withdraw_access
from pipelines.settings import Settings, is_debugging, read_shared

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Months = Annotated[list[str] | None, typer.Option("--month", help="UTC month, YYYY-MM; may be given more than once.")]

app = typer.Typer(
    cls=GroupedVerbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
importer = typer.Typer(no_args_is_help=True, help="Bring recorded history into the store.")
app.add_typer(db, name="db")
app.add_typer(diffs, name="diffs")
app.add_typer(importer, name="import")
app.add_typer(events, name="events")
app.add_typer(tools, name="tools")
importer.command("postgres")(import_postgres)
app.command()(replan)
app.command()(report)
app.command("storage")(storage)
app.command()(seal)
app.command()(unseal)
app.command()(verify)


class Format(StrEnum):
    """How `refold sql` prints."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


@app.callback()
def refold(
    context: typer.Context,
    _is_version_wanted: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and end.",
            is_eager=True,
            callback=lambda is_wanted: print_version(is_wanted=is_wanted),
        ),
    ] = False,
) -> None:
    """Event sourcing for AI agents: replay a conversation, re-plan a decision, audit a refund.

    REFOLD_HOME (default ./.refold) holds everything; REFOLD_DSN names a PostgreSQL of your own, REFOLD_LAKE another
    folder for the lake, REFOLD_MEMORY (default 1GB) bounds memory, REFOLD_GRACE (default 7 days) keeps replaced files.
    Only this account may read what is written; REFOLD_SHARED=group lets the folder's group read it. --debug, or
    REFOLD_DEBUG=1, shows the trace of an error.
    """
    if context.invoked_subcommand is not None and "--help" not in sys.argv:
        withdraw_access(Settings.from_env())


@app.command()
def demo(
    events: Annotated[int, typer.Option(min=1000, help="About how many events to simulate.")] = 20_000,
    as_json: Json = False,
) -> None:
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


@importer.command("chat")
def import_chat(
    files: Annotated[
        list[Path], typer.Argument(help="Chat-completions JSON lines; .gz and pipes too; - is standard input.")
    ],
    source: Annotated[str | None, typer.Option(help="Source of lines that name none.")] = None,
    at: Annotated[
        datetime | None, typer.Option(help="Time of conversations that have none, UTC (default: now).")
    ] = None,
    times_from: TimesFrom = None,
    times_until: TimesUntil = None,
    skip_bad: Annotated[
        Path | None, typer.Option(help="Write bad lines with reasons to this file, import the rest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import chat-completions conversations, exactly and repeatably."""
    from pipelines.home import changing_store
    from pipelines.ingest.chat import ImportProgress, import_chat
    from pipelines.ingest.clock import Days
    from pipelines.ingest.pipes import refuse_unreadable
    from pipelines.ingest.room import Room
    from pipelines.lake.memory import resident_bytes

    settings = Settings.from_env()
    ticker, bytes_read = Ticker("conversations"), Ticker("bytes")

    def progress(at_now: ImportProgress) -> None:
        (ticker if at_now.conversations else bytes_read)(at_now.conversations or at_now.bytes_read)

    refuse_unreadable(files)
    with changing_store(settings) as store:
        result = import_chat(
            store,
            files,
            at=at,
            source=source,
            days=Days.given(times_from, times_until, datetime.now(UTC)),
            skip_bad=skip_bad,
            spool=settings.home,
            room=Room(settings.memory_bytes, resident_bytes()),
            progress=progress,
        )
    lines = [
        f"{counted(result.conversations, 'conversation')}, {counted(result.events, 'event')} appended"
        + (f" in months {result.months[0]} to {result.months[-1]}" if result.months else ""),
        f"there already and unchanged: {counted(result.already_present, 'conversation')}"
        if result.already_present
        else "",
        f"{counted(result.skipped, 'bad line')} written to {skip_bad}" if result.skipped else "",
        *(f"{name} holds no line: nothing came from it" for name in result.empty),
    ]
    print_result(result, "\n".join(line for line in lines if line), as_json=as_json)


@app.command()
def export(months: Months = None, as_json: Json = False) -> None:
    """Bring months of the store into the lake."""
    from assets.verbs.months import export_months
    from pipelines.home import tell_empty

    settings = Settings.from_env()
    runs = export_months(settings, months, tell)
    if not runs:
        tell_empty(settings, tell)
    _print_months(runs, ["events"], "no months: the store holds no events yet", as_json=as_json)


@app.command()
def fold(
    names: Annotated[list[str] | None, typer.Argument(help="Projections; default: all, your own too.")] = None,
    months: Months = None,
    check: Annotated[
        Path | None, typer.Option(help="Try this SQL file on a sample of the lake; write nothing.", dir_okay=False)
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the tables of your own projections NAMES.")] = False,
    as_json: Json = False,
) -> None:
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
        raise typer.Exit(CheckFailedError.exit_code)


@app.command()
def ab(
    file: Annotated[Path | None, typer.Argument(help="The experiment, YAML.", dir_okay=False)] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Write an experiment to begin with, to FILE or to stdout; run nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked, sent and paid; do none of it.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Replay the units of a version that failed once more.")
    ] = False,
    allow_files: AllowFiles = None,
    as_json: Json = False,
) -> None:
    """Compare two sides: replay, diff, summarise."""
    if init:
        write_starter(file)
        return
    if file is None:
        raise BadInputError("name an experiment file, or write one to begin with: refold ab --init FILE")

    from pipelines.diff.check import read_checked

    settings = allowing(Settings.from_env(), allow_files)
    experiment = read_checked(file, settings, note=tell if dry_run else None)  # before anything heavy is imported

    from pipelines.home import tell_behind

    tell_behind(settings, tell)
    if dry_run:
        from pipelines.replay.estimate import estimate_experiment

        found = estimate_experiment(settings, experiment, file.resolve().parent, tell)
        estimates = [{**to_plain(estimate), "window": to_plain(plan.window)} for plan, estimate in found]
        page = "\n\n".join(estimate.describe() for _, estimate in found)
        if len(found) > 1:
            page += "\na decision that is in several windows is asked and paid once"
        print_result({**estimates[-1], "windows": estimates}, page, as_json=as_json)
        return
    from assets.verbs.compare import compare
    from pipelines.diff.gating import decide_version
    from pipelines.lake.lake import Lake
    from pipelines.review.answer import render_decision, render_windows
    from pipelines.review.files import report_path
    from pipelines.review.page import render_page

    lake = Lake.from_settings(settings)
    results = compare(settings, experiment, file.resolve().parent, tell, retry_failed=retry_failed)
    pages = []
    with lake.reading():
        decisions = [decide_version(lake, each.experiment, each.version_id, experiment.gate) for each in results]
        for result, decision in zip(results, decisions, strict=True):
            kept = "" if result.is_written else "\n\nThis version is complete already; nothing was written."
            report = f"report: {report_path(settings.home, result.experiment, result.version_id)}"
            pages.append(f"{render_page(lake, result)}{kept}\n\n{report}\n\n{render_decision(decision)}")
    if len(results) > 1:
        pages.append(render_windows(results, decisions))
    windows = [
        {
            **to_plain(result),
            **to_plain(found),
            "report": str(report_path(settings.home, result.experiment, result.version_id)),
        }
        for result, found in zip(results, decisions, strict=True)
    ]
    print_result({**windows[-1], "windows": windows}, "\n\n".join(pages), as_json=as_json)
    if not all(decision.gate is None or decision.gate.passed for decision in decisions):
        raise typer.Exit(CheckFailedError.exit_code)


@app.command()
def state(
    stream: Annotated[str, typer.Argument(help="Stream id, or source/conversation_id.")],
    version: Annotated[int | None, typer.Option(min=1, help="As of this stream version.")] = None,
    position: Annotated[int | None, typer.Option(min=1, help="As of this position of the store.")] = None,
    at: Annotated[datetime | None, typer.Option(help="As of this time, UTC.")] = None,
    as_json: Json = False,
) -> None:
    """Show one stream's state, now or as it was."""
    from pipelines.folds.state import state as fold_state
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    tell_empty(settings, tell)
    found = fold_state(Lake.from_settings(settings), stream, version=version, position=position, at=at)
    text = json.dumps(to_plain(found), ensure_ascii=False, indent=2)
    print_result(found, text, as_json=as_json)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="SQL; without it, from stdin.")] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    output: Annotated[
        Path | None, typer.Option("-o", help="Write to this file, which is replaced whole; - is standard output.")
    ] = None,
    csv_safe: Annotated[
        bool, typer.Option("--csv-safe", help="Write an apostrophe before texts that a spreadsheet takes for formulas.")
    ] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List views and columns with what they mean.")] = False,
    at: Annotated[
        datetime | None, typer.Option(help="conversations, calls and customers as of this time, UTC.")
    ] = None,
    position: Annotated[int | None, typer.Option(min=1, help="The same as of this position of the store.")] = None,
    as_json: Json = False,
) -> None:
    """Query the lake's views with DuckDB, now or as of a time."""
    from pipelines.home import tell_behind
    from pipelines.lake.catalog import describe
    from pipelines.lake.lake import Lake
    from pipelines.lake.query import run_query

    if tables:
        lake = Lake.from_settings(Settings.from_env())
        described = describe(lake)
        shown = {
            name: {
                "grain": grain,
                "columns": [{"name": c.name, "type": c.type, "description": c.description} for c in columns],
            }
            for name, (grain, columns) in described.items()
        }
        text = "\n\n".join(
            "\n".join([f"{name}: {grain}", *(f"  {c.name:<24}{c.description}" for c in columns)])
            for name, (grain, columns) in described.items()
        )
        print_result({"tables": shown}, text, as_json=as_json)
        return
    text_query = query if query is not None else sys.stdin.read()
    chosen = "json" if as_json else output_format.value
    settings = Settings.from_env()
    tell_behind(settings, tell)
    lake = Lake.from_settings(settings)
    connect = lake.connect
    if at is not None or position is not None:
        from pipelines.folds.as_of import connect_at, read_point

        connect = partial(connect_at, lake, read_point(at, position))
    with heard():
        run_query(lake, text_query, chosen, output, is_csv_safe=csv_safe, connect=connect)


@app.command()
def review(
    experiment: Annotated[str | None, typer.Argument(help="Experiment to open; default: the newest version.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; default: a free one.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Serve the page, open no browser.")] = False,
) -> None:
    """Open the review notebook in the browser."""
    from pipelines.home import tell_empty
    from pipelines.notebooks import serve_review

    settings = Settings.from_env()
    tell_empty(settings, tell)
    serve_review(settings, experiment, port, tell, is_headless=headless)


@app.command()
def vacuum(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    as_json: Json = False,
) -> None:
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
def ui(
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1; default: 3000, or a free one when that is taken.")
    ] = None,
) -> None:
    """Serve Dagster's web page for this home; the address printed holds the token that the page takes."""
    from assets.ui import serve

    serve(Settings.from_env(), port, tell)


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


def main() -> None:
    """Entry point: run a verb; turn whatever ends it into one sentence and an exit code."""
    # A stop by the system ends like any other: what is open is closed, the embedded server included.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with safe_streams():
        _run()


def _run() -> None:
    is_debug = is_debugging()
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        is_debug = True
    try:
        with private_files(is_shared=read_shared()):
            app()
    except BaseException as error:  # noqa: BLE001 - Rust's panics are no Exceptions
        raise SystemExit(end(error, is_debug=is_debug)) from None
