"""What `refold storage` prints: bytes by month, and the ratio to a row store of the current state."""

from __future__ import annotations

import click

from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table, tell
from pipelines.settings import Settings


@click.command()
@json_option
def storage(as_json: bool) -> None:
    """Show what the log and the lake take, beside a row store that holds the current state alone.

    The row store is built in temporary tables of the store's own PostgreSQL from what is folded, measured, and rolled back.
    """
    from pipelines.export.storage import measure_storage
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.store import Store

    settings = Settings.from_env()
    tell_empty(settings, tell)
    with Store.open(settings) as store:
        found = measure_storage(store.conn, Lake.from_settings(settings))
    columns = ["month", "log", "its indexes", "lake events", "folds", "snapshots", "diffs", "replaced"]
    rows = [
        [
            month.month or "(none)",
            month.postgres_table_bytes,
            month.postgres_index_bytes,
            month.events_bytes,
            month.folds_bytes,
            month.snapshots_bytes,
            month.diffs_bytes,
            month.superseded_bytes,
        ]
        for month in found.months
    ]
    kept = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.crud_rows.items())
    sizes = [
        ("current state alone, as rows", found.crud_bytes, None),
        ("the log in PostgreSQL", found.postgres_bytes, found.postgres_ratio),
        (
            "log and lake, with replaced files",
            found.postgres_bytes + found.lake_bytes + found.superseded_bytes,
            found.before_ratio,
        ),
        ("log and lake, after compaction", found.postgres_bytes + found.lake_bytes, found.after_ratio),
    ]
    lines = [
        "bytes",
        render_table(columns, rows),
        "",
        render_table(["", "bytes", "ratio"], [[n, b, f"{r:.2f} ×" if r is not None else ""] for n, b, r in sizes]),
        "",
        f"The current state: {kept}; built in PostgreSQL with primary keys, measured and rolled back.",
    ]
    print_result(found, "\n".join(lines), as_json=as_json)
