"""Add up a version shard by shard: counts for the headline, a hash of what came out, and sums per conversation.

Of all that a diff makes, this is what its summary needs at the end. What the sums mean is `summary`'s business.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np

from pipelines.diff.arrays import to_numpy
from pipelines.diff.names import DIFFERENCES, metric_names
from pipelines.diff.summary import Conversations, ConversationSums, Line, Units, encode
from pipelines.duck import quote_identifier
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import unit_kind
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_TOOL_CALLS, AB_UNITS

_COUNTS = """
SELECT
    count(*) FILTER (WHERE status <> 'not_asked') AS pairs,
    count(*) FILTER (WHERE status = 'not_asked') AS not_asked,
    count(*) FILTER (WHERE status = 'not_asked' AND reason = 'erased') AS not_asked_erased,
    count(DISTINCT aggregate_id) FILTER (WHERE status <> 'not_asked') AS conversations,
    count(DISTINCT aggregate_id) FILTER (WHERE status = 'ok' AND is_same_calls IS DISTINCT FROM true)
        AS changed_conversations,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE is_same_names) AS same_names,
    count(*) FILTER (WHERE is_same_calls) AS same_calls,
    count(*) FILTER (WHERE is_same_final) AS same_final,
    count(*) FILTER (WHERE outcome_a AND outcome_b) AS both,
    count(*) FILTER (WHERE outcome_a AND NOT outcome_b) AS only_a,
    count(*) FILTER (WHERE NOT outcome_a AND outcome_b) AS only_b,
    count(*) FILTER (WHERE NOT outcome_a AND NOT outcome_b) AS neither
