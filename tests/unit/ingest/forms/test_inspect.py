"""Logs of Inspect, whole and as JSON, and Scout's transcripts."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.forms.form import head_of
from pipelines.ingest.forms.inspect import FORM
from tests.support.foreign import lines_of
from tests.support.formats import COUNTED, samples, stream_sha256
from tests.support.inspect_samples import (
    ANSWERED,
    CALLED,
    HASH,
    HEADER,
    LONG,
    SYSTEM,
    USER,
    begin,
    end,
    log,
    model,
    sample,
    second,
    tool,
)


def zstandard(path: Path, *given: dict[str, Any]) -> Path:
    """The same with members compressed as logs are since 2026: written stored, then named otherwise."""
    plain = io.BytesIO()
    names: list[tuple[str, bytes, int, int]] = []
    with zipfile.ZipFile(plain, "w") as archive:
        for name, value in [
            ("header.json", HEADER),
            *((f"samples/{each['id']}_epoch_{each['epoch']}.json", each) for each in given),
        ]:
            data = json.dumps(value).encode()
            packed = pa.compress(data, codec="zstd", asbytes=True)
            archive.writestr(name, packed)
            names.append((name, data, len(packed), len(data)))
        for member, (_, data, _, size) in zip(archive.infolist(), names, strict=True):
            member.compress_type, member.file_size, member.CRC = 93, size, zipfile.crc32(data)
        archive._didModify = True
    path.write_bytes(plain.getvalue())
    return path


def test_samples_hold_what_was_counted_in_them(shared_data: Path) -> None:
    """Counts and streams of every sample, by a reader that shares no code; calls of scorers are counted, and are in no stream."""
    for each in samples(shared_data, "04-inspect"):
        lines, tally = lines_of("inspect", [each.path])
        assert {name: tally.as_json()[name] for name in COUNTED} == {name: each.counts[name] for name in COUNTED}, (
            each.name
        )
        assert stream_sha256(lines) == each.counts["stream_sha256"], each.name


@pytest.mark.filterwarnings("ignore")
def test_inspects_own_reader_finds_the_same(shared_data: Path) -> None:
    """Messages, scores and usage, of every version of a log, as its own reader has them."""
    from inspect_ai.log import read_eval_log, resolve_sample_attachments  # noqa: PLC0415 -- four seconds

    for name in ("message-pool.eval", "emitted.0.3.285-zstd.eval", "security-guide.eval", "tool-call-errors.json"):
        path = shared_data / "formats/dev/04-inspect" / name
        lines, _ = lines_of("inspect", [path])
        theirs = [resolve_sample_attachments(each, "full") for each in read_eval_log(str(path)).samples or []]
        assert len(lines) == len(theirs)
        by_id = {line["conversation_id"]: line for line in lines}
        for each in theirs:
            line = by_id.get(each.uuid or "") or lines[0]
            assert line["task_id"] == str(each.id)
            mine = [(m["role"], m.get("content") or "", m.get("tool_call_id")) for m in line["messages"]]
            assert mine == [(m.role, m.text, getattr(m, "tool_call_id", None)) for m in each.messages], name
            calls = [
                (c["id"], c["function"]["name"], c["function"]["arguments"])
                for m in line["messages"]
                for c in m.get("tool_calls", ())
            ]
            assert calls == [
                (c.id, c.function, c.arguments) for m in each.messages for c in getattr(m, "tool_calls", None) or ()
            ]
            assert {s["name"]: s.get("value", s.get("label")) for s in line.get("scores", ())} == {
                key: score.value for key, score in (each.scores or {}).items()
            }


def test_a_sample(tmp_path: Path) -> None:
    """Events tell when; texts stand in attachments; what a scorer asked is no part of the conversation."""
    (line,), tally = lines_of("inspect", [log(tmp_path / "a.eval", sample())])
    assert (line["conversation_id"], line["source"], line["task_id"], line["variant"]) == (
        "u1",
        "inspect/shop",
        "lamps",
        "openai/gpt-x",
    )
    assert [(each["role"], each.get("content")) for each in line["messages"]] == [
        ("system", LONG), ("user", "How many lamps?"), ("assistant", None), ("tool", "3"), ("assistant", "Three."),
    ]  # fmt: skip
    decision = line["messages"][2]["decision"]
    assert decision["usage"] == {"input_tokens": 10, "output_tokens": 2, "cached_input_tokens": 4}
    assert (decision["model"], decision["model_requested"], decision["provider"]) == (
        "gpt-x-1",
        "openai/gpt-x",
        "openai",
    )
    assert (decision["latency_ms"], decision["params"]) == (400, {"temperature": 0.5, "tool_choice": "auto"})
    assert line["messages"][4]["reasoning"] == [{"text": "count", "signature": "sig"}]
    assert line["messages"][3]["timestamp"] == "2026-03-01T10:00:02.2Z"
    assert [(each["name"], each.get("value"), each.get("label"), each.get("comment")) for each in line["scores"]] == [
        ("right", None, "C", "so it is"),
        ("speed", 0.5, None, None),
    ]
    assert line["outcome"] == {"right": "C", "speed": 0.5}
    assert "GRADE: C" in json.dumps(line["records"])
    assert (tally.model_calls, tally.input_tokens, tally.output_tokens, tally.streams) == (3, 30, 6, 1)


def test_the_same_sample_in_every_file_format(tmp_path: Path) -> None:
    """Deflate and Zstandard, JSON, a log without a header, Scout's table; messages and calls in pools, nested events of older logs."""
    given = sample()
    expected = lines_of("inspect", [log(tmp_path / "a.eval", given)])[0][0]["messages"]
    zstandard(tmp_path / "zstd.eval", given)
    log(tmp_path / "running.eval", given, header=None)
    (tmp_path / "log.json").write_text(json.dumps({**HEADER, "samples": [given]}, indent=1))
    pooled = json.loads(json.dumps(given))
    pooled["events_data"] = {"messages": [SYSTEM, USER, CALLED, ANSWERED], "calls": []}
    pooled["events"][1] |= {"input": [], "input_refs": [[0, 2]]}
    pooled["events"][5] |= {"input": [], "input_refs": [[0, 3], [3, 4]]}
    log(tmp_path / "pooled.eval", pooled)
    lost = {**pooled, "events_data": {"messages": [], "calls": []}}
    log(tmp_path / "lost.eval", lost)
    texts = {key: json.dumps(pooled[key]) for key in ("messages", "events", "events_data", "scores")}
    row = {"transcript_id": "u1", "source_type": "eval_log", "source_id": "e1", "task_set": "shop", "task_id": "lamps", "task_repeat": 1,
           "model": "openai/gpt-x", "model_options": "{}", **texts}  # fmt: skip
    row["events"] = row["events"].replace(f"attachment://{HASH}", LONG)
    row["events_data"] = row["events_data"].replace(f"attachment://{HASH}", LONG)
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "scout.parquet")
    for name in ("zstd.eval", "running.eval", "log.json", "pooled.eval", "lost.eval", "scout.parquet"):
        (line,), _ = lines_of("inspect", [tmp_path / name])
        assert line["messages"] == expected, name
        assert (line["conversation_id"], line["source"], line["task_id"]) == ("u1", "inspect/shop", "lamps"), name
        assert FORM.recognises(head_of(tmp_path / name)), name


