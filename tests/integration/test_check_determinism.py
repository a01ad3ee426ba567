"""`refold ab FILE --check-determinism N`: an agent that does something else the second time is named, unit and step."""

from __future__ import annotations

import json

import pytest

from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from tests.benchmarks.log import MONTH, write_lake
from tests.support.model_server import serving
from tests.support.verbs import run_verb

AGENT = """
from concurrent.futures import ThreadPoolExecutor
from itertools import count

NUMBERS = count()


def steady(session, note=""):
    messages = [*session.messages, {"role": "user", "content": session.user + note}]
    while True:
        body = {"model": session.model or "m", "messages": messages, "tools": [tool.schema for tool in session.tools]}
        message = session.ask("chat", body)["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            return message["content"]
        for call in message["tool_calls"]:
            result = session.result(call["function"]["name"], call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def restless(session):
    return steady(session, f" This is message {next(NUMBERS)}.")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a small lake, and the agents' module beside the experiments."""
    made = tmp_path_factory.mktemp("determinism")
    fold_month(write_lake(made / "lake", 3 * 30), MONTH, ["conversation_months", "decisions"])
    (made / "steadiness.py").write_text(AGENT, encoding="utf-8")
    return made


@pytest.fixture
def check(home, monkeypatch, capsys):
    """Runs the check of one of the agents: exit code, and what is said."""

    def run(agent, *, candidate="answers: recorded", units=5):
        file = home / f"{agent}.yaml"
        text = f'experiment: {agent}\ncandidate: {{agent: "steadiness:{agent}", {candidate}}}\nmode: turn\n'
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("REFOLD_HOME", str(home))
        code = run_verb(monkeypatch, "ab", str(file), "--check-determinism", str(units), "--json")
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    return run


def test_a_steady_agent_does_the_same_twice(check):
    """Nothing differs, whatever the answers; no version is written."""
    code, said = check("steady")
    assert (code, said["units"], said["unkept"], said["differences"]) == (0, 5, 0, [])


def test_what_differs_is_named(check):
    """A number in the prompt makes the first request of each unit another one."""
    code, said = check("restless")
    assert code == 3
    assert [(each["what"], each["step"]) for each in said["differences"]] == [("request", 1)] * 5
    assert len({each["unit_id"] for each in said["differences"]}) == 5


def test_answers_are_the_kept_ones(check, home):
    """Units without them are counted and no model is asked; once the experiment was run they are compared, and nobody is asked again."""
    answer = {"role": "assistant", "content": "Which order?"}
    with serving(answer=lambda _body: answer) as server:
        endpoint = f"model: m, base_url: '{server.base_url}'"
        code, said = check("steady", candidate=endpoint)
        assert (code, said["units"], said["unkept"], sum(server.calls.values())) == (0, 0, 5, 0)
        lake, settings = Lake(home / "lake"), Settings.from_env()
        plan = make_plan(lake, parse_experiment((home / "steady.yaml").read_text(), "steady"), home)
        units = run_replay(lake, plan, settings=settings).units
        calls = sum(server.calls.values())
        code, said = check("steady", candidate=endpoint)
        assert (code, said["units"], said["unkept"], said["differences"]) == (0, 5, 0, [])
        assert sum(server.calls.values()) == calls >= units


def test_a_candidate_that_is_no_agent_is_refused(home, monkeypatch, capsys):
    """There is nothing of its own that could differ."""
    (home / "echo.yaml").write_text("experiment: echo\ncandidate: {echo: true}\n", encoding="utf-8")
    monkeypatch.setenv("REFOLD_HOME", str(home))
    assert run_verb(monkeypatch, "ab", str(home / "echo.yaml"), "--check-determinism", "2") == 2
    assert "is no agent" in capsys.readouterr().err
