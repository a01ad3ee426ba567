"""Logs of coding agents: answers in several lines, sub-agents, what is not the person, compaction, usage that comes twice, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest.assemble.accounting import Tally
from tests.support.foreign_lines import foreign_lines, refusal, written
from tests.support.formats import streams_of


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000Z"


def claude(kind: str, uuid: str, content: Any, second: int = 0, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content} | more.pop("message", {})
    return {"type": kind, "uuid": uuid, "sessionId": "s", "timestamp": at(second), "message": message, **more}


def lines_of(form: str, folder: Path, *rows: Any, tally: Tally | None = None) -> list[dict[str, Any]]:
    return foreign_lines(form, [written(folder / f"{form}.jsonl", *rows)], folder, tally)


def test_claude_an_answer_is_several_lines(tmp_path: Path) -> None:
    """Lines with one message id are one answer and one call, whose last usage counts, though a result stands between them."""
    usage = {"input_tokens": 2, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1}
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    rows = [
        claude("user", "u1", "List."),
        claude(
            "assistant",
            "a1",
            [{"type": "text", "text": "So."}],
            1,
            message={"id": "m", "usage": {**usage, "output_tokens": 3}},
        ),
        claude(
            "assistant",
            "a2",
            [call],
            2,
            message={"id": "m", "usage": {**usage, "output_tokens": 99}, "model": "claude-x"},
        ),
        claude(
            "user",
            "u2",
            [{"type": "tool_result", "tool_use_id": "t1", "content": "a.txt"}],
            3,
            toolUseResult={"stdout": "a.txt"},
        ),
    ]
    tally = Tally()
    (line,) = lines_of("claude-code", tmp_path, *rows, tally=tally)
    assert [each["role"] for each in line["messages"]] == ["user", "assistant", "tool"]
    answer = line["messages"][1]
    assert (answer["content"], answer["tool_calls"][0]["function"]["name"]) == ("So.", "Bash")
    assert answer["decision"]["usage"]["input_tokens"] == 8
    assert (tally.model_calls, tally.input_tokens, tally.output_tokens) == (1, 8, 99)
    assert answer["decision"]["latency_ms"] == 1000
    assert '"stdout"' in json.dumps(line["records"])


@pytest.mark.parametrize("is_new", [False, True])
def test_claude_sub_agents(is_new: bool, tmp_path: Path) -> None:
    """Sub-agents are streams that name the call that started them: by their prompt in older files, by their id in newer ones."""
    task = {"type": "tool_use", "id": "t1", "name": "Task", "input": {"prompt": "Look.", "subagent_type": "explore"}}
    mark = {"agentId": "a9", "isSidechain": True} if is_new else {"isSidechain": True}
    prompt = "Look." if not is_new else "Look, and more."
    rows = [
        claude("user", "u1", "Go."),
        claude("assistant", "a1", [task], 1, message={"id": "m1"}),
        claude("user", "s1", prompt, 2, parentUuid=None, **mark),
        claude("assistant", "s2", [{"type": "text", "text": "Found."}], 3, parentUuid="s1", message={"id": "m2"}, **mark),
        claude(
            "user", "u2", [{"type": "tool_result", "tool_use_id": "t1", "content": "Found."}], 4, toolUseResult={"agentId": "a9"}
        ),
    ]  # fmt: skip
    main, side = lines_of("claude-code", tmp_path, *rows)
    assert [each["role"] for each in main["messages"]] == ["user", "assistant", "tool"]
    assert [each["content"] for each in side["messages"]] == [prompt, "Found."]
    assert side["conversation_id"] == ("s/a9" if is_new else "s/s1")
    assert side["parent"] == {"conversation_id": "s", "call_id": "t1"}
    assert side["agent"] == "explore"
    beside = [written(tmp_path / "s.jsonl", *rows[:2], rows[4]), written(tmp_path / "agent-a9.jsonl", *rows[2:4])]
    assert foreign_lines("claude-code", beside, tmp_path)[1]["messages"] == side["messages"]


def test_claude_what_is_not_the_person(tmp_path: Path) -> None:
    """What Claude Code wrote in the person's place says what it is; a person's text says nothing of the kind."""
    rows = [
        claude("user", "u1", "<command-name>/init</command-name>"),
        claude("user", "u2", "Caveat: …", isMeta=True),
        claude("user", "u3", "Hello"),
        {
            "type": "system",
            "subtype": "compact_boundary",
            "uuid": "b",
            "sessionId": "s",
            "compactMetadata": {"trigger": "auto"},
        },
        claude("user", "u4", "What was before.", isCompactSummary=True),
    ]
    (line,) = lines_of("claude-code", tmp_path, *rows)
    assert [each.get("supplied") for each in line["messages"]] == ["command", "meta", None, None, "summary"]
    compacted = line["messages"][3]
    assert (compacted["compacted"]["trigger"], compacted["compacted"]["to_message"]) == (
        "auto",
        3,
    )


def test_claude_rewinds(tmp_path: Path) -> None:
    """A person who goes back and asks otherwise leaves what was said where it is, and the context gives it up."""
    rows = [
        claude("user", "u1", "Hi."),
        claude("assistant", "a1", [{"type": "text", "text": "Yes?"}], parentUuid="u1", message={"id": "m1"}),
        claude("user", "u2", "Left.", parentUuid="a1"),
        claude("assistant", "a2", [{"type": "text", "text": "Going left."}], parentUuid="u2", message={"id": "m2"}),
        claude("user", "u3", "Right.", parentUuid="a1"),
        claude("assistant", "a3", [{"type": "text", "text": "Going right."}], parentUuid="u3", message={"id": "m3"}),
    ]
    (line,) = lines_of("claude-code", tmp_path, *rows)
    assert [each.get("content") for each in line["messages"]] == [
        "Hi.",
        "Yes?",
        "Left.",
        "Going left.",
        None,
        "Right.",
        "Going right.",
    ]
    payload = line["messages"][4]["compacted"]
    assert (payload["kind"], payload["from_message"], payload["to_message"]) == ("rewind", 2, 4)
    whole = lines_of("claude-code", tmp_path, *rows[:4])[0]["messages"]
    assert whole == line["messages"][:4]


def test_claude_denied_and_written_again(tmp_path: Path) -> None:
    """A call that a person refused, a line that was written twice, a time that is none, parents that go in a circle."""
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    denied = claude(
        "user",
        "u2",
        [{"type": "tool_result", "tool_use_id": "t1", "content": "No.", "is_error": True}],
        toolDenialKind="user",
    )
    odd = claude("assistant", "x1", [{"type": "text", "text": "Hm."}], isSidechain=True, parentUuid="x2") | {
        "timestamp": "[trimmed]"
    }
    other = claude("assistant", "x2", [{"type": "text", "text": "Oh."}], isSidechain=True, parentUuid="x1")
    tally = Tally()
    rows = [claude("assistant", "a1", [call]), denied, denied, odd, other]
    main, *sides = lines_of("claude-code", tmp_path, *rows, tally=tally)
    assert (main["messages"][1]["denied"], main["messages"][1]["error"]) == (True, True)
    assert len(main["messages"]) == 2
    assert tally.repeated == 10  # of the line that came again
    assert sum(len(side["messages"]) for side in sides) == 2
    assert "timestamp" not in next(m for side in sides for m in side["messages"] if m["content"] == "Hm.")


def test_codex_answers_and_their_usage(tmp_path: Path) -> None:
    """Items that follow each other are one answer; its usage is that of the count after it, which comes twice."""

    def row(kind: str, payload: dict[str, Any], second: int = 0) -> dict[str, Any]:
        return {"timestamp": at(second), "type": kind, "payload": payload}

    def count(total: int) -> dict[str, Any]:
        usage = {"input_tokens": total, "output_tokens": 1}
        return row(
            "event_msg", {"type": "token_count", "info": {"total_token_usage": usage, "last_token_usage": usage}}
        )

    rows = [
        row(
            "session_meta",
            {"id": "s1", "timestamp": at(0), "base_instructions": {"text": "Be brief."}, "cli_version": "0.1"},
        ),
        row("turn_context", {"model": "gpt-x", "effort": "low"}),
        row(
            "response_item",
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>"}]},
        ),
        row("event_msg", {"type": "user_message", "message": "List."}),
        row(
            "response_item",
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List."}]},
            1,
        ),
        row("response_item", {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}, 2),
        row(
            "response_item",
            {"type": "function_call", "name": "shell", "arguments": '{"command": ["ls"]}', "call_id": "c1"},
            3,
        ),
        count(10),
        count(10),
        row(
            "event_msg", {"type": "exec_command_end", "call_id": "c1", "aggregated_output": "a.txt", "exit_code": 0}, 4
        ),
        row("response_item", {"type": "function_call_output", "call_id": "c1", "output": "a.txt"}, 4),
        row(
            "response_item",
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a.txt"}]},
            5,
        ),
        count(30),
    ]
    tally = Tally()
    (line,) = lines_of("codex", tmp_path, *rows, tally=tally)
    told = [(each["role"], each.get("supplied")) for each in line["messages"]]
    assert told == [
        ("system", None),
        ("user", "environment"),
        ("user", None),
        ("assistant", None),
        ("tool", None),
        ("assistant", None),
    ]
    called = line["messages"][3]
    assert called["reasoning"] == [{"encrypted": "gAAAA"}]
    assert called["decision"]["params"] == {"reasoning_effort": "low"}
    assert (tally.model_calls, tally.input_tokens, tally.output_tokens) == (2, 40, 2)
    assert tally.tool_results == 1
    assert (line["conversation_id"], line["variant"]) == ("s1", "0.1")


def test_codex_compaction_and_older_files(tmp_path: Path) -> None:
    """History that gave way is told with what came in its place; older files have bare lines."""
    kept = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List."}]}
    rows = [
        {"id": "s2", "timestamp": at(0), "instructions": "Be brief."},
        {"record_type": "state"},
        kept,
        {"timestamp": at(1), "type": "compacted", "payload": {"message": "We listed.", "replacement_history": [kept]}},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    ]
    (line,) = lines_of("codex", tmp_path, *rows)
    assert [each.get("content") for each in line["messages"]] == ["Be brief.", "List.", None, "Done."]
    payload = line["messages"][2]["compacted"]
    assert payload["replacement"] == [{"role": "user", "content": "List."}]
    assert (payload["kind"], payload["summary"], payload["from_message"], payload["to_message"]) == (
        "summary",
        "We listed.",
        1,
        2,
    )


def test_swe_agent_demonstrations(tmp_path: Path) -> None:
    """What was shown to the agent is no answer of a model; two runs of one name are two conversations."""
    history = [
        {"role": "system", "content": "Fix it."},
        {"role": "assistant", "content": "ls", "is_demo": True},
        {"role": "assistant", "content": "I look.", "action": "ls", "thought": "I look."},
        {"role": "user", "content": "a.txt"},
    ]
    run = {
        "history": history,
        "trajectory": [{"action": "ls", "observation": "a.txt", "execution_time": 0.5}],
        "info": {"exit_status": "submitted"},
    }
    tally = Tally()
    files = [written(tmp_path / name / "x.traj", run) for name in ("a", "b")]
    lines = foreign_lines("swe-agent", files, tmp_path, tally)
    assert [line["conversation_id"] for line in lines] == ["x", "b/x"]
    assert lines[0]["messages"][1]["supplied"] == "demonstration"
    assert lines[0]["outcome"] == "submitted"
    assert tally.model_calls == 2
    assert '"execution_time": 0.5' in json.dumps(lines[0]["records"])


def test_swe_agent_counts_of_the_run(tmp_path: Path) -> None:
    """Answers are calls as far as the run counted calls, and its tokens are those of the whole."""
    history = [{"role": "assistant", "content": f"{n}"} for n in range(3)]
    for calls, expected in ((2, 2), (0, 0), (5, 3), (None, 3)):
        stats = {"tokens_sent": 70, "tokens_received": 8, "api_calls": calls}
        tally = Tally()
        run = {"history": history, "trajectory": [], "info": {"model_stats": stats}}
        (line,) = lines_of("swe-agent", tmp_path / f"{calls}", run, tally=tally)
        assert (tally.model_calls, tally.input_tokens, tally.output_tokens) == (expected, 70, 8)
        assert ["decision" in each for each in line["messages"]] == [n >= 3 - expected for n in range(3)]


def test_openhands_parallel_actions_and_ends(tmp_path: Path) -> None:
    """Actions of one answer are one message; a refusal, an error of the agent and a condensation are what they are."""

    def event(kind: str, **more: Any) -> dict[str, Any]:
        return {"kind": kind, "id": f"e{len(more)}", "timestamp": "2026-01-01T00:00:00", "source": "agent", **more}

    def action(name: str) -> dict[str, Any]:
        call = {"id": name, "name": "terminal", "arguments": f'{{"command": "{name}"}}'}
        thought = [{"type": "text", "text": "So."}] if name == "c1" else []
        return event(
            "ActionEvent",
            thought=thought,
            tool_name="terminal",
            tool_call_id=name,
            tool_call=call,
            llm_response_id="r1",
        )

    rows = [
        event("SystemPromptEvent", system_prompt={"type": "text", "text": "Be brief."}, tools=[]),
        event("MessageEvent", llm_message={"role": "user", "content": [{"type": "text", "text": "Go."}]})
        | {"source": "user"},
        action("c1"),
        {"kind": "ConversationStateUpdateEvent", "id": "s", "source": "environment", "key": "stats", "value": {}},
        action("c2"),
        event(
            "ObservationEvent",
            tool_name="terminal",
            tool_call_id="c1",
            observation={"content": "ok", "is_error": False},
        ),
        event("UserRejectObservation", tool_name="terminal", tool_call_id="c2", rejection_reason="No."),
        event("Condensation", summary="They went.", forgotten_event_ids=["e1"]),
    ]
    (line,) = lines_of("openhands", tmp_path, *rows)
    assert [each["role"] for each in line["messages"]] == ["system", "user", "assistant", "tool", "tool", "system"]
    assert [call["id"] for call in line["messages"][2]["tool_calls"]] == ["c1", "c2"]
    assert line["messages"][2]["decision"]["response_id"] == "r1"
    assert (line["messages"][4]["denied"], line["messages"][4]["content"]) == (True, "No.")
    assert line["messages"][5]["compacted"]["summary"] == "They went."
    folder = tmp_path / "conv-7" / "events"
    files = [written(folder / f"event-{n:05d}.json", row) for n, row in enumerate(rows)]
    (same,) = foreign_lines("openhands", files, tmp_path)
    assert (same["conversation_id"], same["messages"]) == ("conv-7", line["messages"])


def test_openhands_history(tmp_path: Path) -> None:
    """Older runs: fields in `args` or beside, results by their cause or in order."""
    rows = [
        {"action": "message", "source": "user", "args": {"content": "Go."}, "timestamp": "2026-01-01T00:00:00"},
        {"id": 3, "action": "run", "args": {"command": "ls", "thought": "I look."}, "source": "agent"},
        {"id": 4, "observation": "run", "content": "a.txt", "cause": 3, "extras": {"exit_code": 0}},
        {"action": "edit", "path": "a.txt", "thought": "I write."},
        {"observation": "error", "content": "No such file"},
        {"action": "change_agent_state", "args": {"agent_state": "finished"}},
    ]
    tally = Tally()
    run = {"instance_id": "i-1", "history": rows, "success": True}
    (line,) = lines_of("openhands", tmp_path, run, tally=tally)
    assert streams_of([line]) == [
        [
            ["user", "Go.", []],
            ["assistant", "I look.", [["run", '{"command":"ls"}']]],
            ["tool", "a.txt", []],
            ["assistant", "I write.", [["edit", '{"path":"a.txt"}']]],
            ["tool", "No such file", []],
        ]
    ]
    assert (line["conversation_id"], line["outcome"], line["messages"][4]["error"]) == ("i-1", True, True)
    assert [each["conversation_id"] for each in lines_of("openhands", tmp_path, run, run)] == ["i-1", "i-1~2"]
    assert (tally.model_calls, tally.open_tool_calls) == (0, 0)


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("claude-code", '{"type": "user", "uuid": "u", "sessionId": "s", "message": {"content": "cut', ":1: $.message.content"),
        ("codex", '{"type": "session_meta", "payload": {"id": "s"}}\nnot json\n', ":2: $: not JSON"),
        ("atif", '{"schema_version": "ATIF-v1.5", "steps": 3}', "is no trajectory"),
        ("atif", '{"schema_version": "ATIF-v1.5", "steps": ["a"]}', "$.steps[0]: is a string"),
        ("swe-agent", '{"trajectory": []}', "no list called history"),
        ("openhands", '{"event": 1}', "is no event of OpenHands"),
    ],
)  # fmt: skip
def test_damage(form: str, text: str, told: str, tmp_path: Path) -> None:
    """What is damaged, or of no such form, is refused with its place."""
    assert told in refusal(form, text, tmp_path)
