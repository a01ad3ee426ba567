"""Traces, observations and scores of Langfuse, in all the shapes in which they leave it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.forms.form import head_of
from pipelines.ingest.forms.langfuse import FORM
from tests.support.foreign import lines_of, written
from tests.support.formats import COUNTED, canonical, samples, stream_sha256, streams_of
from tests.support.langfuse_rows import ANSWERED, ASKED, CALLED, TOLD, a_session, observation, trace


def said(lines: list[dict[str, Any]]) -> list[list[list[Any]]]:
    return streams_of(lines)


# Outputs that the counting program does not read: a choice (`{index, message}`), a candidate of Gemini, a list of calls as the Vercel
# SDK writes it. What the agent said there was billed for, and is said; without it the stream is the one that was counted.
UNCOUNTED = {
    "google-adk-2025-08-28.trace.json.gz": {"agent_text": 1},
    "pydantic-ai-2025-06-06.trace.json.gz": {"agent_text": 1},
    "pydantic-ai-tools-2025-06-06.trace.json.gz": {"agent_text": 1},
    "vercel-aisdk-2025-11-17.trace.json.gz": {"tool_calls": 1},
    "export.observations.jsonl": {"agent_text": 3},
    "export.observations_v2.csv": {"agent_text": 3},
    "export.observations_v2.parquet": {"agent_text": 3},
}


def test_samples_hold_what_was_counted_in_them(shared_data: Path) -> None:
    """Counts and streams of every sample, by a reader that shares no code."""
    for sample in samples(shared_data, "02-langfuse"):
        lines, tally = lines_of("langfuse", [sample.path])
        expected = {name: sample.counts[name] for name in COUNTED} | UNCOUNTED.get(sample.name, {})
        assert {name: tally.as_json()[name] for name in COUNTED} == expected, sample.name
        if sample.name.startswith("claude-agent"):
            # Three of its inputs are rubbish, so no model is seen to have been sent what its tools answered: their spans say it.
            streams = [[each for each in stream if each[0] != "tool"] for stream in streams_of(lines)]
            assert sha256_of(streams) == sample.counts["stream_sha256"]
            assert [each["time_source"] for each in lines[0]["messages"] if each["role"] == "tool"] == ["span", "span"]
        elif sample.name not in UNCOUNTED:
            assert stream_sha256(lines) == sample.counts["stream_sha256"], sample.name


@pytest.mark.parametrize("name", [name for name in UNCOUNTED if name.endswith(".gz")])
def test_answers_that_were_not_counted_stand_in_the_file(shared_data: Path, name: str) -> None:
    """The one message that a stream has beyond the counted ones is the last model call's output."""
    (sample,) = [each for each in samples(shared_data, "02-langfuse") if each.name == name]
    lines, _ = lines_of("langfuse", [sample.path])
    document = json.loads(gzip.decompress(sample.path.read_bytes()))
    calls = [each for each in document["observations"] if each["type"] == "GENERATION"]
    output = json.loads(max(calls, key=lambda each: each["startTime"])["output"])
    (stream,) = streams_of(lines)
    role, text, tools = stream.pop()
    assert role == "assistant"
    if isinstance(output, list):
        assert tools == [
            [each["toolName"], json.dumps(json.loads(each["input"]), separators=(",", ":"))] for each in output
        ]
    elif "message" in output:
        assert text == output["message"]["content"].strip()
    else:
        assert text == "".join(part["text"] for part in output["content"]["parts"]).strip()
    assert sha256_of([stream]) == sample.counts["stream_sha256"]


def sha256_of(streams: list[list[list[Any]]]) -> str:
    """The hash of streams, as `stream_sha256` defines it."""
    return hashlib.sha256(canonical(sorted(streams, key=canonical)).encode()).hexdigest()


