"""Options and arguments that several verbs take, and how their values are read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

FILE = click.Path(dir_okay=False, path_type=Path)
"""A file, there or not."""
FILE_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)
"""Whatever it names: a file, a pipe, `-`."""
COUNT = click.IntRange(min=1)
_DAY = click.DateTime(["%Y-%m-%d"])


class _Time(click.ParamType[datetime]):
    """A time as ISO 8601 writes it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            self.fail(f"{value!r} is no time ({error}); write 2026-05-01 or 2026-05-01T12:30:00", param, ctx)


TIME = _Time()

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
months_option = click.option(
    "--month", "months", multiple=True, help="UTC month, YYYY-MM; may be given more than once."
)
month_argument = click.argument("month", help="UTC month, YYYY-MM.")
allow_files_option = click.option(
    "--allow-files",
    type=FOLDER,
    multiple=True,
    metavar="DIR",
    help="A folder in which files that the experiment names may be, beside its own; may be given more than once.",
)
times_from_option = click.option(
    "--times-from",
    type=_DAY,
    metavar="DATE",
    help="Believe recorded times from this day on, UTC (default: 2000-01-01).",
)
times_until_option = click.option(
    "--times-until",
    type=_DAY,
    metavar="DATE",
    help="Believe recorded times until this day, UTC (default: a year from now).",
)
