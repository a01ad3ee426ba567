"""Runs of LangSmith: exports, pages, bodies that an SDK sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.forms.form import head_of
from pipelines.ingest.forms.langsmith import FORM
from tests.support.foreign import lines_of, written
from tests.support.formats import COUNTED, read_lines, samples, stream_sha256
from tests.support.langsmith_runs import HUMAN, TOLD, a_thread, constructor, generated, run


def test_samples_hold_what_was_counted_in_them(shared_data: Path) -> None:
    """Counts and streams of every sample, by a reader that shares no code; models are listed as they were asked for."""
    for sample in samples(shared_data, "03-langsmith"):
        lines, tally = lines_of("langsmith", [sample.path])
        assert {name: tally.as_json()[name] for name in COUNTED} == {name: sample.counts[name] for name in COUNTED}, (
            sample.name
        )
        assert stream_sha256(lines) == sample.counts["stream_sha256"], sample.name
        decisions = [each["decision"] for line in lines for each in line["messages"] if "decision" in each]
        assert {each.get("model_requested", each["model"]) for each in decisions} == set(sample.counts["models"]), (
            sample.name
        )


@pytest.mark.parametrize("name", ["openhands", "tau2"])
def test_one_conversation_through_another_instrumentation(shared_data: Path, name: str) -> None:
    """LangGraph's runs and OpenTelemetry's spans of the same answers: the same messages, and decisions that agree."""
    root = shared_data / "formats/dev"
    runs, _ = lines_of("langsmith", [root / f"03-langsmith/emitted.{name}-langgraph.runs.jsonl.gz"])
    spans, _ = lines_of("otlp", [root / f"01-otlp/emitted.{name}-semconv.otlp.jsonl.gz"])
    assert sorted(map(_told, runs)) == sorted(map(_told, spans))


def _told(line: dict[str, Any]) -> str:
    """What was said and decided, without what the stub's run decides: ids, times."""
    told = []
    messages = list(line["messages"])
    while messages[-1]["role"] == "tool":
        messages.pop()  # a span alone says what it answered, and not every instrumentation has one
    for message in messages:
        decision = message.get("decision") or {}
        usage = {key: each for key, each in (decision.get("usage") or {}).items() if each}
        calls = [[each["id"], each["function"]["name"], _arguments(each)] for each in message.get("tool_calls") or ()]
        told.append(
            [message["role"], message.get("content") or "", calls, message.get("tool_call_id"), decision.get("model"), usage,
             decision.get("finish_reason"), decision.get("history")]
        )  # fmt: skip
    return json.dumps(told, sort_keys=True)


def _arguments(call: dict[str, Any]) -> Any:
    arguments = call["function"]["arguments"]
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def test_a_thread_of_runs(tmp_path: Path) -> None:
    """Ids of messages make threads exact; the project's `session_id` names no conversation."""
    (line,), tally = lines_of("langsmith", [written(tmp_path / "runs.jsonl", a_thread())])
    assert (line["conversation_id"], line["subject_id"], line["source"], line["agent"]) == (
        "s1",
        "ann",
        "langsmith/shop",
        "desk",
    )
    assert [(each["role"], each.get("content")) for each in line["messages"]] == [
        ("user", "Where is my parcel?"), ("assistant", None), ("tool", "at the depot"), ("assistant", "It is at the depot."),
    ]  # fmt: skip
    first, second = (line["messages"][n]["decision"] for n in (1, 3))
    assert (first["model"], first["model_requested"], first["provider"], first["response_id"]) == (
        "gpt-x-1",
        "gpt-x",
        "openai",
        "resp-1",
    )
    assert first["usage"] == {"input_tokens": 10, "output_tokens": 3, "cached_input_tokens": 4}
    assert (first["params"], first["finish_reason"], second["finish_reason"]) == (
        {"temperature": 0.5},
        "tool_calls",
        "stop",
    )
    assert line["tools"] == [{"type": "function", "function": {"name": "track"}}]
    assert tally.histories == {"opened": 1, "exact": 1}
    assert tally.nameless == 0