def test_exports_of_the_same_traces_say_the_same(shared_data: Path) -> None:
    """JSON lines, CSV and Parquet hold the same rows; with traces and scores beside them they say more of the conversation."""
    root = shared_data / "formats/dev/02-langfuse"
    rows = [root / f"export.observations{each}" for each in (".jsonl", "_v2.csv", "_v2.parquet")]
    streams = [said(lines_of("langfuse", [path])[0]) for path in rows]
    assert sorted(map(str, streams[0])) == sorted(map(str, streams[1])) == sorted(map(str, streams[2]))
    joined, _ = lines_of("langfuse", [root / "export.scores.jsonl", rows[0], root / "export.traces.jsonl"])
    assert sorted(map(str, said(joined))) == sorted(map(str, streams[0]))
    assert {len(line.get("scores", ())) for line in joined} == {1}
    assert {line["conversation_id"] for line in joined} == {
        line["conversation_id"] for line in lines_of("langfuse", [rows[1]])[0]
    }
    assert all(
        line["subject_id"]
        for line in joined
        if "/" not in line["conversation_id"][:8] and line["conversation_id"].startswith(("session", "demo"))
    )


def test_a_session_stands_on_the_trace_alone(tmp_path: Path) -> None:
    """A legacy export keeps session and user on the trace, in a file of its own, before or after the observations."""
    observations = written(tmp_path / "observations.jsonl", a_session())
    traces = written(tmp_path / "traces.jsonl.gz", [trace(sessionId="s1", userId="ann", release="r2", tags=["vip"])])
    for files in ([observations, traces], [traces, observations]):
        (line,), tally = lines_of("langfuse", files)
        assert (line["conversation_id"], line["subject_id"], line["variant"]) == ("s1", "ann", "r2")
        assert (line["source"], line["agent"], line["tags"]) == ("langfuse/p1", "desk", ["vip"])
        assert tally.nameless == 0
        assert [each["role"] for each in line["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_without_a_session_the_trace_names_the_conversation(tmp_path: Path) -> None:
    lines, tally = lines_of("langfuse", [written(tmp_path / "o.jsonl", a_session())])
    assert [line["conversation_id"] for line in lines] == ["t1"]
    assert tally.nameless == 1


def test_attributes_of_opentelemetry_name_what_langfuse_does_not(tmp_path: Path) -> None:
    """They stand in the metadata, as JSON in text."""
    attributes = {
        "gen_ai.conversation.id": "c-9",
        "gen_ai.response.id": "resp-1",
        "gen_ai.request.model": "gpt",
        "gen_ai.system": "openai",
    }
    row = observation(
        1, input=ASKED, output=TOLD, model="gpt-x", metadata=json.dumps({"attributes": json.dumps(attributes)})
    )
    (line,), _ = lines_of("langfuse", [written(tmp_path / "o.jsonl", [row])])
    decision = line["messages"][1]["decision"]
    assert line["conversation_id"] == "c-9"
    assert (decision["model"], decision["model_requested"]) == ("gpt-x", "gpt")
    assert (decision["response_id"], decision["provider"]) == ("resp-1", "openai")


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        ({"input": 10, "output": 4, "total": 14}, {"input_tokens": 10, "output_tokens": 4}),
        # Langfuse keeps what was cached and reasoned apart from input and output.
        (
            {"input": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 20, "output": 4, "total": 124},
            {"input_tokens": 120, "output_tokens": 4, "cached_input_tokens": 90, "cache_write_tokens": 20},
        ),
        (
            {"input": 10, "input_cached_tokens": 30, "output": 4, "output_reasoning_tokens": 6, "total": 50},
            {"input_tokens": 40, "output_tokens": 10, "cached_input_tokens": 30, "reasoning_tokens": 6},
        ),
        ({"input_tokens": 7, "output_tokens": 2}, {"input_tokens": 7, "output_tokens": 2}),
        ({}, None),
    ],
)
def test_tokens_are_added_up_again(tmp_path: Path, details: dict[str, int], usage: dict[str, int] | None) -> None:
    """`input` is without what was cached; a run line's `input_tokens` is with it. What a sum was made of is kept."""
    row = observation(1, input=ASKED, output=TOLD, usageDetails=details)
    (line,), _ = lines_of("langfuse", [written(tmp_path / "o.jsonl", [row])])
    decision = line["messages"][1]["decision"]
    assert decision.get("usage") == usage
    if usage and "cached_input_tokens" in usage:
        assert str(details["input"]) in json.dumps(line["records"])


