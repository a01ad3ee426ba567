"""What every projection keeps: its dataset's columns, and rows that depend on nothing but the events."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from pipelines.errors import BadInputError
from pipelines.folds.shipped import FOLDS, projection_query
from pipelines.folds.steps import prepare_month
from pipelines.lake.datasets import DATASETS, EVENTS
from tests.oracles import left_fold
from tests.support.equality import connect, create_events, fold_with_sql, rows_of
from tests.support.log_strategies import logs


@pytest.mark.parametrize("name", FOLDS)
def test_a_projection_yields_the_columns_of_its_dataset(name: str) -> None:
    """Names, order and types of the columns are those of the dataset, the partition column left out."""
    dataset = DATASETS[name]
    with connect() as connection:
        connection.execute(f"CREATE TABLE events AS {EVENTS.typed_empty()}")
        prepare_month(connection, "2026-01", [name])
        found = connection.sql(projection_query(name))
        expected = connection.sql(f"SELECT * EXCLUDE (month) FROM ({dataset.typed_empty()})")
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == dict(
            zip(expected.columns, map(str, expected.types), strict=True)
        )
        assert list(found.columns) == [column.name for column in dataset.data_columns]


@pytest.mark.parametrize("name", FOLDS)
def test_a_header_names_the_key_of_the_dataset(name: str) -> None:
    """The file's header and the specification name one key."""
    keys = [key for key in DATASETS[name].key if key != "month"]
    assert f"-- key: {', '.join(keys)}\n" in projection_query(name)


@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(log=logs(max_streams=12, max_events=20))
def test_rows_do_not_depend_on_layout(tmp_path_factory: pytest.TempPathFactory, log: list[dict[str, Any]]) -> None:
    """Order of rows, size of row groups, number of files and of threads change nothing."""
    folder = tmp_path_factory.mktemp("events")
    shuffled = random.Random(7).sample(log, len(log))
    with connect() as connection:
        create_events(connection, log)
        _, expected = fold_with_sql(connection, "2026-02")
    with connect() as connection:
        connection.execute("SET threads = 1")
        create_events(connection, shuffled)
        connection.execute(
            f"COPY (FROM events) TO '{folder}' "
            "(FORMAT parquet, PARTITION_BY (month), ROW_GROUP_SIZE 2048, WRITE_PARTITION_COLUMNS true)"
        )
        _, found = fold_with_sql(connection, "2026-02")
        assert found == expected
        if log:
            connection.execute("DROP TABLE events")
            connection.execute("SET threads = 3")
            connection.execute(
                f"CREATE VIEW events AS FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = false)"
            )
            _, found = fold_with_sql(connection, "2026-02")
            assert found == expected


def test_the_call_fold_of_the_article_is_one_select() -> None:
    """`fold_call` of the article (transcript, tool calls, redactions) can be read from the state with one SELECT."""
    said = {"aggregate_id": "00000000-0000-0000-0000-000000000001", "aggregate_type": "call", "month": "2026-01"}
    log = []
    payloads = [
        ("user.utterance.v1", {"text": "Hello"}),
        ("agent.utterance.v1", {"text": "How can I help?"}),
        ("tool.call.v1", {"call_id": "c", "name": "find", "arguments": {"id": 1}}),
        ("redaction.applied.v1", {"target": {"stream_version": 9}, "path": "/text", "method": "mask", "reason": "x"}),
    ]
    for version, (event_type, payload) in enumerate(payloads, start=1):
        log.append(
            said
            | {"stream_version": version, "event_type": event_type, "event_version": 1, "payload": payload}
            | {"metadata": {}, "created_at": _at(version), "epoch": 1, "xid": 1, "position": version, "hash": b""}
        )
    with connect() as connection:
        create_events(connection, log)
        prepare_month(connection, "2026-01", ["call_months"])
        row = rows_of(
            connection,
            f"""
            SELECT
                [{{'role': t.role, 'text': t.text}} FOR t IN transcript] AS transcript,
                [{{'call_id': c.call_id, 'name': c.name, 'arguments': c.arguments}} FOR c IN tool_calls] AS tool_calls,
                [{{'target': {{'stream_version': r.target_version}}, 'path': r.path, 'method': r.method,
                   'reason': r.reason}} FOR r IN redactions] AS redactions
            FROM ({projection_query("call_months")})
            """,
        )[0]
    expected = left_fold.fold_call(log)
    assert row["transcript"] == expected["transcript"]
    assert [{**call, "arguments": json.loads(call["arguments"])} for call in row["tool_calls"]] == expected[
        "tool_calls"
    ]
    assert row["redactions"] == expected["redactions"]


def test_unknown_names_and_months_are_refused() -> None:
    """A projection that does not exist and a month that is not one are the caller's errors."""
    with connect() as connection:
        with pytest.raises(BadInputError, match="no fold named 'weather'"):
            prepare_month(connection, "2026-01", ["weather"])
        with pytest.raises(BadInputError, match="2026-13"):
            prepare_month(connection, "2026-13")


def _at(second: int) -> datetime:
    return datetime(2026, 1, 5, 12, 0, second, tzinfo=UTC)
