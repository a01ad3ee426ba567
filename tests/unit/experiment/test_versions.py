"""A version is kept when it is planned: what is loaded is what was planned, whatever its files say by then, or it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.errors import BadInputError
from pipelines.experiment import versions
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.versions import find_replays, keep_version, load_version
from pipelines.lake.datasets import REPLAYS, VERSIONS
from pipelines.lake.lake import Lake
from tests.support.replayed_lake import replayed_lake

PROMPT = "Be brief. {{name}} $(rm -rf /) ${HOME} <script>alert('é')</script>\n!!python/object:os.system \"quoted\" '; DROP TABLE x; --\t\\n"
AGENT = "from refold import Reply\n\ndef answer(decision):\n    return Reply(text='{}')\n"
ASKED = """
experiment: kept
candidate: {model: m, base_url: "http://127.0.0.1:9/v1", api_key_env: KEPT_KEY, prompt_file: prompt.md}
control: {model: n, prompt_edit: [{find: "a", replace: "=1+1"}]}
tools: {schemas: tools.json, on_miss: stub_error}
metrics: {letters: {sql: "length(text)", goal: lower, margin: 2}}
budget: {requests: 10}
"""
CALLED = 'experiment: kept\ncandidate: {python: "agent_of_versions:answer"}\n'
TOOLS = [
    {
        "name": "look",
        "description": "a 'tool'",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    }
]
UNIT = {"text_a": "one", "text_b": "two", "calls_a": [("look", '{"q": "x"}')], "calls_b": []}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three conversations of two decisions."""
    made, _plan = replayed_lake(tmp_path / "lake", [{**UNIT, "stream": number // 2} for number in range(6)])
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that experiments name."""
    (tmp_path / "prompt.md").write_text(PROMPT, encoding="utf-8")
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    (tmp_path / "agent_of_versions.py").write_text(AGENT.format("yes"), encoding="utf-8")
    return tmp_path


def planned(lake: Lake, folder: Path, text: str = ASKED) -> Plan:
    return make_plan(lake, parse_experiment(text, "test"), folder)


def states(lake: Lake) -> list[tuple[str]]:
    with lake.connect() as connection:
        return connection.sql("SELECT state FROM versions WHERE experiment = 'kept'").fetchall()


def test_what_is_loaded_is_what_was_planned(lake: Lake, folder: Path) -> None:
    """Every part of it, texts to the letter; files that the plan has read may change or go."""
    plan = planned(lake, folder)
    assert keep_version(lake, plan, folder)
    (folder / "prompt.md").write_text("another", encoding="utf-8")
    (folder / "tools.json").unlink()
    found = load_version(Lake(lake.root), "kept", plan.version_id)
    for name in Plan.__slots__:
        if name in ("streams", "runs"):
            assert getattr(found, name).to_pylist() == getattr(plan, name).to_pylist(), name
            assert getattr(found, name).schema.equals(getattr(plan, name).schema), name
        else:
            assert getattr(found, name) == getattr(plan, name), name
    assert found.prompts["candidate"].text == PROMPT
    assert found.tools.sha256 == plan.tools.sha256


def test_a_version_is_kept_once(lake: Lake, folder: Path) -> None:
    """The same plan again writes nothing; settings that change no cell are those of the newest plan, under the same version."""
    plan = planned(lake, folder)
    assert keep_version(lake, plan, folder)
    assert not keep_version(Lake(lake.root), planned(lake, folder), folder)
    larger = planned(lake, folder, ASKED.replace("requests: 10", "requests: 20"))
    assert larger.version_id == plan.version_id
    assert keep_version(lake, larger, folder)
    assert load_version(lake, "kept", plan.version_id).experiment.budget.requests == 20
    assert lake.table(VERSIONS.name).number(plan.partition) == 2
    with lake.connect() as connection:
        assert connection.sql("SELECT len(streams), len(runs) FROM versions WHERE experiment = 'kept'").fetchall() == [
            (3, 0)
        ]


def test_no_key_is_kept(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variable is named; its value is in no file of the lake."""
    monkeypatch.setenv("KEPT_KEY", "sk-kept-0815")
    keep_version(lake, planned(lake, folder), folder)
    with lake.connect() as connection:
        ((row,),) = connection.sql("SELECT to_json(v)::VARCHAR FROM versions AS v WHERE experiment = 'kept'").fetchall()
    assert "KEPT_KEY" in row
    assert "sk-kept-0815" not in row


def test_a_callable_comes_from_its_file_and_is_the_one_that_was_planned(lake: Lake, folder: Path) -> None:
    """Another source under the same name is refused, and named."""
    plan = planned(lake, folder, CALLED)
    keep_version(lake, plan, folder)
    found = load_version(lake, "kept", plan.version_id)
    assert found.candidate.source_sha256 == plan.candidate.source_sha256
    (folder / "agent_of_versions.py").write_text(AGENT.format("no"), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"agent_of_versions:answer .*is not what it was"):
        load_version(lake, "kept", plan.version_id)


def test_what_is_not_the_version_is_refused(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, one that another code planned, one whose conversations are others."""
    plan = planned(lake, folder)
    with pytest.raises(BadInputError, match="is not planned"):
        load_version(lake, "kept", plan.version_id)
    keep_version(lake, plan, folder)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "version_hash", lambda: "another")
        with pytest.raises(BadInputError, match="planned by other code"):
            load_version(lake, "kept", plan.version_id)
    fewer = replace(plan, streams=plan.streams.slice(1), experiment=plan.experiment.model_copy(update={"active": True}))
    keep_version(lake, fewer, folder)
    with pytest.raises(BadInputError, match="is not what was planned"):
        load_version(lake, "kept", plan.version_id)


def test_how_far_a_version_is_is_what_its_commits_say(lake: Lake, folder: Path) -> None:
    """Planned, replayed, complete; a prune of its summary leaves it replayed."""
    plan = planned(lake, folder)
    keep_version(lake, plan, folder)
    assert states(lake) == [("planned",)]
    assert find_replays(lake, plan) is None
    with lake.replacing(REPLAYS, plan.partition) as writer:
        writer.commit(input_hash=plan.version_id)
    assert states(lake) == [("replayed",)]
    assert find_replays(lake, plan) is not None
    rows = pa.table({"metric": ["m"], "segment": ["all"], "segment_value": ["all"]})
    summary = lake.table("ab_summary").dataset
    nulls = [pa.nulls(1, f.type) if f.name not in rows.column_names else rows[f.name] for f in summary.data_schema()]
    for count, state in ((1, "complete"), (0, "replayed")):
        with lake.replacing(summary, plan.partition) as writer:
            writer.write(pa.Table.from_arrays(nulls, schema=summary.data_schema()).slice(0, count))
            writer.commit(input_hash="h")
        assert states(lake) == [(state,)]


def test_another_wire_is_another_version(lake: Lake, folder: Path) -> None:
    """The same model over two wires is asked otherwise, and so is one with another bound of the reply."""
    model = "http://127.0.0.1:9"
    texts = [
        f"experiment: kept\ncandidate: {{model: m, base_url: '{model}', api: {api}, params: {{max_tokens: {bound}}}}}\n"
        for api, bound in (("chat", 9), ("responses", 9), ("messages", 9), ("messages", 8))
    ]
    assert len({planned(lake, folder, text).version_id for text in texts}) == 4