def test_scores_are_of_calls_and_of_conversations(tmp_path: Path) -> None:
    scores = [
        {"id": "s-1", "traceId": "t1", "name": "helpful", "value": 1, "stringValue": "True", "dataType": "BOOLEAN", "source": "ANNOTATION",
         "comment": "kind", "timestamp": "2026-03-01T11:00:00.000Z", "projectId": "p1"},
        {"id": "s-2", "traceId": "t1", "observationId": "o3", "name": "tone", "value": 0.25, "dataType": "NUMERIC", "source": "EVAL",
         "timestamp": "2026-03-01T11:00:01.000Z", "projectId": "p1"},
        {"id": "s-3", "observationId": "o3", "name": "topic", "value": None, "stringValue": "parcels", "dataType": "CATEGORICAL",
         "source": "API", "timestamp": "2026-03-01T11:00:02.000Z", "projectId": "p1"},
    ]  # fmt: skip
    (line,), _ = lines_of("langfuse", [written(tmp_path / "all.jsonl", [*scores, *a_session()])])
    assert [
        (each["name"], each.get("value"), each.get("label"), each.get("kind"), each.get("source"))
        for each in line["scores"]
    ] == [
        ("helpful", 1, "True", "boolean", "human"),
        ("tone", 0.25, None, "numeric", "model"),
        ("topic", None, "parcels", "categorical", None),
    ]


def test_ingestion_events_are_folded_by_id(tmp_path: Path) -> None:
    """An update says what came later, and leaves out what it does not change."""
    made = {"id": "g1", "traceId": "t1", "startTime": "2026-03-01T10:00:01.000Z", "input": ASKED, "model": "gpt"}
    ended = {"id": "g1", "endTime": "2026-03-01T10:00:02.000Z", "output": TOLD, "model": "gpt-x"}
    events = [
        {"id": "e2", "type": "generation-update", "timestamp": "2026-03-01T10:00:02.100Z", "body": ended},
        {"id": "e0", "type": "trace-create", "timestamp": "2026-03-01T10:00:00.100Z", "body": trace(sessionId="s1")},
        {"id": "e1", "type": "generation-create", "timestamp": "2026-03-01T10:00:01.100Z", "body": made},
    ]
    for values in (events, [{"batch": events}]):
        (line,), tally = lines_of("langfuse", [written(tmp_path / "events.jsonl", values)])
        assert [each["content"] for each in line["messages"]] == ["Where is my parcel?", "It is at the depot."]
        assert line["messages"][1]["decision"]["model"] == "gpt-x"
        assert "gpt" in json.dumps(line["records"])  # what the first event said otherwise
        assert (line["conversation_id"], tally.model_calls, tally.duplicates) == ("s1", 1, 1)


def test_what_comes_again_in_a_later_window_is_one_record(tmp_path: Path) -> None:
    """Windows overlap: equal copies are counted, another one has its last state, and what it said before is kept."""
    rows = a_session()
    changed = {
        **rows[2],
        "updatedAt": "2026-03-02T00:00:00.000Z",
        "output": {"role": "assistant", "content": "It left the depot."},
    }
    first = written(tmp_path / "day1.jsonl", rows)
    again = written(tmp_path / "day2.jsonl", [rows[0], rows[1], changed])
    (line,), tally = lines_of("langfuse", [again, first])
    assert line["messages"][-1]["content"] == "It left the depot."
    assert "It is at the depot." in json.dumps(line["records"])
    assert tally.duplicates == 3


def test_a_session_goes_on_in_the_next_window(tmp_path: Path) -> None:
    """The lines of the first day begin those of both days, read at once or one after the other."""
    rows = [{**each, "sessionId": "s1"} for each in a_session()]
    later = observation(40, traceId="t2", sessionId="s1", output={"role": "assistant", "content": "Bye."})
    later["input"] = [*ASKED, CALLED, ANSWERED, TOLD, {"role": "user", "content": "Thanks"}]
    day1, day2 = written(tmp_path / "1.jsonl", rows), written(tmp_path / "2.jsonl", [later])
    (before,), _ = lines_of("langfuse", [day1])
    (after,), _ = lines_of("langfuse", [day1, day2])
    (whole,), _ = lines_of("langfuse", [written(tmp_path / "both.jsonl", [later, *reversed(rows)])])
    assert after["messages"] == whole["messages"]
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert len(after["messages"]) == len(before["messages"]) + 2