def test_every_way_in_which_runs_are_written(tmp_path: Path) -> None:
    """Lines in any order, an array, a page, JSON in the texts of a Parquet file, runs inside of runs."""
    runs = a_thread()
    (expected,), _ = lines_of("langsmith", [written(tmp_path / "a.jsonl", runs)])
    (tmp_path / "array.json").write_text(json.dumps(runs, indent=1))
    (tmp_path / "page.json").write_text(json.dumps({"runs": runs, "cursors": {}}))
    nested = {**runs[-1], "child_runs": runs[:-1]}
    (tmp_path / "nested.json").write_text(json.dumps(nested))
    texts = [{k: json.dumps(v) if isinstance(v, dict) else v for k, v in each.items()} for each in runs]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "runs.parquet")
    made = ["array.json", "page.json", "nested.json", "runs.parquet"]
    written(tmp_path / "reversed.jsonl", reversed(runs))
    for name in [*made, "reversed.jsonl"]:
        (line,), _ = lines_of("langsmith", [tmp_path / name])
        assert line["messages"] == expected["messages"], name
        assert FORM.recognises(head_of(tmp_path / name)), name


def test_a_patch_completes_what_its_post_began(tmp_path: Path) -> None:
    """Times are milliseconds in JavaScript's bodies; a patch may name its run by its order alone."""
    uuid = "0190f0c0-0000-7000-8000-000000000001"
    post = {"id": uuid, "trace_id": uuid, "name": "ChatOpenAI", "run_type": "llm", "start_time": 1772359200000,
            "dotted_order": f"20260301T100000000001Z{uuid}",
            "inputs": {"model": "gpt-x", "temperature": 0.1, "messages": [{"role": "user", "content": "hi"}]}}  # fmt: skip
    patch = {"trace_id": uuid, "dotted_order": post["dotted_order"], "end_time": 1772359201500,
             "outputs": {"id": "resp-9", "model": "gpt-x-1", "choices": [{"message": {"role": "assistant", "content": "ho"},
                         "finish_reason": {"index": 0, "delta": {}, "finish_reason": "stop"}}],
                         "usage_metadata": {"input_tokens": 1, "output_tokens": 2}}}  # fmt: skip
    (tmp_path / "body.json").write_text(json.dumps({"post": [post], "patch": [patch]}))
    (line,), tally = lines_of("langsmith", [tmp_path / "body.json"])
    decision = line["messages"][1]["decision"]
    assert line["conversation_id"] == uuid
    assert line["messages"][0]["timestamp"] == "2026-03-01T10:00:00Z"
    assert (decision["latency_ms"], decision["finish_reason"], decision["response_id"]) == (1500, "stop", "resp-9")
    assert (decision["model_requested"], decision["model"], decision["params"]) == (
        "gpt-x",
        "gpt-x-1",
        {"temperature": 0.1},
    )
    assert (tally.model_calls, tally.nameless) == (1, 1)


def test_feedback_scores_the_conversation_of_its_run(tmp_path: Path) -> None:
    """Single rows come from another endpoint, and name the run alone."""
    rows = [
        {"id": "f1", "run_id": "r4", "key": "helpful", "score": 1.0, "comment": "yes", "created_at": "2026-03-02T09:00:00",
         "feedback_source": {"type": "app"}},
        {"id": "f2", "run_id": "r1", "key": "topic", "score": None, "value": "parcels", "created_at": "2026-03-02T09:00:01",
         "feedback_source": {"type": "model"}},
    ]  # fmt: skip
    (line,), _ = lines_of("langsmith", [written(tmp_path / "f.jsonl", rows), written(tmp_path / "r.jsonl", a_thread())])
    assert [(each["name"], each.get("value"), each.get("label"), each.get("source")) for each in line["scores"]] == [
        ("helpful", 1.0, None, "human"),
        ("topic", None, "parcels", "model"),
    ]


def test_a_graph_inside_of_a_graph_is_an_agent_of_its_own(tmp_path: Path) -> None:
    """LangGraph says in which graph's node a run is; its first segment is the node of the outer one."""
    inner = run(
        5,
        "llm",
        inputs={"messages": [[constructor("SystemMessage", content="Search.", id="x1")]]},
        outputs=generated(TOLD),
    )
    inner["extra"] = {"metadata": {"thread_id": "s1", "langgraph_checkpoint_ns": "researcher:1a|agent:2b"}}
    lines, tally = lines_of("langsmith", [written(tmp_path / "r.jsonl", [*a_thread(), inner])])
    assert [line["conversation_id"] for line in lines] == ["s1", "s1/researcher"]
    assert lines[1]["agent"] == "researcher"
    assert tally.streams == 2


