"""What a replay says about itself beside its rows: what was asked and paid, and whose text went where.

The words are counts and addresses; who the people are stays in the lake and in the home's own ledger.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.experiment.plan import Plan
from pipelines.replay.asking.asker import Asker
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.ledger import is_other_model
from pipelines.replay.rows import UNITS
from pipelines.settings import Settings

_SENT = """
SELECT
    sent.base_url AS endpoint, sent.model, sent.side, count(*) AS conversations,
    count(DISTINCT streams.subject_id) AS subjects,
    count(*) FILTER (WHERE streams.subject_id IS NULL) AS conversations_without_subject,
    min(sent.first_at) AS first_at, max(sent.first_at) AS last_at
FROM sent
LEFT JOIN streams ON streams.aggregate_id = sent.aggregate_id
GROUP BY ALL
ORDER BY ALL
"""
_REDACTIONS = """
SELECT aggregate_id, count(*) FROM events WHERE event_type LIKE 'redaction.applied.v%' GROUP BY aggregate_id
"""
_TOOLLESS = """
SELECT count(*), count(*) FILTER (WHERE has_calls)
FROM (
    SELECT
        tools_sha256, bool_or(call_count > 0) OVER (PARTITION BY aggregate_id) AS has_calls,
        coalesce(is_erased OR is_context_erased, FALSE) AS is_gone
    FROM decisions
    SEMI JOIN plan_streams USING (aggregate_id)
)
WHERE tools_sha256 IS NULL AND NOT is_gone
"""
_SHARED = f"""
SELECT count(*) - count(DISTINCT (side, draw, request_sha256)) FROM {UNITS}
WHERE request_sha256 IS NOT NULL AND status = 'ok' AND unit = 'decision'
"""

_ANSWERS = """
SELECT model_requested, model, finish_reason, count(*)
FROM {table}
WHERE model_requested IS NOT NULL AND (status = 'ok' OR model IS NOT NULL OR finish_reason IS NOT NULL)
GROUP BY ALL
"""
_CUT = frozenset(("length", "max_tokens", "model_length", "max_output_tokens", "pause_turn"))
"""Finish reasons of a message that was not said to its end, in lower case."""
_NAMED_MODELS = 5


def count_redactions(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How often something was redacted, by conversation, in the whole lake."""
    return dict(connection.execute(_REDACTIONS).fetchall())


def describe_toolless(connection: duckdb.DuckDBPyConnection, plan: Plan) -> str | None:
    """What to say when models are asked without tools because no decision says which there were; None otherwise.

    Logs of other programs seldom say it, and an agent that cannot call its tools is not the recorded one.

    Args:
        connection: Has `plan_streams` and `decisions`.
        plan: The version.
    """
    is_model = any(asked.asks_models for asked in plan.experiment.sides.values())
    if not is_model or plan.tools.schemas is not None:
        return None
    toolless, called = connection.execute(_TOOLLESS).fetchall()[0]
    if not toolless:
        return None
    return (
        f"{toolless:,} decisions do not say which tools the agent had, {called:,} of them in conversations where it called some: "
        "models are asked without tools there; name them in `tools: {schemas: FILE}`"
    )


def describe_answers(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Any] | None:
    """For the provenance of a version: answers of models, how many were cut, and how many came from another model than was asked.

    Args:
        connection: Has the table.
        table: The replayed units where each is one answer, else their steps.

    Returns:
        Counts, `other_models` by name, the commonest first; None when no model was asked.
    """
    answers = cut = 0
    others: Counter[str] = Counter()
    for requested, model, finish_reason, count in connection.execute(_ANSWERS.format(table=table)).fetchall():
        answers += count
        cut += count if (finish_reason or "").lower() in _CUT else 0
        if is_other_model(requested, model):
            others[model] += count
    if not answers:
        return None
    counted = {"answers": answers, "cut": cut, "from_other_models": others.total()}
    return {**counted, "other_models": dict(others.most_common(_NAMED_MODELS))}


def describe_asking(
    connection: duckdb.DuckDBPyConnection, plan: Plan, asker: Asker, settings: Settings
) -> dict[str, Any]:
    """For the provenance of a version: answers paid for and taken from what was paid for, charges, and `sent`.

    Args:
        connection: Has `streams` and the table of replayed units.
        plan: The version.
        asker: Who asked.
        settings: The home.
    """
    tally = asker.tally
    asked = [side for side, each in plan.experiment.sides.items() if each.asks_models]
    return {
        "wires": {side: plan.experiment.api_of(side) for side in asked},
        "kept_by_endpoint": {side: plan.experiment.is_kept_by(side) for side in asked},
        "answers_paid": tally.asked,
        "answers_kept": tally.hits,
        "units_sharing_a_response": connection.execute(_SHARED).fetchall()[0][0],
        "calls": tally.calls,
        "calls_of_version": asker.account.requests,
        "usd_of_version": round(asker.account.usd, 6),
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "sent": describe_sent(connection, plan, settings),
    }


def describe_sent(connection: duckdb.DuckDBPyConnection, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    """Per endpoint, model and side: conversations and subjects whose text was sent for this version, and when."""
    with ResponseStore(settings.responses) as store:
        rows = store.sent(plan.experiment.experiment, plan.version_id)
    names = ("base_url", "model", "side", "aggregate_id", "first_at")
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))
    connection.register("sent", table)
    try:
        return list(connection.sql(_SENT).to_arrow_table().to_pylist())
    finally:
        connection.unregister("sent")
