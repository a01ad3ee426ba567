"""Trajectories of ATIF: steps, continuations, sub-agents inside and in files of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atif
import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from tests.support.foreign_lines import foreign_lines, raw_values, written
from tests.support.formats import samples, streams_of


def trajectory(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {
        "schema_version": "ATIF-v1.7",
        "session_id": "s",
        "agent": {"name": "terminus", "version": "2", "model_name": "m"},
    }
    return head | {"steps": [{"step_id": n, **step} for n, step in enumerate(steps, start=1)]} | more


def test_atif_goes_on_in_another_file(tmp_path: Path) -> None:
    """A continuation is read after what it continues, whichever file is named first, and its history is a compacted one."""
    first = trajectory(
        {"source": "user", "message": "Go."},
        {"source": "agent", "message": "Yes."},
        continued_trajectory_ref="t.cont-1.json",
    )
    later = trajectory({"source": "agent", "message": "Done."}) | {"session_id": "s-cont-1"}
    files = [written(tmp_path / "t.cont-1.json", later), written(tmp_path / "t.json", first)]
    (line,) = foreign_lines("atif", files, tmp_path)
    assert [each.get("content") for each in line["messages"]] == ["Go.", "Yes.", None, "Done."]
    assert "compacted" in line["messages"][2]
    assert line["conversation_id"] == "s"


def test_atif_observations_and_models(tmp_path: Path) -> None:
    """What came back belongs to the only call where no id is said; a step without metrics is no call, and has the agent's model."""
    call = {"tool_call_id": "c1", "function_name": "bash", "arguments": {"command": "ls"}}
    agent = {"source": "agent", "message": "So.", "reasoning_content": "Hm.", "tool_calls": [call]}
    metrics = {"prompt_tokens": 7, "completion_tokens": 2, "cached_tokens": 3, "cost_usd": 0.5}
    tally = Tally()
    steps = (
        {**agent, "observation": {"results": [{"content": "a.txt"}]}},
        {**agent, "metrics": metrics, "model_name": "n"},
    )
    (line,) = foreign_lines("atif", [written(tmp_path / "t.json", trajectory(*copy.deepcopy(steps)))], tmp_path, tally)
    assert line["messages"][1]["tool_call_id"] == "c1"
    assert [each["decision"]["model"] for each in line["messages"] if each["role"] == "assistant"] == ["m", "n"]
    assert line["messages"][2]["decision"]["usage"] == {"input_tokens": 7, "output_tokens": 2, "cached_input_tokens": 3}
    assert line["messages"][2]["reasoning"] == [{"text": "Hm."}]
    assert (tally.model_calls, tally.open_tool_calls) == (1, 1)


def test_atif_as_its_own_models_read_it(shared_data: Path, tmp_path: Path) -> None:
    """The models of the `atif` package find the same messages, calls, results and sums."""
    sample = next(each for each in samples(shared_data, "07-coding") if each.name.startswith("atif"))
    read = atif.Trajectory.model_validate(next(iter(raw_values(sample.path))))
    tally = Tally()
    lines = foreign_lines("atif", [sample.path], tmp_path, tally)
    told = [step.message for step in read.steps]
    assert [text for role, text, _ in streams_of(lines)[0] if role != "tool"] == [text.strip() for text in told]
    assert tally.tool_calls == sum(len(step.tool_calls or []) for step in read.steps)
    assert tally.tool_results == sum(len(step.observation.results) for step in read.steps if step.observation)
    assert read.final_metrics is not None
    assert [tally.input_tokens, tally.output_tokens] == [
        read.final_metrics.total_prompt_tokens, read.final_metrics.total_completion_tokens
    ]  # fmt: skip


def delegated(*refs: dict[str, Any], call: str = "c1") -> dict[str, Any]:
    """A step that gives a task to sub-agents."""
    called = {"tool_call_id": call, "function_name": "task", "arguments": {"prompt": "Look."}}
    result = {"source_call_id": call, "content": "Found.", "subagent_trajectory_ref": list(refs)}
    return {"source": "agent", "message": "I ask.", "tool_calls": [called], "observation": {"results": [result]}}


