"""The SQL that reads events into columns against plain Python."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings

from pipelines.folds.event_columns import columns_query
from pipelines.log.readable import create_readable
from pipelines.log.upcasters import load_upcasters
from tests.support.equality import comparable, connect, create_events
from tests.support.event_columns import SCHEMA, event_columns
from tests.support.log_strategies import logs, months_of


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(folded=months_of(logs(max_streams=10)))
def test_events_are_read_as_python_reads_them(folded: tuple[list[dict[str, Any]], str]) -> None:
    """Every column of every event, redacted and upcast; JSON texts may be spelled another way."""
    log, month = folded
    with connect() as connection:
        create_events(connection, log)
        create_readable(connection, "9999-12", load_upcasters())
        connection.execute(f"CREATE TEMP VIEW fold_source AS {load_upcasters().query('masked_events')}")
        query = columns_query(with_states=True, with_models=False)
        params = {"month": month, "low": "", "high": "~"}
        found = connection.sql(f"{query} ORDER BY ALL", params=params).to_arrow_table()
    expected = event_columns(log, month).sort_by([(name, "ascending") for name in ("aggregate_id", "stream_version")])
    assert found.schema.equals(SCHEMA)
    assert [_read(row) for row in found.to_pylist()] == [_read(row) for row in expected.to_pylist()]


def _read(row: dict[str, Any]) -> Any:
    """A row with JSON texts parsed, those of contents too."""
    content = row["content"]
    return comparable({**row, "content": None if content is None else json.loads(content)})
