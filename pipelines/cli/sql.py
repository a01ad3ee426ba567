"""Verb `refold sql`: one query, what is piped, or a shell."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.options import COUNT, PATH, TIME, json_option
from pipelines.console import print_result, tell
from pipelines.errors import BadInputError
from pipelines.interrupt import heard
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.lake.lake import Lake
    from pipelines.lake.query import Connect

FORMATS = ("table", "lines", "json", "csv", "parquet")
"""As `pipelines.lake.query` has them, which is imported where it is needed."""


@click.command()
@click.argument("query", required=False, help="SQL; without it, what is piped, or a shell at a terminal.")
@click.option(
    "--format", "output_format", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)
@click.option(
    "-o",
    "output",
    type=PATH,
    help="Write to this file, which is replaced whole; - is standard output.",
)
@click.option(
    "--csv-safe", is_flag=True, help="Write an apostrophe before texts that a spreadsheet takes for formulas."
)
@click.option("--tables", is_flag=True, help="List views, columns and macros with what they mean.")
@click.option("--at", type=TIME, help="conversations, calls and customers as of this time, UTC.")
@click.option("--position", type=COUNT, help="The same as of this position of the store.")
@json_option
def sql(
    query: str | None,
    output_format: str,
    output: Path | None,
    csv_safe: bool,
    tables: bool,
    at: datetime | None,
    position: int | None,
    as_json: bool,
) -> None:
    r"""Query the lake's views with DuckDB, now or as of a time; without a query, in a shell.

    In the shell Tab completes, a statement ends with ; and \? lists the commands. What is piped is run up to the first error.
    """
    from pipelines.home import tell_behind
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    if tables:
        _print_tables(lake, as_json=as_json)
        return
    chosen = "json" if as_json else output_format
    is_shell = query is None and sys.stdin.isatty()
    given = "" if is_shell else query if query is not None else sys.stdin.read()
    tell_behind(settings, tell)
    connect = None
    if at is not None or position is not None:
        from pipelines.folds.as_of import connect_at, read_point

        connect = partial(connect_at, lake, read_point(at, position))
    if is_shell:
        _open_shell(settings, lake, connect, chosen, output)
    elif query is None and _is_script(given):
        _run_script(lake, connect, given, chosen, output, is_csv_safe=csv_safe)
    else:
        from pipelines.lake.query import run_query

        _remark(given)
        with heard():
            run_query(lake, given, chosen, output, is_csv_safe=csv_safe, connect=connect)


def _open_shell(settings: Settings, lake: Lake, connect: Connect | None, chosen: str, output: Path | None) -> None:
    from pipelines.shell.asking import Asking
    from pipelines.shell.prompt import run_shell
    from pipelines.shell.shell import Shell

    if output is not None or chosen == "parquet":
        raise BadInputError(
            "-o and --format parquet are for one query; in the shell \\o FILE writes the next result to FILE"
        )
    with Asking(lake, connect) as asking:
        shell = Shell(asking, chosen, remark=_remark)
        run_shell(shell, settings.sql_history, greeting=f"{lake.root}; \\? lists the commands, \\q leaves")


def _is_script(text: str) -> bool:
    """Whether it is more than one statement, or has commands."""
    if ";" not in text and "\\" not in text:
        return False
    from itertools import islice

    from pipelines.shell.script import parts

    found = list(islice(parts(text), 2))
    return len(found) > 1 or any(part.is_command for part in found)


def _run_script(
    lake: Lake, connect: Connect | None, text: str, chosen: str, output: Path | None, *, is_csv_safe: bool
) -> None:
    """Do what is piped, in order, up to the first error."""
    from pipelines.shell.asking import Asking
    from pipelines.shell.shell import LeftError, Shell

    if output is not None or chosen == "parquet":
        raise BadInputError(
            "several statements and one file: leave out -o and --format parquet, and write \\o FILE before the statement"
        )
    with heard(), Asking(lake, connect) as asking:
        try:
            Shell(asking, chosen, is_interactive=False, is_csv_safe=is_csv_safe, remark=_remark).take(text)
        except LeftError:
            return


def _remark(query: str) -> None:
    for view in ("access", "reviews"):  # these wait for an export without making the lake old
        if re.search(rf"\b{view}\b", query, re.IGNORECASE):
            tell(f"refold: the view {view} holds what was recorded before the last `refold export`")


def _print_tables(lake: Lake, *, as_json: bool) -> None:
    from pipelines.lake.catalog import describe
    from pipelines.lake.views import list_macros

    described, macros = describe(lake), sorted(list_macros(), key=lambda macro: macro.name)
    shown = {
        name: {
            "grain": grain,
            "columns": [{"name": c.name, "type": c.type, "description": c.description} for c in columns],
        }
        for name, (grain, columns) in described.items()
    }
    told = [{"name": macro.name, "signature": macro.signature, "gives": macro.gives} for macro in macros]
    blocks = [
        "\n".join([f"{name}: {grain}", *(f"  {c.name:<24}{c.description}" for c in columns)])
        for name, (grain, columns) in described.items()
    ]
    blocks.append("\n".join(["macros", *(f"  {macro.signature:<28}{macro.gives}" for macro in macros)]))
    print_result({"tables": shown, "macros": told}, "\n\n".join(blocks), as_json=as_json)