FROM diffed_units
"""
# A unit that B did not answer is not the same in anything; text is compared only where both sides have one. A unit that was
# not fed as it was recorded is left out, and counted as excluded; one about which nobody could be asked is in no sum at all.
SHARES = {
    "same_names": "CASE WHEN status <> 'ok' THEN false WHEN fidelity = 'exact' THEN is_same_names END",
    "same_calls": "CASE WHEN status <> 'ok' THEN false WHEN fidelity = 'exact' THEN is_same_calls END",
    "same_calls_answered": "CASE WHEN fidelity = 'exact' THEN is_same_calls END",
    "same_calls_worst": "CASE WHEN fidelity = 'exact' THEN is_same_calls ELSE false END",
    "same_final": "CASE WHEN status <> 'ok' AND text_a IS NOT NULL THEN false WHEN fidelity = 'exact' THEN is_same_final END",
    "failed": "status <> 'ok'",
}
"""Whether a pair is one of each share, or is left out of it."""
_COLUMNS = {
    "outcome_good": "outcome_{side}",
    "refusals": "is_refusal_{side}",
    "money": "CASE WHEN status = 'ok' THEN coalesce(money_{side}, 0) END",  # who names none moves none
}
"""Differences that are not the columns of their name."""
_CALLS = """
SELECT coalesce(sum(calls_a) FILTER (WHERE status <> 'not_asked'), 0), coalesce(sum(calls_b), 0)
FROM diffed_units
"""
_FEW = 5
"""Pairs below which one value on every one of them is nothing to speak of."""
_METRIC_ERRORS = """
SELECT error.key, error.value, count(*)
FROM (SELECT unnest(map_entries(metric_errors_a) || map_entries(metric_errors_b)) AS error FROM diffed_units)
GROUP BY ALL
"""
_FIRST_ERRORS = """
SELECT metric, reason, arg_min(unit, rowid), arg_min(detail, rowid) FROM metric_failures GROUP BY ALL ORDER BY ALL
"""


def share_sql(name: str) -> str:
    """Whether a pair of `ab_units` is one of a share; null where it is left out."""
    return f"CASE WHEN status <> 'not_asked' THEN {SHARES[name]} END"


def value_sql(name: str, side: str) -> str:
    """The value of a metric or rule on a side (a, b) of a pair of `ab_units`; null where there is none, or it is not to be used."""
    own = f"metrics_{side}['{name}']"
    value = _COLUMNS.get(name, f"{name}_{{side}}").format(side=side) if name in DIFFERENCES else own
    return f"CASE WHEN coalesce(fidelity, 'exact') = 'exact' THEN {value} END"


class Tally:
    """What the shards of one version add up to.

    Args:
        connection: Holds `all_plan_streams`, and `diffed_units` and `diffed_calls` whenever a shard is added.
        plan: The version.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
        self._connection, self._plan = connection, plan
        self._counts: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._fidelity: Counter[str] = Counter()
        self._metric_errors: Counter[tuple[str, str]] = Counter()
        self._digests = {"diffed_units": hashlib.sha256(), "diffed_calls": hashlib.sha256()}
        self._calls: Counter[str] = Counter()
        self._seen: defaultdict[tuple[str, str], set[float]] = defaultdict(set)
        self._sums = ConversationSums()
        self._sides = [*DIFFERENCES, *metric_names(plan.experiment)]

    def add(self) -> None:
        """Add the shard that is in the tables now."""
        counts = self._connection.sql(_COUNTS)
        self._counts.update(dict(zip(counts.columns, counts.fetchall()[0], strict=True)))
        self._classes.update(
            dict(
                self._connection.execute(
                    "SELECT unit_class, count(*) FROM diffed_units WHERE unit_class IS NOT NULL GROUP BY 1"
                ).fetchall()
            )
        )
        self._fidelity.update(
            dict(
                self._connection.execute(
                    "SELECT fidelity, count(*) FROM diffed_units WHERE fidelity IS NOT NULL GROUP BY 1"
                ).fetchall()
            )
        )
        if self._plan.experiment.metrics:
            errors = self._connection.execute(_METRIC_ERRORS).fetchall()
            self._metric_errors.update({(name, why): count for name, why, count in errors})
        self._hash(AB_UNITS, "diffed_units")
        self._hash(AB_TOOL_CALLS, "diffed_calls")
        units = self._units()
        self._sums.add(units)
        self._look_at_metrics(units)

    def summary_input(self) -> tuple[Conversations, ConversationSums]:
        """The conversations of the plan and what their units add up to."""
        segments = self._plan.experiment.segments
        listed = ", ".join(["stream_row", "cluster", *segments])
        columns = self._connection.sql(f"SELECT {listed} FROM all_plan_streams ORDER BY stream_row").to_arrow_table()
        is_alone = self._plan.experiment.cluster == "conversation"
        cluster = None if is_alone else encode(columns.column("cluster"))[1]
        return Conversations(cluster, {name: encode(columns.column(name)) for name in segments}), self._sums

    def headline(self, summary: list[Line]) -> dict[str, Any]:
        """What a result says without looking at rows again; kept with the summary's commit."""
        digest = hashlib.sha256()
        for part in self._digests.values():
            digest.update(part.digest())
        for line in summary:
            digest.update(repr(sorted(line.row().items())).encode())
        counts = dict(self._counts)
        outcomes = {name: counts.pop(name) for name in ("both", "only_a", "only_b", "neither")}
        return {
            **counts,
            "outcomes": outcomes,
            "classes": dict(sorted(self._classes.items())),
            "fidelity": dict(sorted(self._fidelity.items())),
            "first_metric_errors": [list(row) for row in self._connection.execute(_FIRST_ERRORS).fetchall()],
            "metric_errors": [[name, why, n] for (name, why), n in sorted(self._metric_errors.items())],
            "flat_metrics": [[name, side, value] for name, side, value in self._flat_metrics()],
            "unit": unit_kind(self._plan),
            "result_hash": digest.hexdigest(),
        }

    def _look_at_metrics(self, units: Units) -> None:
        """Keep of every metric of the experiment's own whether anything but one value, or none, was seen on a side."""
        calls = self._connection.execute(_CALLS).fetchall()[0]
        self._calls.update({"a": int(calls[0]), "b": int(calls[1])})
        for name in self._plan.experiment.metrics:
            for side, values in zip("ab", units.sides[name], strict=True):
                seen = self._seen[name, side]
                seen.update(np.unique(values[~np.isnan(values)])[:2].tolist())

    def _flat_metrics(self) -> Iterator[tuple[str, str, float | None]]:
        """Metrics with one value, or none, on a whole side that called tools: more often an expression that misses its mark."""
        if self._counts["pairs"] < _FEW:
            return
        of_pairs = {row[0] for row in self._connection.execute("SELECT metric FROM frame_metrics").fetchall()}
        for (name, side), seen in sorted(self._seen.items()):
            if len(seen) < 2 and self._calls[side] and name not in of_pairs:
                yield name, side, next(iter(seen), None)

    def _hash(self, dataset: Dataset, table: str) -> None:
        """Add the rows of a table, in order, each as the texts of its columns."""
        # MD5 is the fastest here that any reader has; nobody is kept from making two rows with one hash, nor helped by it
        listed = ", ".join(
            f"coalesce({quote_identifier(column.name)}::VARCHAR, chr(0))" for column in dataset.data_columns
        )
        order = ", ".join(dataset.sort_by)
        hashes = self._connection.sql(
            f"SELECT md5(concat_ws(chr(31), {listed})) AS row_hash FROM {table} ORDER BY {order}"
        )
        digest = self._digests[table]
        for batch in hashes.to_arrow_reader(100_000):
            digest.update("".join(batch.column("row_hash").to_pylist()).encode())

    def _units(self) -> Units:
        """The shard's units in order."""
        expressions = {f"share {name}": share_sql(name) for name in SHARES}
        for side in "ab":
            expressions |= {f"{side} {name}": value_sql(name, side) for name in self._sides}
        listed = ", ".join(
            f"coalesce(({query})::DOUBLE, 'nan'::DOUBLE) AS \"{name}\"" for name, query in expressions.items()
        )
        rows = self._connection.sql(
            f"SELECT stream_row, (status <> 'not_asked')::DOUBLE AS is_asked, {listed} FROM diffed_units ORDER BY unit_id"
        ).to_arrow_table()
        values = {name: to_numpy(rows.column(name), np.float64) for name in expressions}
        return Units(
            conversation=to_numpy(rows.column("stream_row"), np.int32).astype(np.intp),
            is_asked=to_numpy(rows.column("is_asked"), np.float64),
            shares={name: values[f"share {name}"] for name in SHARES},
            sides={name: (values[f"a {name}"], values[f"b {name}"]) for name in self._sides},
        )