def test_a_thread_goes_on_in_the_next_window(shared_data: Path, tmp_path: Path) -> None:
    """Traces of a sample on the first day, all of them on the second: the first lines begin the second ones, message for message."""
    whole = list(read_lines(shared_data / "formats/dev/03-langsmith/emitted.tau2-langgraph.runs.jsonl.gz"))
    traces = sorted(
        {each["trace_id"] for each in whole}, key=lambda t: min(r["start_time"] for r in whole if r["trace_id"] == t)
    )
    early = [each for each in whole if each["trace_id"] in traces[: len(traces) // 2]]
    late = [each for each in whole if each not in early]
    day1, day2 = written(tmp_path / "1.jsonl", early), written(tmp_path / "2.jsonl.gz", late)
    before = {each["conversation_id"]: each["messages"] for each in lines_of("langsmith", [day1])[0]}
    after = {each["conversation_id"]: each["messages"] for each in lines_of("langsmith", [day2, day1])[0]}
    at_once = {
        each["conversation_id"]: each["messages"]
        for each in lines_of("langsmith", [written(tmp_path / "b.jsonl", whole)])[0]
    }
    assert after == at_once
    assert before
    for key, messages in before.items():
        assert after[key][: len(messages)] == messages


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"inputs": {}, "inputs_preview": "Where is", "outputs": {}, "outputs_preview": "It is"}, "preview"),
        ({"inputs": {}, "inputs_s3_urls": {"ROOT": "s3://x"}, "outputs": None}, "s3://x"),
    ],
)
def test_runs_without_content_are_decisions_without_words(tmp_path: Path, fields: dict[str, Any], told: str) -> None:
    """Only a preview or an address was recorded: nothing is guessed, all of it is kept."""
    (line,), tally = lines_of("langsmith", [written(tmp_path / "r.jsonl", [run(2, "llm", None, **fields)])])
    assert tally.contentless == 1
    assert all(not each.get("content") for each in line["messages"])
    assert told in json.dumps(line["records"])


def test_a_run_without_a_trace_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    lonely = {
        "id": "r9",
        "run_type": "llm",
        "start_time": "2026-03-01T10:00:00",
        "inputs": {"messages": [HUMAN]},
        "outputs": None,
    }
    (line,), tally = lines_of("langsmith", [written(tmp_path / "r.jsonl", [lonely])])
    assert (line["conversation_id"], tally.nameless) == ("r9", 1)


def test_a_copy_with_other_content_has_its_last_state(tmp_path: Path) -> None:
    """A run that was exported while it ran comes again when it has ended; what both say is said once."""
    runs = a_thread()
    pending = {**runs[2], "end_time": None, "outputs": None, "status": "pending"}
    for order in ([pending, *runs], [*runs, pending]):
        (line,), tally = lines_of("langsmith", [written(tmp_path / "r.jsonl", order)])
        assert line["messages"][-1]["content"] == "It is at the depot."
        assert (tally.duplicates, tally.model_calls) == (1, 2)
        assert '"pending"' in json.dumps(line["records"])


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{"id": "r1", "run_type": "llm"}\n{"id": "r2", "run_', "a.jsonl:2", "not JSON"),
        ('{"id": "r1", "run_type": "llm", "total_cost": Infinity}\n', "a.jsonl:1", "Infinity"),
        ('{"id": "r1", "run_type": "llm", "inputs": {"a": "b\\u0000"}}\n', "a.jsonl:1", "$.inputs.a"),
        ('{"spans": []}\n', "a.jsonl:1", "spans"),
        ("[1]\n", "a.jsonl", "object"),
    ],
)
def test_damage_is_refused_with_its_place(tmp_path: Path, text: str, place: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(BadInputError) as caught:
        lines_of("langsmith", [tmp_path / "a.jsonl"])
    assert str(caught.value).startswith(place)
    assert reason in str(caught.value)
