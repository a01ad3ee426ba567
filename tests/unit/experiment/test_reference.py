"""The key reference, the JSON Schema and the file to begin with say what the reader of experiment files takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pipelines.documents import parse_yaml
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.reference import SCHEMA, experiment_schema, render_reference, starter

ROOT = Path(__file__).resolve().parents[3]

GOOD = [
    "experiment: a\ncandidate: {echo: true}\n",
    "experiment: a\ncandidate: {python: 'a:b', draws: 2}\nwindow: yesterday\nnoise_floor: true\n",
    "experiment: a\ncandidate: {recorded: {source: s, variant: [v, w]}}\nmode: conversation\nnoise_floor: 50\n",
    "experiment: a\ncandidate: {recorded: [v, w]}\nmode: conversation\ncontrol: {recorded: [x, y]}\n",
    "experiment: a\ncandidate: {echo: true}\nwindows: [7d, {from: 2026-01-01, to: 2026-02-01T10:00:00Z}]\n",
    (
        "experiment: a\ncandidate: {model: m, base_url: 'http://h/v1', params: {temperature: 1e-3}, "
        "price: {input_usd: 1, output_usd: 2.5}, prompt_edit: [{find: a, replace: b}]}\nbudget: {usd: 5, off_peak: 22:00-06:00 UTC}\n"
    ),
    (
        "experiment: a\ncandidate: {echo: true}\nmetrics: {m: {sql: '1', goal: lower, margin: .5}}\nexpect: [{name: r, sql: 'true'}]\n"
        "segments: [vertical]\ncluster: customer\ntools: {unknown: read}\ndivergence: {level: name}\nsample: {conversations: 5}\n"
    ),
]
BAD = [
    "experiment: a\ncandidate: {echo: true}\nmood: decision\n",
    "experiment: a\ncandidate: {ecko: true}\n",
    "experiment: a\ncandidate: {echo: true}\nmode: walk\n",
    "experiment: a\ncandidate: {echo: true}\nbudget: {usd: much}\n",
    "experiment: a\ncandidate: {echo: true}\nmetrics: {m: {sql: '1', goal: up}}\n",
    "candidate: {echo: true}\n",
]


def test_what_is_shipped_is_what_is_made():
    """`python -m pipelines.experiment.reference` leaves both files as they are."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == experiment_schema()
    assert (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8") == render_reference()


@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_the_schema_agrees_with_the_reader(text: str):
    """What the reader takes an editor does not mark, and what it refuses for its form an editor marks."""
    validator = jsonschema_rs.validator_for(experiment_schema())
    is_good = text in GOOD
    assert validator.is_valid(parse_yaml(text, "f").value) == is_good
    if is_good:
        parse_experiment(text, "f")


def test_every_key_is_described():
    """No key without a word, however deep; every model without a default is told as required."""
    schema = experiment_schema()

    def keys(node: Any) -> list[str]:
        return [key for key, each in node["properties"].items() if not each.get("description")]

    assert [keys(node) for node in (schema, *schema["$defs"].values())] == [[]] * (1 + len(schema["$defs"]))


def test_the_starter_is_an_experiment():
    """The file to begin with is read as it stands, and each of its commented settings can be put in its place."""
    text = starter("first-try")
    assert parse_experiment(text, "f").candidate.kind == "echo"
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA.as_uri()}\n")
    lines = [line for line in text.splitlines() if not line.startswith("candidate:")]
    at = lines.index("# candidate:")
    block = [line.removeprefix("# ") if at <= n < at + 7 else line for n, line in enumerate(lines)]
    asked = parse_experiment("\n".join(block), "f").candidate
    assert (asked.model, asked.price is not None) == ("gpt-5-mini", True)
    for setting in ("# window: ", "# where: ", "# gate: ", "# budget: "):
        opened = "\n".join(line.removeprefix("# ") if line.startswith(setting) else line for line in block)
        assert parse_experiment(opened.replace("gate: ", "gate: "), "f")