def test_the_same_rows_in_every_file_format(tmp_path: Path) -> None:
    """Snake case in tables, JSON in text, maps in Parquet, times with and without a zone, line breaks inside of a cell."""
    rows = [
        {
            "id": each["id"], "trace_id": "t1", "project_id": "p1", "environment": "default", "type": each["type"],
            "parent_observation_id": "", "start_time": each["startTime"].replace("T", " ").rstrip("Z"),
            "end_time": each["endTime"].replace("T", " ").rstrip("Z"), "name": each["name"], "metadata": {"note": 'two\nlines, "quoted"'},
            "input": json.dumps(each["input"], indent=1), "output": each["output"] if isinstance(each["output"], str) else json.dumps(each["output"]),
            "provided_model_name": each.get("model", ""), "usage_details": each.get("usageDetails", {}), "total_cost": 0.5,
            "session_id": "s1", "user_id": "ann", "trace_name": "desk", "release": "", "tags": ["vip"],
        }
        for each in a_session()
    ]  # fmt: skip
    lines = written(tmp_path / "o.jsonl", rows)
    table = tmp_path / "o.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {key: each if isinstance(each, str) else json.dumps(each) for key, each in row.items()} for row in rows
        )
    packed = tmp_path / "o.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    kinds = {"metadata": pa.map_(pa.string(), pa.string()), "usage_details": pa.map_(pa.string(), pa.uint64())}
    columns = {
        name: pa.array([list(row[name].items()) if name in kinds else row[name] for row in rows], kinds.get(name))
        for name in rows[0]
    }
    columns["start_time"] = pa.array([f"{each['start_time']}Z" for each in rows]).cast(pa.timestamp("us", "UTC"))
    parquet = tmp_path / "o.parquet"
    pq.write_table(pa.table(columns), parquet)
    made = [lines_of("langfuse", [path])[0] for path in (lines, table, packed, parquet)]
    for each in made:
        assert [line["messages"] for line in each] == [line["messages"] for line in made[0]]
        assert [line["conversation_id"] for line in each] == ["s1"]
        assert 'two\\nlines, \\"quoted\\"' in json.dumps(each[0]["records"])
    assert all(FORM.recognises(head_of(path)) for path in (lines, table, packed, parquet))


@pytest.mark.parametrize(
    ("name", "text", "place", "reason"),
    [
        ("a.jsonl", '{"id": "o1", "type": "SPAN"}\n{"id": "o2", "ty', "a.jsonl:2", "not JSON"),
        (
            "a.json",
            '{"trace": {"id": "t1", "timestamp": "2026-01-01"},\n "observations": [{"id": "o',
            "a.json",
            "not JSON",
        ),
        ("a.jsonl", '{"id": "o1", "type": "SPAN", "input": "a\\u0000b"}\n', "a.jsonl:1", "$.input"),
        ("a.jsonl", '{"id": "o1", "type": "SPAN", "totalCost": NaN}\n', "a.jsonl:1", "NaN"),
        ("a.jsonl", '{"id": "o1", "type": "SPAN", "name": "\\ud800"}\n', "a.jsonl:1", "surrogate"),
        ("a.jsonl", '{"resourceSpans": []}\n', "a.jsonl:1", "resourceSpans"),
        ("a.jsonl", '{"id": "o1", "type": "SPAN"}\n["x"]\n', "a.jsonl", "object"),
        ("a.csv", "id,trace_id,type\no1,t1,SPAN\no2,t1\n", "a.csv:3", "2 fields"),
        ("a.csv", 'id,trace_id,type\no1,t1,"SPAN\n', "a.csv", "CSV"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00damaged", "a.jsonl.gz", "gzip"),
        ("a.parquet", b"PAR1 and no more", "a.parquet", "Parquet"),
        ("a.jsonl", "", "a.jsonl", "empty"),
    ],
)
def test_damage_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str | bytes, place: str, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInputError) as caught:
        lines_of("langfuse", [path])
    assert str(caught.value).startswith(place)
    assert reason in str(caught.value)


