"""Which tables a query names, and when nobody can say."""

from __future__ import annotations

import pytest

from pipelines.duck import named_tables, scratch

KNOWN = {"calls", "decisions", "events"}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT 1", set()),
        ("SELECT count(*) FROM Calls AS c WHERE EXISTS (FROM main.decisions)", {"calls", "decisions"}),
        ("WITH a AS (FROM events), calls AS (FROM calls) FROM a, calls", {"calls", "events"}),
        ("SELECT (SELECT max(x) FROM events)", {"events"}),
        ("FROM evnts", None),
        ("FROM information_schema.tables", None),
        ("FROM duckdb_views()", None),
        ("FROM query_table('calls')", None),
        ("FROM query('FROM calls')", None),
        ("FROM calls_as_of('2026-01-01')", None),
        ("SHOW TABLES", None),
        ("DESCRIBE calls", None),
        ("EXPLAIN FROM calls", None),
        ("PIVOT calls ON x", None),
        ("FROM calls; FROM events", None),
        ("SELEC 1", None),
        ("", None),
    ],
)
def test_named_tables(query, named):
    """The tables of one SELECT, whatever stands in it; None for all that may read another table than it names."""
    with scratch() as connection:
        assert named_tables(connection, query, KNOWN) == named
