"""What `refold fold --check` and `--drop` print: a person's own projection before it is folded, and when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.console import print_result, render_table
from pipelines.errors import BadInputError
from pipelines.settings import Settings


def check_file(
    settings: Settings, path: Path, names: Sequence[str] | None, months: Sequence[str] | None, *, as_json: bool
) -> None:
    """Say what a file would make of a sample of one month."""
    from pipelines.lake.lake import Lake
    from pipelines.projections.fold import check_projection

    if names or (months and len(months) > 1):
        raise BadInputError("--check tries one file on one month: refold fold --check FILE [--month M]")
    found = check_projection(Lake.from_settings(settings), path, months[0] if months else None)
    tried = (
        f"{found.rows:,} rows of {found.streams:,} of {found.streams_of_month:,} streams of {found.month}, "
        f"{found.seconds:.3f} s"
        if found.month
        else "not run: nothing that it reads is in the lake yet"
    )
    columns = [[c.name, c.type, "key" if c.name in found.key else "", c.description] for c in found.columns]
    lines = [
        f"{found.name}: {found.grain}; reads {', '.join(found.reads) or 'nothing'}",
        tried,
        render_table(["column", "type", "", "meaning"], columns),
    ]
    print_result(found, "\n".join(lines), as_json=as_json)


def drop_tables(settings: Settings, names: Sequence[str] | None, *, as_json: bool) -> None:
    """Remove the tables of projections whose files are gone."""
    from pipelines.lake.catalog import publish_catalog
    from pipelines.lake.lake import Lake
    from pipelines.projections.fold import drop_projections

    lake = Lake.from_settings(settings)
    dropped = drop_projections(lake, settings.home, names or ())
    publish_catalog(lake, settings.catalog)
    print_result({"dropped": dropped}, f"dropped {', '.join(dropped)}", as_json=as_json)
