"""An experiment file and what it names: keys that stand once, numbers that are numbers, all faults at once with their lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.documents import DocumentError, parse_json
from pipelines.errors import BadInputError
from pipelines.experiment.file import experiment_of, parse_experiment
from pipelines.experiment.manifest import read_manifest, read_schemas, read_tool_policy
from pipelines.experiment.prices import load_prices
from pipelines.experiment.prompt import load_prompt
from pipelines.replay.replan import read_candidate

MODEL = """experiment: numbers
candidate:
  model: model-x
  base_url: http://127.0.0.1:8901/v1
  params: PARAMS
REST
"""


def with_params(params: str, rest: str = "") -> str:
    return MODEL.replace("PARAMS", params).replace("REST", rest)


@pytest.mark.parametrize("key", ["metrics", "gate", "where", "primary", "budget", "candidate", "experiment", "window"])
def test_a_setting_given_twice_is_no_setting(key: str):
    """Two budgets, filters, gates: neither of them wins."""
    text = with_params("{temperature: 0}", f"{key}: x\n" if key not in ("candidate", "experiment") else "")
    with pytest.raises(BadInputError, match=f"{key} is given twice, first in line "):
        parse_experiment(f"{text}'{key}': y\n", "e.yaml")


def test_manifest_and_prices_and_schemas_and_candidate_given_twice(tmp_path: Path):
    """A tool that is written twice is neither read nor write, a model has one price, a candidate one model."""
    tools = tmp_path / "tools.yaml"
    tools.write_text("tools:\n  pay_out: {effect: write}\n  find: {effect: read}\n  pay_out: {effect: read}\n")
    with pytest.raises(BadInputError, match=r"line 4: tools\.pay_out is given twice, first in line 2"):
        read_manifest(tools)
    prices = tmp_path / "prices.json"
    prices.write_text(
        '{"as_of": "x", "source": "y", "models": {\n"m": {"input_usd": 9, "output_usd": 9},\n"m": {"input_usd": 0, "output_usd": 0}}}'
    )
    with pytest.raises(BadInputError, match=r"line 3: models\.m is given twice, first in line 2"):
        load_prices(prices)
    schemas = tmp_path / "schemas.json"
    schemas.write_text('[{"name": "a",\n "parameters": {"type": "object",\n "type": "array"}}]')
    with pytest.raises(BadInputError, match=r"line 3: 0\.parameters\.type is given twice, first in line 2"):
        read_schemas(schemas)
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text("python: a:b\npython: c:d\n")
    with pytest.raises(BadInputError, match="line 2: python is given twice, first in line 1"):
        read_candidate(candidate)


def test_numbers_are_numbers():
    """However a number is written, it is sent as one."""
    found = parse_experiment(with_params("{temperature: 1e-3, top_p: 1e0, a: +1E2, b: .5e1}"), "e").candidate.params
    assert found == {"temperature": 0.001, "top_p": 1.0, "a": 100.0, "b": 5.0}
    text = with_params("{}", "budget: {usd: 5e-1, requests: 100}\nmetrics: {m: {sql: '1', margin: 1e-2}}")
    found = parse_experiment(text, "e")
    assert (found.budget.usd, found.metrics["m"].margin) == (0.5, 0.01)
    kept = experiment_of(parse_json(found.to_json(), "kept"))
    assert kept == found
    tiny = parse_experiment(with_params("{temperature: 1e-7}"), "e")
    assert experiment_of(parse_json(tiny.to_json(), "kept")) == tiny


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("1_000", "write the number without _"),
        ("yes", "write true"),
        ("off", "write false"),
        ("010", "leave out the 0"),
        ("1:30", "quote it"),
        ("[0, {a: On}]", "write true"),
    ],
)
def test_what_is_sent_as_it_stands_is_not_guessed(written: str, told: str):
    """A word that other readers take for a number or a yes is not sent as text in silence; quoted, it is text."""
    with pytest.raises(BadInputError, match=f"line 5: candidate.params.x.*{told}"):
        parse_experiment(with_params(f"{{x: {written}}}"), "e.yaml")
    assert parse_experiment(with_params("{x: 'yes'}"), "e").candidate.params == {"x": "yes"}


def test_a_source_may_be_called_no():
    """Where text is wanted, a plain word is text."""
    text = "experiment: x\nbaseline: {recorded: {source: no, variant: on}}\ncandidate: {echo: true}\n"
    recorded = parse_experiment(text, "e").baseline.recorded
    assert (recorded.source, recorded.variant) == ("no", "on")


def test_every_fault_with_its_line():
    """Unknown keys with what was meant, missing ones, values of another kind: all of them, in the order of the file."""
    text = """experiment: many
canddate: {echo: true}
mode: decisions
metrics:
  paid:
    sql: "1"
    goall: lower
    margin: 1_0
