"""Small logs and what is told of them, as data: each file beside this one is a story, its events and the rows they become.

    about:     what the case shows
    events:    of each stream, by a name of your choice (a voice call's begins with `call`), its events in order: `TYPE: payload`,
               `at`, and `metadata` if there is any; `erased: true` if its content was erased since
    expected:  of each table, its rows in the order of its key; only the columns that are named are compared
    states:    a stream's state after some of its events: `STREAM@VERSION: columns`

A new rule of the fold begins with a file here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from pipelines.folds.state import state
from pipelines.lake.datasets import find_dataset
from pipelines.lake.lake import Lake
from tests.support.log_strategies import erased
from tests.support.replayed_lake import write_log

CASES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def stream_id(name: str) -> str:
    """The id of a stream that a case calls by a name."""
    return str(uuid5(NAMESPACE_URL, f"case:{name}"))


def read_log(streams: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The events of a case as rows of the log, `position` in the order of their times."""
    log = []
    for name, events in streams.items():
        previous = bytes(32)
        for version, event in enumerate(events, start=1):
            (kind,) = event.keys() - {"at", "metadata", "erased"}
            payload, metadata, at = event[kind], event.get("metadata", {}), event["at"].astimezone(UTC)
            previous = hashlib.sha256(previous + json.dumps([payload, metadata], default=str).encode()).digest()
            _, _, suffix = kind.rpartition(".v")
            stored = {
                "month": f"{at:%Y-%m}",
                "aggregate_id": stream_id(name),
                "aggregate_type": "call" if name.startswith("call") else "conversation",
                "stream_version": version,
                "event_type": kind,
                "event_version": int(suffix),
                "payload": payload,
                "metadata": metadata,
                "created_at": at,
                "epoch": 1,
                "xid": version,
                "hash": previous,
            }
            log.append(erased(stored) if event.get("erased") else stored)
    log.sort(key=lambda event: (event["created_at"], event["stream_version"]))
    return [{**event, "position": place} for place, event in enumerate(log, start=1)]


def shown(value: Any, like: Any) -> Any:
    """A value as the file writes it: of a struct only the fields that it names, times in UTC, JSON text as its value."""
    if isinstance(like, list) and isinstance(value, list):
        return [shown(*pair) for pair in zip(value, like, strict=True)] if len(value) == len(like) else value
    if isinstance(like, dict) and isinstance(value, dict):
        return {name: shown(value.get(name), each) for name, each in like.items()}
    if isinstance(like, dict | list) and isinstance(value, str):
        return json.loads(value)
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def named(row: Mapping[str, Any], like: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a row that a case tells of; a stream is called by the case's name."""
    told = dict(row)
    if "stream" in like:
        told["stream"] = names[row["aggregate_id"]]
    return {column: shown(told[column], value) for column, value in like.items()}


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    """A table, in the order of its key."""
    key = ", ".join(f'"{name}"' for name in find_dataset(KEYED.get(table, table)).key)
    with lake.connect() as connection:
        return connection.sql(f"SELECT * FROM {table} ORDER BY {key}").to_arrow_table().to_pylist()


KEYED = {"conversations": "conversation_months", "calls": "call_months", "customers": "customer_months"}


@pytest.mark.parametrize("case", CASES)
def test_a_case(case: str, tmp_path: Path) -> None:
    """The tables hold the rows that the file tells, and no others; states at a version are those that it tells."""
    told = yaml.safe_load(CASES[case].read_text(encoding="utf-8"))
    names = {stream_id(name): name for name in told["events"]}
    lake = write_log(tmp_path, read_log(told["events"]))
    for table, expected in told["expected"].items():
        found = rows(lake, table)
        assert len(found) == len(expected), (table, found)
        expected.sort(key=lambda row: stream_id(row.get("stream", "")))  # as the key is: the file need not know ids
        assert [named(row, like, names) for row, like in zip(found, expected, strict=True)] == expected, table
    for place, like in told.get("states", {}).items():
        name, _, version = place.partition("@")
        assert named(state(lake, stream_id(name), version=int(version)), like, names) == like, place