def helper(name: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The trajectory of a sub-agent, which shares its session with who started it."""
    own = steps or ({"source": "user", "message": "Look."}, {"source": "agent", "message": f"I am {name}."})
    return trajectory(*own, agent={"name": name, "version": "1"}, **more)


def walked(read: atif.Trajectory) -> Iterator[atif.Trajectory]:
    yield read
    for each in read.subagent_trajectories or ():
        yield from walked(each)


def test_sub_agents_inside_of_a_trajectory(tmp_path: Path) -> None:
    """Each is a stream of its own that names the call that started it, however deep; the form's own models find the same."""
    inner = helper("inner", trajectory_id="T2")
    outer = helper("outer", delegated({"trajectory_id": "T2"}, call="c9"), trajectory_id="T1")
    outer["subagent_trajectories"] = [inner]
    whole = trajectory({"source": "user", "message": "Go."}, delegated({"trajectory_id": "T1"}))
    whole["subagent_trajectories"] = [outer, helper("stray", trajectory_id="T3")]
    tally = Tally()
    lines = foreign_lines("atif", [written(tmp_path / "t.json", whole)], tmp_path, tally)
    named = {line["conversation_id"]: line for line in lines}
    assert list(named) == ["s", "s/T1", "s/T2", "s/T3"]
    assert [named[f"s/T{n}"]["agent"] for n in (1, 2, 3)] == ["outer", "inner", "stray"]
    assert named["s/T1"]["parent"] == {"conversation_id": "s", "call_id": "c1"}
    assert named["s/T2"]["parent"] == {"conversation_id": "s/T1", "call_id": "c9"}
    assert named["s/T3"]["parent"] == {"conversation_id": "s", "call_id": None}
    read = list(walked(atif.Trajectory.model_validate(whole)))
    texts = [[text for role, text, _ in stream if role != "tool"] for stream in streams_of(lines)]
    assert texts == [[step.message for step in each.steps] for each in read]
    assert tally.tool_results == sum(len(s.observation.results) for each in read for s in each.steps if s.observation)
    assert (tally.conversations, tally.streams) == (1, 4)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 5, 1, 4, 0, 3), (1, 3, 5, 0, 2, 4)])
def test_files_of_one_name_in_two_folders(order: tuple[int, ...], tmp_path: Path) -> None:
    """Runs of one agent call their files alike: what goes on, and who was started, is told by the folder, in any order of files."""
    files = []
    for run in ("a", "b"):
        step = delegated({"trajectory_path": "/logs/agent/t.sub-1.json", "session_id": run})
        first = trajectory(step, session_id=run, continued_trajectory_ref="t.cont-1.json")
        later = trajectory({"source": "agent", "message": f"End {run}."}, session_id=f"{run}-cont-1")
        sub = helper(f"helper {run}", session_id=run)
        for name, value in (("t.json", first), ("t.cont-1.json", later), ("t.sub-1.json", sub)):
            files.append(written(tmp_path / run / name, value))
    lines = foreign_lines("atif", [files[n] for n in order], tmp_path)
    named = {line["conversation_id"]: line for line in lines}
    assert named.keys() == {"a", "a/t.sub-1", "b", "b/t.sub-1"}
    for run in ("a", "b"):
        assert named[run]["messages"][-1]["content"] == f"End {run}."
        assert named[f"{run}/t.sub-1"]["messages"][-1]["content"] == f"I am helper {run}."
        assert named[f"{run}/t.sub-1"]["parent"] == {"conversation_id": run, "call_id": "c1"}


@pytest.mark.parametrize("subs", [{"a": 1}, ["a"], "a"])
def test_sub_agents_that_are_none(subs: Any, tmp_path: Path) -> None:
    """What is no list of trajectories is refused with its place."""
    path = written(tmp_path / "t.json", trajectory({"source": "user", "message": "Go."}, subagent_trajectories=subs))
    with pytest.raises(BadInputError, match=r"t\.json:1: \$\.subagent_trajectories"):
        foreign_lines("atif", [path], tmp_path)
