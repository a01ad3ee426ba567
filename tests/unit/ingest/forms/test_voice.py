"""Reports of calls by voice: times, what was heard, reports that come twice, and what is no report."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from tests.support.foreign_lines import foreign_lines, written

START = 1_764_331_200


def elevenlabs(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    call = {
        "conversation_id": "conv_1",
        "metadata": {"start_time_unix_secs": START, "call_duration_secs": 9},
        "transcript": [*turns],
    }
    return {"type": "post_call_transcription", "data": call | more}


def retell(*turns: dict[str, Any], event: str = "call_ended", **more: Any) -> dict[str, Any]:
    call = {"call_id": "call_1", "start_timestamp": START * 1000, "transcript_with_tool_calls": [*turns]}
    return {"event": event, "call": call | more}


def line_of(report: Any, folder: Path, **options: Any) -> dict[str, Any]:
    (line,) = foreign_lines("voice", [written(folder / "call.json", report)], folder, **options)
    return line


def test_an_interrupted_agent(tmp_path: Path) -> None:
    """What the agent meant to say is the utterance; what was heard of it is told beside."""
    turn = {
        "role": "agent",
        "message": "Your order",
        "original_message": "Your order is ready.",
        "interrupted": True,
        "time_in_call_secs": 3,
    }
    (said,) = line_of(elevenlabs(turn), tmp_path)["messages"]
    assert said["content"] == "Your order is ready."
    assert said["speech"] == {"start_ms": 3000, "interrupted": True, "heard_text": "Your order"}
    assert said["timestamp"].startswith("2025-11-28T12:00:03")


def test_utterances_that_overlap_are_in_order_of_their_start(tmp_path: Path) -> None:
    """A report in order of ends is read in order of starts, and both ends are kept."""
    words = [[{"word": "No", "start": 2.0, "end": 2.5}], [{"word": "Hello", "start": 1.0, "end": 4.0}]]
    turns = [
        {"role": "user", "content": "No", "words": words[0]},
        {"role": "agent", "content": "Hello", "words": words[1]},
    ]
    line = line_of(retell(*turns), tmp_path)
    assert [each["content"] for each in line["messages"]] == ["Hello", "No"]
    assert [(each["speech"]["start_ms"], each["speech"]["end_ms"]) for each in line["messages"]] == [
        (1000, 4000),
        (2000, 2500),
    ]


def test_a_report_that_comes_twice(tmp_path: Path) -> None:
    """Of two reports of a call the fullest is read, whichever came first; what only the other says is kept."""
    turn = {"role": "user", "content": "Hi", "words": [{"word": "Hi", "start": 0.0, "end": 1.0}]}
    early = retell(turn)
    late = retell(turn, event="call_analyzed", call_analysis={"call_successful": True, "user_sentiment": "Positive"})
    made = []
    for number, order in enumerate([(early, late), (late, early)]):
        files = [written(tmp_path / f"{number}-{n}" / f"{n}.json", report) for n, report in enumerate(order)]
        tally = Tally()
        (line,) = foreign_lines("voice", files, tmp_path, tally)
        made.append((line["messages"], line["outcome"], line["scores"]))
        assert tally.duplicates == 1
        assert tally.repeated == 7  # the start, the id, and the turn; not the name of the event
        assert '"call_ended"' in json.dumps(line["records"])
    assert made[0] == made[1]
    assert made[0][1] is True


def test_what_happens_in_a_call_besides_speech(tmp_path: Path) -> None:
    """Keys, transfers and nodes are events of the call; a handoff is one of agents."""
    line = line_of(retell({"role": "dtmf", "digit": "5"}, {"role": "node_transition", "new_node_id": "n2"}), tmp_path)
    assert [each["event"]["kind"] for each in line["messages"]] == ["dtmf", "node"]
    assert line["messages"][0]["event"]["digit"] == "5"
    items = [
        {"type": "agent_handoff", "id": "i1", "old_agent_id": "front", "new_agent_id": "orders", "created_at": START}
    ]
    line = line_of({"job_id": "AJ_1", "chat_history": {"items": items}, "events": []}, tmp_path / "livekit")
    (handoff,) = line["messages"]
    assert handoff["handoff"] == {"from": "front", "to": "orders"}


def test_what_a_call_is_about(tmp_path: Path) -> None:
    """Who called, how it ended and what came of it are fields of the line; another person's field can be asked for."""
    report = elevenlabs(
        user_id="u-1",
        agent_name="Orders",
        analysis={
            "call_successful": "success",
            "data_collection_results": {"drink": {"value": "Latte", "rationale": "Said so."}},
        },
    )
    report["data"]["metadata"] |= {
        "termination_reason": "user hung up",
        "phone_call": {"external_number": "+15550100001"},
    }
    line = line_of(copy.deepcopy(report), tmp_path)
    assert (line["subject_id"], line["agent"], line["outcome"], line["ended_reason"]) == (
        "u-1",
        "Orders",
        "success",
        "user hung up",
    )
    assert (line["kind"], line["channel"], line["source"]) == ("call", "phone", "elevenlabs")
    assert (line["started_at"][:19], line["ended_at"][:19]) == ("2025-11-28T12:00:00", "2025-11-28T12:00:09")
    assert line["scores"] == [
        {"name": "drink", "label": "Latte", "kind": "categorical", "source": "model", "comment": "Said so."}
    ]
    assert (
        line_of(report, tmp_path / "other", subject_key="metadata.phone_call.external_number")["subject_id"]
        == "+15550100001"
    )


def test_a_call_without_its_facts(tmp_path: Path) -> None:
    """No start, no end, no words, no arguments: nothing is made up, and nothing fails."""
    report = {
        "call_id": "c",
        "transcript_with_tool_calls": [
            {"role": "agent", "content": "Hi"},
            {"role": "tool_call_invocation", "tool_call_id": "t", "name": "end_call"},
            {"role": "tool_call_result", "tool_call_id": "t", "content": "", "successful": False},
        ],
    }
    line = line_of(report, tmp_path)
    assert "timestamp" not in line["messages"][0]
    assert "speech" not in line["messages"][0]
    assert line["messages"][1]["tool_calls"][0]["function"] == {"name": "end_call", "arguments": {}}
    assert line["messages"][2]["error"] is True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"data": {"transcript": "Hello"}}', "is no report of a call"),
        ('{"data": {"transcript": ["Hello"]}}', "transcript[0]: an item of a call is a JSON object"),
        ('{"data": {"transcript": [{"message": "cut', "call.json:1: $.data.transcript[0].message"),
        (
            '{"data": {"transcript": [{"message": "a\\u0000b"}]}}',
            "$.data.transcript[0].message: the string holds \\u0000",
        ),
        ('{"call": {"call_id": "x", "start_timestamp": NaN, "transcript_with_tool_calls": []}}', "NaN is not JSON"),
        ("", "is empty"),
    ],
)
def test_hostile_reports(text: str, told: str, tmp_path: Path) -> None:
    """What is no report, or cannot be kept, is refused with its place."""
    path = tmp_path / "call.json"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        foreign_lines("voice", [path], tmp_path)
    assert told in str(caught.value)
    assert "call.json" in str(caught.value)