budget: {user: 5}
active: yes
"""
    with pytest.raises(DocumentError) as told:
        parse_experiment(text, "many.yaml")
    first, *lines = str(told.value).splitlines()
    assert first == "many.yaml: 7 findings"
    assert lines[0] == "  candidate is missing"
    assert lines[1] == "  line 2: canddate is not a key that this version knows; did you mean candidate?"
    assert lines[2].startswith("  line 3: mode: ")
    assert lines[3] == "  line 7: metrics.paid.goall is not a key that this version knows; did you mean goal?"
    assert lines[4].startswith("  line 8: metrics.paid.margin: ")
    assert lines[4].endswith("(1_0 is text; write the number without _, or quote it)")
    assert "line 9: budget.user" in lines[5]
    assert "line 10: active: " in lines[6]
    assert "write true" in lines[6]


@pytest.mark.parametrize(
    ("setting", "key", "meant"),
    [
        ("tools: {on_mis: stop}", "tools.on_mis", "on_miss"),
        ("window: {form: 2026-01-01}", "window.form", "from"),
        ("windows: [{lst: 7d}]", "windows.0.lst", "last"),
        ("expect: [{name: a, sq: '1'}]", "expect.0.sq", "sql"),
        ("noise_floor: {conversation: 5}", "noise_floor.conversation", "conversations"),
        ("baseline: {recorded: {varaint: a}}", "baseline.recorded.varaint", "variant"),
    ],
)
def test_what_was_meant(setting: str, key: str, meant: str):
    """At any depth, in any form that a setting may have."""
    with pytest.raises(DocumentError, match=rf"{key} is not a key that this version knows; did you mean {meant}\?"):
        parse_experiment(f"experiment: x\ncandidate: {{echo: true}}\n{setting}\n", "e")


def test_files_of_an_experiment_stay_beside_it(tmp_path: Path):
    """No experiment sends a file of the machine to a model, unless its user names the folder."""
    folder, other = tmp_path / "e", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "p.md").write_text("hello")
    (folder / "link.md").symlink_to(other / "p.md")
    (other / "t.yaml").write_text("tools: {}")
    text = with_params("{}").replace("  params", "  prompt_file: FILE\n  params")
    for name in ("/proc/self/environ", "../other/p.md", "link.md", "/dev/stdin", str(other / "p.md")):
        asked = parse_experiment(text.replace("FILE", name), "e").candidate
        with pytest.raises(BadInputError, match=r"allow-files|cannot be read"):
            load_prompt(asked, folder)
    prompt = load_prompt(parse_experiment(text.replace("FILE", "link.md"), "e").candidate, folder, [other])
    assert prompt is not None
    assert prompt.text == "hello"
    for setting in ("manifest", "schemas"):
        tools = parse_experiment(with_params("{}", f"tools: {{{setting}: ../other/t.yaml}}"), "e").tools
        with pytest.raises(BadInputError, match=f"tools.{setting}: .*allow-files"):
            read_tool_policy(tools, folder)


MANY = """
experiment: many
candidates:
  - {name: one, echo: true}
  - {name: two, python: "a:b"}
mode: decision
"""


def test_each_candidate_is_an_experiment_of_its_own():
    """With its name behind the experiment's, and all else the same."""
    one, two = parse_experiment(MANY, "e.yaml").by_candidate()
    assert (one.experiment, two.experiment) == ("many/one", "many/two")
    assert (one.candidate.kind, two.candidate.kind) == ("echo", "python")
    alone = parse_experiment(
        MANY.replace("candidates:\n  - {name: one,", "candidate: {").replace('  - {name: two, python: "a:b"}\n', ""),
        "e.yaml",
    )
    assert one.model_copy(update={"experiment": "many"}) == alone


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: two", "name: one", "candidates: one is named twice"),
        ("name: two", "name: Two", "candidates.1.name: use lower-case letters"),
        ("name: two", "name: a/b", "candidates.1.name: use lower-case letters"),
        ("name: two, ", "", "line 5: candidates.1.name is missing"),
        (
            "name: one, echo",
            "name: one, ehco",
            "line 4: candidates.0.ehco is not a key that this version knows; did you mean echo?",
        ),
        ("mode: decision", "candidate: {echo: true}", "give either candidate or candidates"),
        ("many", "many/one", "a name has no '/'"),
        ('python: "a:b"', "recorded: {}", "candidates: two: a recorded candidate is compared in mode conversation"),
        ("mode: decision", "control: {model: m}", "candidates: one: control"),
    ],
)
def test_candidates_that_do_not_fit_are_refused(old, new, words):
    """Each fault where it is written."""
    with pytest.raises(BadInputError, match=re.escape(words)):
        parse_experiment(MANY.replace(old, new), "e.yaml")


def test_a_control_for_all_has_one_endpoint():
    """At which of two it would be asked nobody could say."""
    text = """
experiment: many
candidates:
  - {name: one, model: m, base_url: "http://127.0.0.1:1/v1"}
  - {name: two, model: m, base_url: "http://127.0.0.1:2/v1"}
control: {model: m}
"""
    with pytest.raises(BadInputError, match=r"control\.base_url: the candidates are asked at different endpoints"):
        parse_experiment(text, "e.yaml")
    parse_experiment(
        text.replace("control: {model: m}", 'control: {model: m, base_url: "http://127.0.0.1:1/v1"}'), "e.yaml"
    )
