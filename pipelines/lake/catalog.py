"""Publish the views as `lake.duckdb`, a file that any DuckDB client can open read-only.

The file holds views only, no data. It is written to a temporary file and renamed, so a reader that has it open keeps
the version it opened. DuckDB 1.x can open it (`STORAGE_VERSION 'v1.0.0'`).
"""

from __future__ import annotations

import uuid
from pathlib import Path

import duckdb

from pipelines.lake.dataset import Column
from pipelines.lake.datasets import DATASETS
from pipelines.lake.lake import Lake
from pipelines.lake.table import quote_identifier, quote_literal
from pipelines.lake.views import list_views


def describe() -> dict[str, tuple[str, tuple[Column, ...]]]:
    """Every relation of the catalog: name → (what one row is, columns)."""
    described = {d.relation: (d.grain, d.columns) for d in DATASETS.values()}
    described |= {view.name: (view.grain, view.dataset.columns) for view in list_views()}
    return dict(sorted(described.items()))


def publish_catalog(lake: Lake, path: Path) -> None:
    """Write the catalog of `lake` to `path`, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"ATTACH {quote_literal(str(temporary))} AS out (STORAGE_VERSION 'v1.0.0')")
            connection.execute("USE out.main")
            connection.execute("BEGIN")  # one write instead of one per comment
            lake.create_views(connection)
            for name, (grain, columns) in describe().items():
                connection.execute(f"COMMENT ON VIEW {quote_identifier(name)} IS {quote_literal(grain)}")
                for column in columns:
                    target = f"{quote_identifier(name)}.{quote_identifier(column.name)}"
                    connection.execute(f"COMMENT ON COLUMN {target} IS {quote_literal(column.description)}")
            connection.execute("COMMIT")
            connection.execute("USE memory.main")
            connection.execute("DETACH out")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