def test_epochs_of_a_task_come_in_their_order(tmp_path: Path) -> None:
    """The first run of a task is the one that a comparison takes first; settings of the model tell variants apart."""
    given = [sample(epoch=n, uuid=f"u{n}", id=name) for n in (10, 2, 1) for name in ("lamps", "desks")]
    other = {**HEADER, "eval": {**HEADER["eval"], "model_generate_config": {"temperature": 1.0}}}
    for number, each in enumerate(given):
        each["uuid"] = f"u{number}"
    lines, _ = lines_of("inspect", [log(tmp_path / "a.eval", *given)])
    assert [line["task_id"] for line in lines] == ["lamps", "desks"] * 3
    epochs = [next(each["epoch"] for each in line["records"].values() if "epoch" in each) for line in lines]
    assert epochs == [1, 1, 2, 2, 10, 10]
    (warm,), _ = lines_of("inspect", [log(tmp_path / "b.eval", sample(), header=other)])
    assert warm["variant"].startswith("openai/gpt-x#")


def test_a_sample_that_stands_in_two_logs_is_one(tmp_path: Path) -> None:
    """A log that was retried has the samples of the one before; one that says something else is refused, with both places."""
    first, again = log(tmp_path / "a.eval", sample()), log(tmp_path / "b.eval", sample(), sample(uuid="u2", id="desks"))
    lines, _ = lines_of("inspect", [first, again])
    assert [line["conversation_id"] for line in lines] == ["u1", "u2"]
    other = log(tmp_path / "c.eval", sample(messages=[USER]))
    with pytest.raises(BadInputError, match=r"c\.eval.*u1.*a\.eval"):
        lines_of("inspect", [first, other])


