"""Both distributions as their users get them: in an environment that holds the wheel, what it requires, and nothing else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.recorder import Recorder
from pipelines.store import Store, stream_id
from tests.support.wheels import RECORDER, ROOT, Environment, build_wheel

TALK = """
import json, sys
from refold import Reply, Recorder
dsn, when_full, spill, who = sys.argv[1:]
recorder = Recorder(dsn, source="shop", when_full=when_full, spill=spill or None)
talk = recorder.conversation(who, agent="desk", channel="chat", subject_id="customer-7")
talk.user("Where is A-1? Zo\\u00eb \\u0000")
request = {"model": "m", "messages": [{"role": "system", "content": "You answer."}, {"role": "user", "content": "Where is A-1?"}]}
call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
message = {"role": "assistant", "content": None, "tool_calls": [call]}
talk.decision(request=request, response={"model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]})
talk.tool_result("1", "here")
talk.redact(2, path="/text", reason="asked")
talk.end({"solved": True})
is_done = recorder.close(float(5 if when_full == "block" else 0))
light = not {"duckdb", "polars", "pyarrow", "numpy", "dagster"} & set(sys.modules)
print(json.dumps({"done": is_done, "light": light, "lost": recorder.status().lost, "home": Recorder.__module__}))
"""
NOWHERE = "host=/nonexistent port=1 dbname=none user=none"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheels of `refold` and of `refold-recorder`."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("refold")), build_wheel(
        RECORDER, tmp_path_factory.mktemp("recorder")
    )


@pytest.fixture(scope="module")
def alone(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the recorder alone."""
    made = Environment(tmp_path_factory.mktemp("alone") / "env")
    made.install(wheels[1])
    return made


def recorded(store: Store, who: str) -> list[tuple[str, Any, Any]]:
    """What the store has of a conversation, without what is another one each time."""
    varying = {"message_id", "source_id"}
    return [
        (event.event_type, event.payload, {k: v for k, v in event.metadata.items() if k not in varying})
        for event in store.read_stream(stream_id("shop", who))
    ]


def test_the_recorder_alone_brings_nothing_that_could_be_in_the_way(alone: Environment, tmp_path: Path):
    """No top-level `pipelines`, `assets` or `sql`, no engine, and what the project's own distribution has is said to be there."""
    code = """
import json, sys
from importlib.util import find_spec
names = ("pipelines", "assets", "sql", "notebooks", "duckdb", "polars", "pyarrow", "dagster", "marimo", "refold", "refold_recorder")
there = [name for name in names if find_spec(name)]
import refold
try:
    refold.Lake
except ImportError as error:
    print(json.dumps([there, str(error)]))
"""
    done = alone.run(code, cwd=tmp_path)
    there, error = json.loads(done.stdout or done.stderr)
    assert there == ["refold", "refold_recorder"]
    assert error == "refold.Lake is not part of refold-recorder: install refold"
    assert alone.installed() == {"refold.py", "refold", "refold_recorder", "refold_recorder-0.1.0.dist-info"}
    assert [path.name for path in (alone.packages / "refold").iterdir()] == ["py.typed"]


def test_the_recorder_alone_records_what_the_whole_does(alone: Environment, store: Store, tmp_path: Path):
    """The same calls of both make the same events in a real store, beside a `pipelines` of the agent's own."""
    (tmp_path / "pipelines.py").write_text("raise RuntimeError('not yours')", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{TALK}"
    done = alone.run(code, store.dsn, "block", "", "c-1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "done": True,
        "light": True,
        "lost": 0,
        "home": "refold_recorder.recorder.recorder",
    }
    arguments = [store.dsn, "block", "", "c-2"]
    exec(TALK.replace("sys.argv[1:]", repr(arguments)), {})
    events = recorded(store, "c-1")
    assert [event[0] for event in events][:4] == [
        "conversation.started.v1",
        "user.utterance.v1",
        "model.decision.v3",
        "tool.call.v1",
    ]
    assert events == recorded(store, "c-2")


def test_what_the_recorder_alone_left_on_disk_is_sent_by_the_next(alone: Environment, store: Store, tmp_path: Path):
    """Without a store it keeps what is recorded in its folder; a recorder of either distribution sends it."""
    done = alone.run(TALK, NOWHERE, "spill", str(tmp_path / "spool"), "c-3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lost"] == 0
    assert not recorded(store, "c-3")
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path / "spool") as recorder:
        assert recorder.flush(30)
    assert [event[0] for event in recorded(store, "c-3")][-1] == "conversation.ended.v1"


def test_the_whole_works_from_its_wheel(wheels: tuple[Path, Path], tmp_path: Path):
    """The command finds its SQL, and files of the user's own named like ours are not in the way."""
    made = Environment(tmp_path / "env")
    made.install(wheels[0])
    for name in ("refold.py", "pipelines.py", "assets.py"):
        (tmp_path / name).write_text("raise RuntimeError('in the way')", encoding="utf-8")
    command = """
import sys
from importlib.metadata import entry_points
[script] = entry_points(group="console_scripts", name="refold")
sys.argv = ["refold", *sys.argv[1:]]
script.load()()
"""
    done = made.run(command, "sql", "--tables", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ab_units" in json.loads(done.stdout)["tables"]
    done = made.run(
        "import refold\nfor name in refold.__all__: getattr(refold, name)\nprint(refold.__file__)", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == made.packages / "refold" / "__init__.py"
    assert made.installed() == {"pipelines", "assets", "refold", "refold-0.1.0.dist-info"}
    assert (made.packages / "pipelines" / "_notebooks" / "review.py").is_file()
    assert (made.packages / "pipelines" / "desks" / "queue.js").is_file()
    assert (made.packages / "pipelines" / "review" / "templates" / "report.html").is_file()
    assert not (made.packages / "pipelines" / "recorder" / "wheel").exists()


def test_both_live_side_by_side_and_either_may_go(wheels: tuple[Path, Path], tmp_path: Path):
    """They share the marker of typed packages and no other file: the whole's `refold/` goes before the recorder's `refold.py`."""
    names = [{*zipfile.ZipFile(wheel).namelist()} for wheel in wheels]
    assert names[0] & names[1] == {"refold/py.typed"}
    made = Environment(tmp_path / "env")
    told = "import refold; print(refold.Recorder.__module__, refold.Reply.__module__, refold.__file__)"
    for gone, left, home in ((1, 0, "pipelines"), (0, 1, "refold_recorder")):
        made.install(wheels[gone])
        made.install(wheels[left])
        both = made.run(told, cwd=tmp_path).stdout.split()
        assert both[:2] == ["pipelines.recorder.recorder", "pipelines.experiment.decision"]
        made.uninstall(wheels[gone])
        after = made.run(told, cwd=tmp_path)
        assert after.stdout.split()[:2] == [f"{home}.recorder.recorder", f"{home}.experiment.decision"], after.stderr
        made.uninstall(wheels[left])
