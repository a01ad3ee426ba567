"""The echo of any recording, in every mode, is the recording: nothing shortens, or lengthens, one side alone.

Conversations are made up by Hypothesis, many to a lake: agents that speak or call tools first, parallel calls and repeated ids,
calls without results and results without calls, late ones, the user's own calls, empty and redacted texts, the agent twice in
a row, conversations without a word of one side. They are exported, folded, replayed, diffed and decided as `refold ab` does.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.echoes import MODES, assert_the_echo_is_the_recording, compare
from tests.support.log_strategies import one_stream, partly_erased, recordings
from tests.support.replayed_lake import write_log


def talks(streams: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """`recordings`, without the simplest, which is drawn first and is of next to nothing: few and large logs say most for their time."""
    return recordings(streams).filter(lambda log: len(log) > 2 * streams)


@settings(deadline=None, max_examples=1, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
@given(log=talks(24))
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


@settings(deadline=None, max_examples=1, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
@given(log=partly_erased(talks(24)))
def test_what_is_left_of_an_erased_log_is_the_recording(log: Sequence[Mapping[str, Any]]) -> None:
    """Events erased here and there, or all of a conversation: what comes before is the same, the rest is counted and not asked."""
    with tempfile.TemporaryDirectory() as folder:
        lake = write_log(Path(folder), log)
        for mode in MODES:
            try:
                assert_the_echo_is_the_recording(lake, mode)
            except Exception as error:
                if "no conversation is selected" not in str(error):
                    raise


SILENT = {
    "ended": ("conversation.ended.v1", {"outcome": None}),
    "not known": ("weather.changed.v1", {"text": "rain"}),
    "a row": ("row.changed.v1", {"table": "t", "key": "k", "before": None, "after": {"a": 1}}),
    "a redaction": (
        "redaction.applied.v1",
        {"target": {"stream_version": 1}, "path": "", "method": "mask", "reason": "r"},
    ),
}


@pytest.mark.parametrize("others", [(), ("0",), ("2",)])
def test_what_nothing_was_shown_of_is_not_asked(tmp_path: Path, others: Sequence[str]) -> None:
    """Conversations without one event that an agent sees are rows of every table that counts them, wherever they stand."""
    spoken = [("user.utterance.v1", {"text": "Hi."}), ("agent.utterance.v1", {"text": "Hello."})]
    told = {f"1{place}": [event] for place, event in enumerate(SILENT.values())} | dict.fromkeys(others, spoken)
    log = [
        {**event, "aggregate_id": f"{name:0<8}-0000-0000-0000-000000000000"}
        for name, events in told.items()
        for event in one_stream(
            [{"event_type": kind, "payload": payload, "metadata": {}, "seconds": 0} for kind, payload in events]
        )
    ]
    lake = write_log(tmp_path, [{**event, "position": place} for place, event in enumerate(log, start=1)])
    assert_the_echo_is_the_recording(lake, "conversation")
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) FROM replays WHERE status = 'not_asked'").fetchall() == [(len(SILENT),)]


PARROT = """
import json
from pathlib import Path
from pipelines.experiment.decision import Reply, ToolCall


def say(decision):
    folder = Path(__file__).parent
    if (folder / "failing").exists() and decision.decision % 2:
        raise ValueError
    said = json.loads((folder / "said.json").read_text())[f"{decision.aggregate_id}/{decision.decision}"]
    return Reply(said["text"], [ToolCall(*call) for call in said["calls"]], is_refusal=said["is_refusal"])
"""


@settings(deadline=None, max_examples=1, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
@given(log=talks(12))
def test_who_repeats_the_recording_twice_and_on_a_retry_is_the_recording(log: Sequence[Mapping[str, Any]]) -> None:
    """A candidate that says what `decisions` holds, drawn twice, that fails at first and is retried: nothing is left of the failures."""
    with tempfile.TemporaryDirectory() as folder:
        lake = write_log(Path(folder), log)
        with lake.connect() as connection:
            rows = connection.sql(_SAID).fetchall()
        said = {
            name: {
                "text": text,
                "is_refusal": is_refusal,
                "calls": [[call, _value(given)] for call, given in calls or ()],
            }
            for name, text, is_refusal, calls in rows
        }
        (lake.root / "said.json").write_text(json.dumps(said), encoding="utf-8")
        (lake.root / "parrot.py").write_text(PARROT, encoding="utf-8")
        for mode in MODES:
            (lake.root / "failing").touch()
            candidate = 'python: "parrot:say", draws: 2'
            try:
                first, _ = compare(lake, mode, candidate)
            except Exception as error:
                if "no conversation is selected" not in str(error):
                    raise
                continue
            assert set(first.failures) <= {"candidate_error"}
            (lake.root / "failing").unlink()
            assert_the_echo_is_the_recording(lake, mode, candidate, draws=2, retry_failed=True)


_SAID = """
SELECT
    aggregate_id || '/' || decision, text, coalesce(is_refusal, false),
    list_transform(tool_calls, LAMBDA call: [call.name, coalesce(call.recorded, call.arguments)])
FROM decisions
"""


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
