"""The action's own steps, run in order as GitHub runs them, against a server that speaks its calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import junitparser
import pytest
import yaml

from pipelines.lake.lake import Lake
from pipelines.store import Store, connect
from tests.support.databases import copied_database
from tests.support.github_server import GitHub, github
from tests.support.shop import add, conversation

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = """
experiment: refunds
baseline: {recorded: {source: shop, variant: v1}}
candidate: {recorded: {source: shop, variant: v2}}
mode: conversation
gate: "same_calls >= 0.9"
"""
_EXPRESSION = re.compile(r"\$\{\{ *([a-z_.]+) *\}\}")


@dataclass
class Job:
    """A job that uses the action: what its expressions name, and what its steps left.

    Attributes:
        values: Of expressions.
        ended: Exit codes of the steps that ran, by name.
        said: What they printed, likewise.
    """

    folder: Path
    variables: dict[str, str]
    values: dict[str, str]
    ended: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def run(self, *names: str) -> None:
        """Run these steps of the action, with bash as GitHub starts it."""
        steps = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
        for step in steps:
            if step["name"] not in names:
                continue
            outputs = self.folder / "outputs"
            outputs.write_text("", encoding="utf-8")
            own = {name: self._filled(value) for name, value in step["env"].items()}
            environment = {**self.variables, **own, "GITHUB_OUTPUT": str(outputs)}
            command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            self.ended[step["name"]] = done.returncode
            self.said[step["name"]] = done.stdout + done.stderr
            for name, value in (line.split("=", 1) for line in outputs.read_text(encoding="utf-8").splitlines()):
                self.values[f"steps.{step['id']}.outputs.{name}"] = value

    def _filled(self, value: str) -> str:
        return _EXPRESSION.sub(lambda found: self.values[found[1]], str(value))


@pytest.fixture(scope="module")
def lake(server, template, tmp_path_factory) -> Path:
    """The lake of a shop: eight tasks run by two variants, of which the second refunds half in the odd ones."""
    folder = tmp_path_factory.mktemp("shop")
    lines = [
        conversation(task, variant, 10.0 * (0.5 if variant == "v2" and task % 2 else 1.0), f"2026-01-{task + 1:02d}")
        for task in range(8)
        for variant in ("v1", "v2")
    ]
    with copied_database(server, template) as name, connect(server.dsn_of(name)) as conn:
        add(Store(conn, server.dsn_of(name)), Lake(folder / "lake"), folder, lines)
    return folder / "lake"


@pytest.fixture
def api():
    with github() as state:
        yield state


@pytest.fixture
def job(api: GitHub, lake: Path, tmp_path: Path) -> Job:
    """A job of a pull request, with Refold installed."""
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp" / "refold").symlink_to(sys.prefix)
    (tmp_path / "e.yaml").write_text(EXPERIMENT, encoding="utf-8")
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": api.number}}), encoding="utf-8")
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    inputs = {f"inputs.{name}": str(each.get("default", "")) for name, each in action["inputs"].items()}
    return Job(
        tmp_path,
        {
            "PATH": os.environ["PATH"],
            "GITHUB_API_URL": api.url,
            "GITHUB_REPOSITORY": api.repository,
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        },
        inputs
        | {
            "inputs.experiment": "e.yaml",
            "inputs.lake": str(lake),
            "inputs.token": "ghs_secret",
            "runner.temp": str(tmp_path / "temp"),
            "github.server_url": "https://github.test",
            "github.repository": api.repository,
            "github.run_id": "42",
            "github.event.repository.private": "true",
        },
    )


def test_a_pull_request_is_answered_and_fails_by_its_gate(job, api, tmp_path):
    """Comment, summary and JUnit file first; then the gate's exit code. The next run updates the comment."""
    job.run("Compare")
    assert job.ended == {"Compare": 0}, job.said
    outputs = {name.rpartition(".")[2]: value for name, value in job.values.items() if name.startswith("steps.")}
    assert (outputs["code"], outputs["answer"], outputs["texts"]) == ("3", "not_enough_data", "true")
    assert len(list(Path(outputs["reports"]).glob("*.html"))) == 1
    (suite,) = junitparser.JUnitXml.fromfile(outputs["junit"])
    assert suite.failures == 1
    job.run("Comment", "Gate")
    assert job.ended == {"Compare": 0, "Comment": 0, "Gate": 3}, job.said
    (comment,) = api.comments
    assert comment["body"].startswith("<!-- refold ab: refunds -->\n\n### ⏳ Not enough data")
    assert "(https://github.test/acme/shop/actions/runs/42#artifacts)" in comment["body"]
    assert "Refunded 5.0 USD" in comment["body"]
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == comment["body"] + "\n"

    job.values["github.event.repository.private"] = "false"
    job.run("Compare", "Comment", "Gate")
    assert job.ended == {"Compare": 0, "Comment": 0, "Gate": 3}, job.said
    (comment,) = api.comments
    assert "Refunded" not in comment["body"]
    assert "ghs_secret" not in "".join(job.said.values()) + (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_a_wrong_input_ends_the_job_with_nothing_said(job, api, tmp_path):
    """An experiment that is not there is bad input, and no answer."""
    job.values["inputs.experiment"] = "nowhere.yaml"
    job.run("Compare")
    assert job.ended == {"Compare": 2}
    assert "nowhere.yaml" in job.said["Compare"]
    job.values["inputs.texts"] = "perhaps"
    job.run("Compare")
    assert "write true, false or private" in job.said["Compare"]
    assert api.calls == []


def test_the_action_says_what_it_takes():
    """Inputs and outputs are described, and no step puts an input into a script's own text."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert action["runs"]["using"] == "composite"
    for each in (*action["inputs"].values(), *action["outputs"].values()):
        assert each["description"].endswith(".")
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    gate = action["runs"]["steps"][-1]
    assert gate["if"] == "always() && steps.compare.outcome == 'success'"