def test_numbers_that_json_has_not_are_their_text(tmp_path: Path) -> None:
    """A price of NaN in a Parquet file is kept as what it was, and is no price."""
    row = {
        "id": "o1",
        "trace_id": "t1",
        "project_id": "p1",
        "type": "GENERATION",
        "input": "hi",
        "output": "ho",
        "total_cost": float("nan"),
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (line,), _ = lines_of("langfuse", [tmp_path / "a.parquet"])
    assert "cost_usd" not in line["messages"][1]["decision"]
    assert '"nan"' in json.dumps(line["records"])


def test_an_input_that_is_no_list_of_messages_is_kept_and_not_guessed(tmp_path: Path) -> None:
    rows = [
        observation(1, input={"content": "role"}, output=TOLD),
        observation(2, traceId="t2", input='[{"role": "user", "content": "cut o', output=TOLD),
    ]
    lines, _ = lines_of("langfuse", [written(tmp_path / "a.jsonl", rows)])
    assert '"content": "role"' in json.dumps(lines[0]["records"])
    assert "cut o" in json.dumps(lines[1])


def test_a_model_that_answers_in_json_said_that_text(tmp_path: Path) -> None:
    """Text that happens to be JSON is text."""
    rows = [observation(1, input=ASKED, output='{"place": "depot",  "days": 2}')]
    (line,), _ = lines_of("langfuse", [written(tmp_path / "a.jsonl", rows)])
    assert line["messages"][1]["content"] == '{"place": "depot",  "days": 2}'


def test_a_call_that_failed_is_a_decision_with_its_error(tmp_path: Path) -> None:
    rows = [observation(1, input=ASKED, output=None, level="ERROR", statusMessage="rate limit", model="gpt-x")]
    (line,), _ = lines_of("langfuse", [written(tmp_path / "a.jsonl", rows)])
    (failed,) = [each for each in line["messages"] if "decision" in each]
    assert failed["decision"]["error"] == "rate limit"
    assert not failed.get("content")


GENAI_ASKED = [{"role": "user", "parts": [{"type": "text", "content": "Where is my parcel?"}]}]
GENAI_CALLED = {"type": "tool_call", "id": "c1", "name": "track", "arguments": {"parcel": 7}}
IN_ATTRIBUTES = {
    "genai": {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
        "gen_ai.input.messages": GENAI_ASKED,
        "gen_ai.output.messages": [{"role": "assistant", "parts": [GENAI_CALLED], "finish_reason": "tool_calls"}],
    },
    "openllmetry": {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be kind.",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Where is my parcel?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.id": "c1",
        "gen_ai.completion.0.tool_calls.0.name": "track",
        "gen_ai.completion.0.tool_calls.0.arguments": '{"parcel": 7}',
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be kind.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "Where is my parcel?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "track",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"parcel": 7}',
    },
    "vercel": {
        "ai.prompt.messages": [{"role": "system", "content": "Be kind."}, *ASKED],
        "ai.response.toolCalls": [{"toolCallId": "c1", "toolName": "track", "input": '{"parcel": 7}'}],
        "ai.response.finishReason": "tool-calls",
    },
}


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("dialect", IN_ATTRIBUTES)
def test_messages_that_stand_in_attributes_alone(dialect: str, is_text: bool, tmp_path: Path) -> None:
    """What an SDK of OpenTelemetry sent and the store left in the metadata is read as the span's own; what nobody takes stays."""
    said_there = {
        name: json.dumps(value) if is_text and not isinstance(value, str) else value
        for name, value in IN_ATTRIBUTES[dialect].items()
    }
    attributes = {**said_there, "llm.tools.0.tool.json_schema": "{}", "my.own": "kept here"}
    rows = [observation(1, input=None, output=None, model="m", metadata={"attributes": attributes})]
    (line,), tally = lines_of("langfuse", [written(tmp_path / "rows.jsonl", rows)])
    assert said([line]) == [
        [
            ["system", "Be kind.", []],
            ["user", "Where is my parcel?", []],
            ["assistant", "", [["track", '{"parcel":7}']]],
        ]
    ]
    assert tally.contentless == 0
    assert "kept here" in json.dumps(line["records"])
    assert "llm.tools.0.tool.json_schema" in json.dumps(line["records"])


def test_attributes_do_not_overrule_an_observation(tmp_path: Path) -> None:
    """Where the observation has an answer, its own is what counts, and what the attributes say beside is kept."""
    row = observation(1, input=ASKED, output=TOLD, metadata={"attributes": dict(IN_ATTRIBUTES["openllmetry"])})
    (line,), _ = lines_of("langfuse", [written(tmp_path / "rows.jsonl", [row])])
    assert [each["content"] for each in line["messages"]] == ["Where is my parcel?", "It is at the depot."]
    assert "gen_ai.completion.0.tool_calls.0.name" in json.dumps(line["records"])
