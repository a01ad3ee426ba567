"""What `refold storage` prints: bytes by month."""

from __future__ import annotations

import click

from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table, tell
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
