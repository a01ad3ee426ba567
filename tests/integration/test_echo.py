"""The echo of any recording, in every mode, is the recording: nothing shortens, or lengthens, one side alone.

Conversations are made up by Hypothesis, many to a lake: agents that speak or call tools first, parallel calls and repeated ids,
calls without results and results without calls, late ones, the user's own calls, empty and redacted texts, the agent twice in
a row, conversations without a word of one side. They are exported, folded, replayed, diffed and decided as `refold ab` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from pipelines.diff.dataset import DiffResult, build_diff
from pipelines.lake.lake import Lake
from pipelines.replay.experiment import parse_experiment
from pipelines.replay.plan import make_plan
from pipelines.replay.run import ReplayResult, run_replay
from tests.strategies import recordings
from tests.unit.diff.replayed_lake import write_log

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
_TALKS = "(SELECT aggregate_id FROM conversations UNION ALL SELECT aggregate_id FROM calls)"
_DECIDED = f"decisions SEMI JOIN {_TALKS} USING (aggregate_id)"
_ASKABLE = {
    "decision": f"SELECT count(*) FILTER (context_messages > 0), count(*) FILTER (context_messages = 0) FROM {_DECIDED}",
    "single": f"SELECT count(DISTINCT aggregate_id) FILTER (turn > 0), 0 FROM {_DECIDED}",
    "turn": f"SELECT count(DISTINCT (aggregate_id, turn)) FILTER (turn > 0), 0 FROM {_DECIDED}",
    "conversation": f"""
        SELECT count(*) FILTER (asked), count(*) FILTER (NOT asked)
        FROM (
            SELECT coalesce(bool_or(context_messages > 0), false) AS asked
            FROM {_TALKS}
            LEFT JOIN decisions USING (aggregate_id)
            GROUP BY aggregate_id
        )
    """,
}


def compare(lake: Lake, mode: str, candidate: str = "echo: true", rest: str = "") -> tuple[ReplayResult, DiffResult]:
    """Replay and diff everything in a lake."""
    text = f"experiment: echo-{mode}\ncandidate: {{{candidate}}}\nmode: {mode}\nsegments: [agent]\n{rest}"
    plan = make_plan(lake, parse_experiment(text, "test"), lake.root)
    return run_replay(lake, plan), build_diff(lake, plan)


def assert_the_echo_is_the_recording(lake: Lake, mode: str) -> None:
    """Everything that could be asked was, was answered as recorded, and no number knows a difference."""
    replayed, diffed = compare(lake, mode)
    with lake.connect() as connection:

        def found(query: str) -> list[tuple[Any, ...]]:
            return connection.sql(query, params={"version_id": diffed.version_id}).fetchall()

        assert found(_DIFFERENT) == []
        assert found(_UNLIKE) == []
        assert found(_NUMBERS) == []
        asked, unasked = connection.sql(_ASKABLE[mode]).fetchall()[0]
    assert (diffed.pairs, diffed.not_asked) == (asked, unasked)
    assert (replayed.units, replayed.not_asked, replayed.failures) == (asked + unasked, unasked, {})
    assert (diffed.same_calls, diffed.failed, diffed.changed_conversations) == (asked, 0, 0)


_WALKED = """
SELECT walked.experiment, walked.unit_id, walked.step
FROM replay_steps_history AS walked
INNER JOIN replays_history AS asked
    ON walked.unit_id LIKE asked.aggregate_id || '%' AND walked.decision = asked.decision AND walked.draw = asked.draw
WHERE asked.experiment = 'echo-decision' AND asked.status = 'ok' AND walked.request_sha256 <> asked.request_sha256
"""


@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
@given(log=recordings(12))
def test_the_echo_of_any_recording_is_the_recording(log: Sequence[Mapping[str, Any]]) -> None:
    """In every mode all that could be asked is the same, with no difference in any metric, full coverage and no divergence."""
    with tempfile.TemporaryDirectory() as folder:
        lake = write_log(Path(folder), log)
        for mode in MODES:
            try:
                assert_the_echo_is_the_recording(lake, mode)
            except Exception as error:
                if "no conversation is selected" not in str(error):
                    raise