def test_an_agent_that_a_tool_starts_is_a_stream_of_its_own(tmp_path: Path) -> None:
    """Its span hangs under the tool's; the call of the tool is what started it."""
    given = sample()
    asked = [{"id": "a0", "role": "user", "content": "Count the lamps."}]
    given["events"][3:5] = [
        tool(2, agent_span_id="ag", completed=second(2.9)),
        begin(2.1, "ag", "agent", "t1", "counter"),
        model(2.2, asked, {"id": "a1", "role": "assistant", "content": "3"}, "ag"),
        end(2.8, "ag"),
        end(2.9, "t1"),
    ]
    lines, _ = lines_of("inspect", [log(tmp_path / "a.eval", given)])
    assert [line["conversation_id"] for line in lines] == ["u1", "u1/counter"]
    assert lines[1]["parent"] == {"conversation_id": "u1", "call_id": "c1"}
    assert [each["content"] for each in lines[1]["messages"]] == ["Count the lamps.", "3"]
    assert [each["role"] for each in lines[0]["messages"]] == ["system", "user", "assistant", "tool", "assistant"]


def test_calls_that_failed_and_samples_that_ended_early(tmp_path: Path) -> None:
    given = sample(
        limit={"type": "token", "limit": 5.0}, error={"message": "out of tokens", "traceback": "…"}, scores=None
    )
    failed = model(
        3, [SYSTEM, USER, CALLED, ANSWERED], {"id": "m9", "role": "assistant", "content": ""}, error="rate limit"
    )
    given["events"] = [*given["events"][:5], failed]
    (line,), _ = lines_of("inspect", [log(tmp_path / "a.eval", given)])
    last = line["messages"][-1]
    assert last["decision"]["error"] == "rate limit"
    assert not last.get("content")
    assert (line["outcome"], line["ended_reason"]) == ({"error": "out of tokens"}, "token")


@pytest.mark.parametrize(("value", "success"), [("C", True), ("I", False), (True, True), (0.5, None), ("P", None)])
def test_the_one_score_says_whether_a_sample_succeeded(tmp_path: Path, value: Any, success: bool | None) -> None:
    """Inspect's letters and booleans; a number has a scale of its own, and a part is neither."""
    (line,), _ = lines_of("inspect", [log(tmp_path / "a.eval", sample(scores={"right": {"value": value}}))])
    assert line["outcome"] == ({} if success is None else {"success": success}) | {"right": value}


def test_messages_alone_are_a_stream(tmp_path: Path) -> None:
    """Without events there are no requests: models are known where a message names its own."""
    given = sample(events=[])
    (line,), tally = lines_of("inspect", [log(tmp_path / "a.eval", given)])
    assert [each["role"] for each in line["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert line["messages"][2]["decision"]["model"] == "gpt-x-1"
    assert tally.model_calls == 0


def damaged(path: Path, **fields: Any) -> bytes:
    return log(path, sample(**fields)).read_bytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-30], "zip"),
        (lambda data: data[:200] + bytes(60) + data[260:], "damaged"),
        (lambda data: b"PK\x03\x04", "zip"),
    ],
)
def test_a_damaged_log_is_refused_with_its_member(tmp_path: Path, change: Any, reason: str) -> None:
    path = tmp_path / "a.eval"
    path.write_bytes(change(damaged(path)))
    with pytest.raises(BadInputError) as caught:
        lines_of("inspect", [path])
    assert str(caught.value).startswith("a.eval")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": "a\0b"}, r"lamps_epoch_1\.json: \$\.input"),
        ({"events": [1]}, r"events\[0\]: an event must be an object"),
        ({"metadata": float("nan")}, "NaN"),
    ],
)
def test_what_a_sample_may_not_hold_is_refused_with_its_place(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadInputError, match=reason):
        lines_of("inspect", [log(tmp_path / "a.eval", sample(**fields))])


def test_a_member_that_does_not_fit_is_not_unpacked(tmp_path: Path) -> None:
    """A zip says how large a member is; what would not fit is refused by that."""
    path = log(tmp_path / "a.eval", sample(target="x" * 30_000_000))
    with pytest.raises(BadInputError, match="REFOLD_MEMORY"):
        lines_of("inspect", [path], memory_bytes=200_000_000)
