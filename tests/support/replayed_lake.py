"""A lake that holds decisions and their replays, of any units a test makes: what a diff reads, without a store."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.canonical.arguments import fields_of
from pipelines.canonical.calls import Canonicaliser
from pipelines.duck import scratch
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.versions import keep_version
from pipelines.folds.run import fold_month
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import CONVERSATION_MONTHS, DECISIONS, EVENTS, REPLAYS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from tests.oracles.left_fold_values import is_erased
from tests.support.log_strategies import one_stream

EXPERIMENT = "experiment: made\ncandidate: {echo: true}\n"
_START = datetime(2026, 1, 1, tzinfo=UTC)

Unit = Mapping[str, Any]
"""`stream` (number), `text_a, text_b, calls_a, calls_b`; calls are (name, arguments as JSON text) in one block; what else
a unit has overrides columns of its replay."""


def stream_id(number: int) -> str:
    """The id of a stream."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def replayed_lake(
    root: Path, units: Sequence[Unit], experiment: str = EXPERIMENT, tools: Mapping[str, Sequence[Any]] | None = None
) -> tuple[Lake, Plan]:
    """Write decisions and replays; the units of one stream are its decisions 1, 2, 3 … `tools`: registered lists by hash."""
    lake = Lake(root)
    reader = Canonicaliser()
    decisions: list[dict[str, Any]] = []
    replays: list[dict[str, Any]] = []
    counts: dict[int, int] = {}
    for unit in units:
        number = counts[unit["stream"]] = counts.get(unit["stream"], 0) + 1
        aggregate = stream_id(unit["stream"])
        sides = []
        for side in "ab":
            hashes = reader.hash_list([(0, *call) for call in unit[f"calls_{side}"]])
            sides.append(
                {
                    "aggregate_id": aggregate,
                    "decision": number,
                    "text": unit[f"text_{side}"],
                    "call_count": len(unit[f"calls_{side}"]),
                    "l0_hash": hashes.l0,
                    "l1_hash": hashes.l1,
                    "l2_hash": hashes.l2,
                }
            )
        recorded = [{"name": name, **fields_of(arguments)} for name, arguments in unit["calls_a"]]
        decisions.append(
            sides[0]
            | {"aggregate_type": "conversation", "turn": number, "tool_calls": recorded}
            | dict(unit.get("recorded", {}))
        )
        answered = [{"block": 0, "name": name, **fields_of(arguments)} for name, arguments in unit["calls_b"]]
        replay = {"unit_id": f"{aggregate}/{number}", "unit": "decision", "side": "candidate", "draw": 0, "attempt": 1}
        replays.append(sides[1] | replay | {"status": "ok", "tool_calls": answered} | dict(unit.get("replayed", {})))
    streams = sorted(counts, key=stream_id)
    states = [
        {
            "aggregate_id": stream_id(number),
            "source": f"source {number % 2}",
            "subject_id": f"person {number % 5}",
            "agent": None if number % 7 == 0 else f"agent {number % 3}",
            "vertical": f"vertical {number % 4}",
            "started_at": _START + timedelta(seconds=number),
            "last_at": _START + timedelta(seconds=number),
            "last_version": 1,
        }
        for number in streams
    ]
    heads = [
        {
            "aggregate_id": stream_id(number),
            "aggregate_type": "conversation",
            "first_version": 1,
            "last_version": 1,
            "event_count": 1,
            "last_hash": hashlib.sha256(str(number).encode()).digest(),
        }
        for number in streams
    ]
    month = {"month": "2026-01"}
    for dataset, rows in ((DECISIONS, decisions), (CONVERSATION_MONTHS, states), (STREAM_MONTHS, heads)):
        write(lake, dataset, month, rows, "made")
    write(lake, EVENTS, month, [_registered(*item, place) for place, item in enumerate((tools or {}).items())], "made")
    plan = make_plan(lake, parse_experiment(experiment, "test"), root)
    keep_version(lake, plan, root)
    write(lake, REPLAYS, plan.partition, replays, plan.version_id)
    return lake, plan


def _registered(sha256: str, tools: Sequence[Any], place: int) -> dict[str, Any]:
    """The event that registers a list of tools."""
    return {
        "aggregate_id": stream_id(1_000_000 + place),
        "aggregate_type": "agent",
        "stream_version": 1,
        "event_type": "tools.registered.v1",
        "event_version": 1,
        "payload": json.dumps({"sha256": sha256, "tools": tools}),
        "metadata": "{}",
        "created_at": _START,
        "epoch": 1,
        "xid": 1,
        "position": place + 1,
        "hash": b"\0" * 32,
    }


def write(
    lake: Lake, dataset: Dataset, partition: Mapping[str, str], rows: Sequence[Mapping[str, Any]], input_hash: str
) -> None:
    """Write rows of a dataset, null where they say nothing."""
    names = [column.name for column in dataset.data_columns]
    schema = pa.schema([dataset.arrow_schema().field(name) for name in names])
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows], schema=schema)
    with scratch() as connection:
        connection.register("given", table)
        lake.write_partition(
            dataset,
            partition,
            connection,
            "SELECT * FROM given",
            input_hash=input_hash,
            provenance={"failures": {}, "not_asked": 0},
        )


def write_log(root: Path, log: Sequence[Mapping[str, Any]]) -> Lake:
    """Write a log of events, as `tests.support.log_strategies` makes it, and fold its months."""
    lake = Lake(root)
    for month in write_events(lake, log):
        fold_month(lake, month)
    return lake


def write_events(lake: Lake, log: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a log as an export leaves it: events and the heads of streams of every month; the months."""
    heads: dict[tuple[str, str], dict[str, Any]] = {}
    months: dict[str, list[dict[str, Any]]] = {}
    for event in log:
        stream, month = event["aggregate_id"], event["month"]
        texts = {name: json.dumps(event[name], ensure_ascii=False) for name in ("payload", "metadata")}
        months.setdefault(month, []).append({**event, **texts})
        head = heads.setdefault(
            (month, stream),
            {
                "aggregate_id": stream,
                "aggregate_type": event["aggregate_type"],
                "first_version": event["stream_version"],
                "event_count": 0,
                "erased_events": 0,
            },
        )
        head |= {
            "last_version": event["stream_version"],
            "event_count": head["event_count"] + 1,
            "erased_events": head["erased_events"] + is_erased(event),
            "last_hash": event["hash"],
        }
    for month in sorted(months):
        rows = sorted(months[month], key=lambda event: (event["aggregate_id"], event["stream_version"]))
        write(lake, EVENTS, {"month": month}, rows, "made")
        of_month = [head for (of, _), head in sorted(heads.items()) if of == month]
        write(lake, STREAM_MONTHS, {"month": month}, of_month, "made")
    return sorted(months)


def texts(number: int, count: int, size: int) -> list[dict[str, Any]]:
    """A conversation of `count` texts of `size` bytes, none of them twice."""
    said = [
        {
            "event_type": f"{('user', 'agent')[place % 2]}.utterance.v1",
            "payload": {"text": f"{number} {place} ".ljust(size, "x")},
            "metadata": {"source": "shop"},
            "seconds": 0,
        }
        for place in range(count)
    ]
    return [{**event, "aggregate_id": f"0000000{number}-0000-0000-0000-000000000000"} for event in one_stream(said)]
