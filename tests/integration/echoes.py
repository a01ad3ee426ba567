"""A lake whose conversations are replayed by their echo: every number has to say that nothing changed."""

from __future__ import annotations

from typing import Any

from pipelines.diff.dataset import build_diff
from pipelines.diff.result import DiffResult
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.run import ReplayResult, run_replay

MODES = ("decision", "single", "turn", "conversation")
_DIFFERENT = """
SELECT unit_id, reason, unit_class, text_a, text_b
FROM ab_units_history
WHERE
    version_id = $version_id
    AND status <> 'not_asked'
    AND (
        status <> 'ok'
        OR fidelity <> 'exact'
        OR is_same_calls IS NOT TRUE
        OR text_a IS DISTINCT FROM text_b
        OR calls_a <> calls_b
        OR invalid_calls_a <> invalid_calls_b
        OR is_refusal_a <> is_refusal_b
        OR money_a IS DISTINCT FROM money_b
    )
"""
_UNLIKE = """
SELECT unit_id, result_source, coverage, coverage_reason, divergence, prefix_fraction
FROM replays_history
WHERE
    version_id = $version_id
    AND status <> 'not_asked'
    AND (divergence IS NOT NULL OR coverage <> 1 OR (coverage IS NULL) <> (coverage_reason = 'not_applicable') OR prefix_fraction <> 1)
"""
_NUMBERS = """
SELECT metric, segment_value, estimate, mean_a, mean_b
FROM ab_summary_history
WHERE
    version_id = $version_id
    AND n > 0
    AND (kind = 'metric' AND (estimate <> 0 OR mean_a <> mean_b) OR kind = 'change' AND estimate <> (metric <> 'failed')::INTEGER)
"""
# what was recorded and could be put before somebody, counted without any of the relations of a diff
_LEFT = "WHERE erased_events < event_count"
_TALKS = f"(SELECT aggregate_id FROM conversations {_LEFT} UNION ALL SELECT aggregate_id FROM calls {_LEFT})"
_DECIDED = (
    f"(SELECT *, is_erased OR is_context_erased AS is_gone FROM decisions SEMI JOIN {_TALKS} USING (aggregate_id))"
)
_ASKABLE = {
    "decision": f"SELECT count(*) FILTER (NOT is_gone AND context_messages > 0), count(*) FILTER (is_gone), count(*) FROM {_DECIDED}",
    "single": f"""
        SELECT count(*) FILTER (NOT is_gone), count(*) FILTER (is_gone), count(*)
        FROM (SELECT arg_min(is_gone, decision) AS is_gone FROM {_DECIDED} WHERE turn > 0 GROUP BY aggregate_id)
    """,
    "turn": f"""
        SELECT count(*) FILTER (NOT is_gone), count(*) FILTER (is_gone), count(*)
        FROM (SELECT bool_or(is_gone) AS is_gone FROM {_DECIDED} WHERE turn > 0 GROUP BY aggregate_id, turn)
    """,
    "conversation": f"""
        SELECT count(*) FILTER (asked AND NOT is_gone), count(*) FILTER (is_gone), count(*)
        FROM (
            SELECT
                coalesce(bool_or(context_messages > 0), false) AS asked,
                coalesce(bool_or(is_gone AND context_messages IS DISTINCT FROM 0), false) AS is_gone
            FROM {_TALKS}
            LEFT JOIN {_DECIDED} USING (aggregate_id)
            GROUP BY aggregate_id
        )
    """,
}
"""By mode: units that can be asked, units that are erased, and all units."""


_READ = "FROM ab_units_history, replays_history, ab_summary_history, decisions, conversations, calls"


def compare(
    lake: Lake, mode: str, candidate: str = "echo: true", *, retry_failed: bool = False
) -> tuple[ReplayResult, DiffResult]:
    """Replay and diff everything in a lake."""
    text = f"experiment: echo-{mode}\ncandidate: {{{candidate}}}\nmode: {mode}\nsegments: [agent]\n"
    plan = make_plan(lake, parse_experiment(text, "test"), lake.root)
    return run_replay(lake, plan, retry_failed=retry_failed), build_diff(lake, plan)


def assert_the_echo_is_the_recording(
    lake: Lake, mode: str, candidate: str = "echo: true", *, draws: int = 1, retry_failed: bool = False
) -> None:
    """Everything that could be asked was, was answered as recorded, and no number knows a difference."""
    replayed, diffed = compare(lake, mode, candidate, retry_failed=retry_failed)
    with lake.connect(_READ) as connection:

        def found(query: str) -> list[tuple[Any, ...]]:
            return connection.sql(query, params={"version_id": diffed.version_id}).fetchall()

        assert found(_DIFFERENT) == []
        assert found(_UNLIKE) == []
        assert found(_NUMBERS) == []
        asked, erased, units = connection.sql(_ASKABLE[mode]).fetchall()[0]
    assert (diffed.pairs, diffed.not_asked, diffed.not_asked_erased) == (asked, units - asked, erased)
    assert (replayed.units, replayed.not_asked) == (draws * units, draws * (units - asked))
    assert replayed.failures == {}
    assert (diffed.same_calls, diffed.failed, diffed.changed_conversations) == (asked, 0, 0)
