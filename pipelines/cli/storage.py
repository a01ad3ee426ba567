"""Verbs that look at a home as a whole: bytes by month, and whether everything is well."""

from __future__ import annotations

import click

from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table, tell
from pipelines.errors import CheckFailedError
from pipelines.settings import Settings


@click.command()
@json_option
def storage(as_json: bool) -> None:
    """Show the bytes that the log and the lake take, month by month."""
    from pipelines.export.storage import measure_storage
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.store import Store

    settings = Settings.from_env()
    tell_empty(settings, tell)
    with Store.open(settings, must_exist=True) as store:
        found = measure_storage(store.conn, Lake.from_settings(settings))
    rows = [
        [each.month or "(none)", each.postgres_bytes, each.lake_bytes, each.superseded_bytes] for each in found.months
    ]
    rows.append(["all", found.postgres_bytes, found.lake_bytes, found.superseded_bytes])
    columns = ["bytes of", "log in PostgreSQL", "lake", "replaced, until vacuum"]
    print_result(found, render_table(columns, rows), as_json=as_json)


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look at store, lake, disk, keys, files, packages and clocks; say what is wrong and what to do.

    Changes nothing; an embedded server is started for it where it is not up. Ends with exit code 3 where something failed; what is
    only worth a warning ends with 0.
    """
    from pipelines.doctor.examine import examine

    diagnosis = examine(Settings.from_env())
    rows = [[each.state, each.check, each.seen] for each in diagnosis.findings]
    todo = [f"{each.check}: {each.todo}" for each in diagnosis.findings if each.todo is not None]
    text = render_table(["", "what", f"home {diagnosis.home}"], rows)
    if todo:
        text = "\n".join([text, "", "what to do", *todo])
    print_result(diagnosis, text, as_json=as_json)
    if diagnosis.state == "fail":
        raise click.exceptions.Exit(CheckFailedError.exit_code)
