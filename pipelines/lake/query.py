"""One query over the lake's views, printed or written in a format of the reader's choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import duckdb

from pipelines.console import render_table, to_plain
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.lake.locked import first_line
from pipelines.lake.table import quote_literal

_WITH_ROWS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.PRAGMA)
ROWS_SHOWN = 1_000
"""Rows that a table on the terminal shows; the other formats hold all."""


def run_query(
    lake: Lake,
    query: str,
    output_format: str,
    output: Path | None,
    stdout: TextIO,
) -> None:
    """Run a query and print its rows.

    Args:
        lake: The lake.
        query: One SQL statement.
        output_format: `table`; `json`, one object `{columns, rows}`; `csv`; or `parquet`, which needs `output`.
        output: File to write, or None for `stdout`.
        stdout: Where to print.

    Raises:
        BadInputError: The query fails, or Parquet has nowhere to go.
    """
    if output_format == "parquet" and output is None:
        raise BadInputError("--format parquet needs a file: -o FILE")
    with lake.connect(with_macros=True) as connection:
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type not in _WITH_ROWS:
                raise BadInputError(f"{query!r} gives no rows; write one SELECT")
            relation = connection.sql(query)
            if output_format in ("csv", "parquet"):
                target = "/dev/stdout" if output is None else str(output)
                options = "FORMAT csv, HEADER" if output_format == "csv" else "FORMAT parquet, COMPRESSION zstd"
                stdout.flush()
                relation.create_view("refold_query_result")
                connection.execute(f"COPY refold_query_result TO {quote_literal(target)} ({options})")
                return
            columns = relation.columns
            if output_format == "json":
                rows = [dict(zip(columns, map(to_plain, row), strict=True)) for row in relation.fetchall()]
                text = json.dumps({"columns": columns, "rows": rows}, ensure_ascii=False)
            else:
                shown = relation.limit(ROWS_SHOWN + 1).fetchall()
                text = render_table(columns, shown[:ROWS_SHOWN])
                if len(shown) > ROWS_SHOWN:
                    text += f"\n… only the first {ROWS_SHOWN:,} rows are shown; use LIMIT, or --format csv"
        except duckdb.OutOfMemoryException:
            raise  # not the query's fault: the caller says what to set
        except duckdb.Error as error:
            raise BadInputError(f"query failed: {first_line(error)}") from error
    if output is None:
        stdout.write(text + "\n")
    else:
        output.write_text(text + "\n", encoding="utf-8")
