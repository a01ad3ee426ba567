"""Write the datasets down for people: `python -m pipelines.lake.document > docs/datasets.md`.

A test holds the file to the specifications.
"""

from __future__ import annotations

import sys

from pipelines.lake.catalog import describe
from pipelines.lake.views import list_macros


def render_markdown() -> str:
    """Every relation of the catalog with its grain and columns, and the macros, as Markdown."""
    parts = [
        "# Datasets and views",
        "",
        "What `refold sql` and `lake.duckdb` show, from the one specification in `pipelines/lake/datasets/`. Columns marked ● can",
        "hold text or values of a person. Written by `python -m pipelines.lake.document`.",
    ]
    for name, (grain, columns) in describe().items():
        parts += ["", f"## {name}", "", f"Grain: {grain}.", "", "| column | type | | meaning |", "|---|---|---|---|"]
        for column in columns:
            mark = "●" if column.is_personal else ""
            parts.append(f"| `{column.name}` | `{column.type}` | {mark} | {column.description} |")
    parts += ["", "## Macros", "", "Of `refold sql` and `lake.duckdb`; see [sql-cookbook.md](sql-cookbook.md).", ""]
    parts += ["| macro | gives |", "|---|---|"]
    parts += [
        f"| `{macro.signature}` | {macro.gives} |" for macro in sorted(list_macros(), key=lambda macro: macro.name)
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_markdown())
