"""Time travel in SQL: `conversations_as_of(time)`, `calls_as_of(time)` and `customers_as_of(time)`.

Table macros over the views of the lake, so that `lake.duckdb` holds them for any client. Whoever has no event in the month
of the time stands as the newest monthly state before it says, and a stream that the time does not divide as the state of that
very month says; the others are folded by the steps in `sql/as_of`: from where their snapshots of before the month say that
they stood, if those are of today's code and nothing was redacted since, or else from their first event. Redactions apply as
of today: what is hidden now is hidden in states of before, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.lake.fold_code import code_hash
from pipelines.lake.table import quote_literal
from pipelines.sqlfiles import read_expression, read_sql

_TIME = 'CAST("time" AS TIMESTAMP WITH TIME ZONE)'
_MONTH = f"strftime(make_timestamp(epoch_us({_TIME})), '%Y-%m')"  # UTC, whatever the zone of the reader's session
_SCOPES = {
    "tail": "history.month = $month AND history.created_at <= $time",
    "past": "history.month < $month AND streams.stream_no NOT IN (SELECT resumed.stream_no FROM as_of_resumed AS resumed)",
}
"""Which events are read: of the month up to the time; and, of streams that go on from no snapshot, of before."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One table macro: its name, what it gives, and the monthly states whose columns it has."""

    name: str
    grain: str
    states: str
    statement: str


def list_macros(snapshot_events: int) -> tuple[Macro, ...]:
    """All macros, in the order of their names; they read the views of the lake.

    Args:
        snapshot_events: Events between two snapshots of a stream.
    """
    code = code_hash(snapshot_events)
    return (
        _of_streams("calls", "voice call", "call", "call_months", code),
        _of_streams("conversations", "conversation", "conversation", "conversation_months", code),
        _of_customers(),
    )


def _of_streams(plural: str, noun: str, stream_type: str, states: str, code: str) -> Macro:
    names = ("redacted", "touched", "whole", "streams", "standing")
    steps = {step: read_sql(f"as_of/{step}.sql") for step in names}
    events = read_sql("as_of/events.sql")
    steps["tail"] = events.replace("$scope", _SCOPES["tail"])
    steps["resumed"] = read_sql("as_of/resumed.sql")
    steps["past"] = events.replace("$scope", _SCOPES["past"])
    steps["events"] = "SELECT * FROM as_of_past UNION ALL SELECT * FROM as_of_tail"
    steps |= {step: read_sql(f"as_of/{step}.sql") for step in ("sources", "places", "calls", "messages", "states")}
    given = {"$stream_type": quote_literal(stream_type), "$states": states, "$code": quote_literal(code)}
    for name, value in given.items():
        steps = {step: text.replace(name, value) for step, text in steps.items()}
    folded = "SELECT aggregate_id FROM as_of_states UNION ALL SELECT aggregate_id FROM as_of_whole"
    whole = (
        f"UNION ALL BY NAME SELECT stored.* FROM {states} AS stored SEMI JOIN as_of_whole AS whole "
        f"ON stored.aggregate_id = whole.aggregate_id AND whole.has_begun WHERE stored.month = {_MONTH}"
    )
    return _macro(plural, noun, steps, states, "aggregate_id", folded, whole)


def _of_customers() -> Macro:
    steps = {f"subject_{step}": read_sql(f"as_of/subject_{step}.sql") for step in ("touched", "events")}
    steps["subject_told"] = "SELECT * FROM fold_subject_events"
    folded = ("subject_states", "subject_streams", "customers")
    steps |= {step: read_sql(f"folds/steps/{step}.sql").replace("fold_heads", "stream_months") for step in folded}
    steps = {step: text.replace("fold_", "as_of_") for step, text in steps.items()}
    steps["states"] = read_sql("folds/customer_months.sql").replace("fold_", "as_of_").partition("ORDER BY")[0]
    touched = "SELECT subject_id FROM as_of_subject_touched"
    return _macro("customers", "customer", steps, "customer_months", "subject_id", touched, "")


def _macro(plural: str, noun: str, steps: dict[str, str], states: str, key: str, folded: str, whole: str) -> Macro:
    """The union of those folded from events and of those that stand as a monthly state says."""
    named = ",\n".join(f"as_of_{step} AS MATERIALIZED (\n{_bind(text)}\n)" for step, text in steps.items())
    query = (
        f"WITH {named}, as_of_newest AS (SELECT {key}, max(month) AS month FROM {states} WHERE month < {_MONTH} "
        f"AND {key} NOT IN ({folded}) GROUP BY {key}) "
        f"SELECT strftime(make_timestamp(epoch_us(last_at)), '%Y-%m') AS month, * FROM as_of_states {whole} "
        f"UNION ALL BY NAME SELECT stored.* FROM {states} AS stored "
        f"SEMI JOIN as_of_newest ON stored.{key} = as_of_newest.{key} AND stored.month = as_of_newest.month"
    )
    name = f"{plural}_as_of"
    statement = f'CREATE OR REPLACE MACRO {name}("time") AS TABLE {query}'
    return Macro(name, f"one {noun}: its state at a time, `{name}(TIMESTAMPTZ '2026-05-01')`", states, statement)


def _bind(text: str) -> str:
    text = text.replace("$opens_turn", read_expression("folds/steps/opens_turn.sql"))
    return text.replace("$month", _MONTH).replace("$time", _TIME).strip().rstrip(";")
