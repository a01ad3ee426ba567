"""An experiment's tools, rules and fidelity in its diff: what is the same, what is odd, what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.rules import ToolRules
from pipelines.diff.dataset import build_diff
from pipelines.diff.gating import decide_version
from pipelines.diff.pair.rules import Flagger, tool_rules
from pipelines.errors import BadInputError
from pipelines.experiment.manifest import Manifest, ManifestTool, ToolPolicy
from pipelines.experiment.tool_schemas import agreed_tools
from tests.support.odd_units import (
    rows_of,
    some_units,
    unit_pairs,
)
from tests.support.replayed_lake import replayed_lake
from tests.unit.diff.plain_pairs import diff_plainly

SCHEMAS = [
    {
        "type": "function",
        "function": {
            "name": "lookup",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
                "required": ["a"],
            },
        },
    }
]
MANIFEST = """
tools:
  refund: {effect: write, ignore_args: [a]}
  send: {effect: write, lenient: true}
"""
EXPERIMENT = "experiment: made\ncandidate: {echo: true}\ntools: {schemas: tools.json, manifest: tools.yaml}\n"


def with_tools(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tools.json").write_text(json.dumps(SCHEMAS), encoding="utf-8")
    (folder / "tools.yaml").write_text(MANIFEST, encoding="utf-8")
    return folder


def test_the_tools_rules_decide_what_is_the_same(tmp_path: Path):
    """With a schema, ignored arguments and a lenient tool: units and pairs equal the ones computed one by one under the same
    rules, and more calls are the same than without them."""
    lake, plan = replayed_lake(with_tools(tmp_path), some_units(4, 600), EXPERIMENT)
    build_diff(lake, plan)
    rules = tool_rules(plan.tools)
    flagger = Flagger(rules)
    pairs = unit_pairs(lake)
    units = {row["unit_id"]: row for row in rows_of(lake, "ab_units", "unit_id")}
    expected = []
    for row in pairs:
        unit, calls = diff_plainly(row, rules)
        assert {name: units[row["unit_id"]][name] for name in unit} == unit
        expected += calls
    given = {row["unit_id"]: row for row in pairs}
    for call in expected:
        for side in "ab":
            if call[f"flags_{side}"] is not None:  # what is odd about a text is odd as it was recorded
                one = given[call["unit_id"]][f"tool_calls_{side}"][call[f"position_{side}"]]
                text = one["arguments"] if one["recorded"] is None else one["recorded"]
                call[f"flags_{side}"] = flagger.flags(call[f"name_{side}"], text)
    expected.sort(key=lambda call: (call["unit_id"], call["pair"]))
    found = rows_of(lake, "ab_tool_calls", "unit_id, pair")
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    levels = {(row["name_a"], row["equal_level"]) for row in found if row["class"] == "same"}
    assert ("refund", "L2") in levels
    assert any("missing_required" in (row["flags_b"] or ()) for row in found)


def test_a_manifest_makes_another_version(tmp_path: Path):
    """What makes two calls the same is part of the version, in every mode."""
    units = some_units(5, 5)
    _, plain = replayed_lake(tmp_path / "plain", units)
    _, ruled = replayed_lake(with_tools(tmp_path / "ruled"), units, EXPERIMENT)
    assert plain.version_id != ruled.version_id


def test_recorded_schemas_count_unless_the_experiment_has_its_own(tmp_path: Path):
    """A list that decisions name is as good as the same list in a file; an empty file says that there is none. Which one
    counts is part of the version."""
    sha256 = "5" * 64
    units = [{**unit, "recorded": {"tools_sha256": sha256}} for unit in some_units(6, 150)]
    own = EXPERIMENT.replace("schemas: tools.json, ", "")
    nothing = EXPERIMENT.replace("tools.json", "none.json")
    found = {}
    for name, experiment, tools in (
        ("registered", own, {sha256: SCHEMAS, "6" * 64: [{"name": "other", "parameters": {"type": "object"}}]}),
        ("written", EXPERIMENT, {}),
        ("none", nothing, {sha256: SCHEMAS}),
        ("unknown", own, {}),
    ):
        folder = with_tools(tmp_path / name)
        (folder / "none.json").write_text("[]", encoding="utf-8")
        lake, plan = replayed_lake(folder, units, experiment, tools)
        build_diff(lake, plan)
        rows = [rows_of(lake, "ab_units", "unit_id"), rows_of(lake, "ab_tool_calls", "unit_id, pair")]
        cells = [[{k: v for k, v in row.items() if k != "version_id"} for row in each] for each in rows]
        found[name] = plan.version_id, cells
        assert [tool["name"] for tool in plan.tools.registered] == (["lookup"] if name == "registered" else [])
    assert found["registered"][1] == found["written"][1]
    assert found["none"][1] == found["unknown"][1]
    assert found["registered"][1] != found["none"][1]
    assert len({version for version, _ in found.values()}) == 4


def test_a_tool_whose_recorded_schemas_differ_is_not_known():
    """Only what every list says alike counts, whatever is said in words; no address of a schema is ever looked up."""
    number, text = ({"type": "object", "properties": {"a": {"type": kind}}} for kind in ("integer", "string"))
    elsewhere = {"$ref": "http://127.0.0.1:9/schema.json"}
    lists = [
        (
            {"name": "a", "description": "one", "parameters": number},
            {"name": "b", "parameters": number},
            {"name": "c", "parameters": elsewhere},
            {"name": "d", "parameters": {"type": 3}},
            {"parameters": number},
            {"name": "e", "parameters": "[redacted]"},
        ),
        ({"type": "function", "function": {"name": "a", "parameters": number}}, {"name": "b", "parameters": text}),
        ({"name": "b", "parameters": number},),
    ]
    assert agreed_tools(lists) == ({"name": "a", "parameters": number},)
    assert agreed_tools(reversed(lists)) == agreed_tools(lists)


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ('{"a": 1}', []),
        ('{"a": "1"}', ["schema_invalid"]),
        ('{"b": 1}', ["missing_required", "schema_invalid"]),
        ('"{\\"a\\": 1, \\"a\\": 2}"', ["duplicate_keys"]),
        ('"{"', ["args_invalid_json"]),
        ("null", ["schema_invalid"]),
        ("[1]", ["args_not_object", "schema_invalid"]),
        (None, ["args_missing", "missing_required", "schema_invalid"]),
        ('{"a": 123456789012345678901234567890}', ["big_number"]),
    ],
)
def test_flags_of_a_tool_with_a_schema(arguments: str | None, flags: list[str]):
    """The schema judges what was sent; what it cannot read is flagged as that alone."""
    rules = tool_rules(ToolPolicy(schemas=tuple(SCHEMAS)))
    assert Flagger(rules).flags("lookup", arguments) == flags
    assert [flag for flag in flags if flag.startswith(("args", "dup", "big"))] == Flagger({}).flags("lookup", arguments)


def test_a_schema_that_is_none_is_refused():
    """A schema that no validator understands names its tool."""
    with pytest.raises(BadInputError, match="schema of tool 'f' is no JSON Schema"):
        Flagger({"f": ToolRules(schema={"type": 17})})


def test_key_arguments_alone_make_calls_the_same():
    """`key_args` of a manifest: other arguments make no difference, and lenience comes after."""
    policy = ToolPolicy(manifest=Manifest(tools={"f": ManifestTool(key_args=("q",))}))
    reader = Canonicaliser(tool_rules(policy))
    a, b, c = (reader.read("f", json.dumps({"q": q, "page": page})) for q, page in (("x", 1), ("x", 2), ("y", 1)))
    assert a.key == b.key != c.key


def fed_units(count: int) -> list[dict]:
    """Units of which every fourth was fed otherwise than recorded, and every tenth not answered."""
    random = Random(1)
    how = [{"is_off_policy": True, "is_tainted": True}, {"is_tainted": True}, {"result_source": "exact_unverified"}]
    units = []
    for number in range(count):
        calls = [("refund", json.dumps({"usd": random.randrange(100)}))]
        same = random.random() < 0.7
        unit = {"stream": number // 4, "text_a": None, "text_b": None, "calls_a": calls}
        unit["calls_b"] = calls if same else [("refund", json.dumps({"usd": 200}))]
        unit["replayed"] = dict(how[number // 4 % 3]) if number % 4 == 0 else {}
        if number % 10 == 1:
            unit["replayed"] = {"status": "failed", "reason": "timeout", "tool_calls": []}
            unit["calls_b"] = []
        units.append(unit)
    return units


def test_a_context_that_was_put_together_is_left_out_and_counted(tmp_path: Path):
    """A history that an import did not find whole is in no headline, unless its hash says that it is what was sent."""
    found = [
        {"history": "rendered", "context_verified": False},
        {"history": "compacted", "context_verified": None},
        {"history": "delta", "context_verified": True},
        {"history": "exact", "context_verified": True},
        {"history": "opened", "context_verified": None},
        {"context_verified": False},
    ]
    unit = {"text_a": "a", "text_b": "a", "calls_a": [], "calls_b": []}
    units = [{**unit, "stream": number // 6, "recorded": found[number % 6]} for number in range(60)]
    lake, plan = replayed_lake(tmp_path, units, "experiment: made\ncandidate: {echo: true}\n")
    assert build_diff(lake, plan).fidelity == {"exact": 40, "rebuilt": 20}
    lines = {row["metric"]: row for row in rows_of(lake, "ab_summary", "metric")}
    assert (lines["same_calls"]["n"], lines["same_calls"]["excluded"]) == (40, 20)


def test_what_was_not_fed_as_recorded_is_left_out_and_counted(tmp_path: Path):
    """Tainted, unverified and off-policy units are in no headline share or mean; worst case and complete case bound it."""
    experiment = """
experiment: made
candidate: {echo: true}
metrics: {usd: {sql: "list_sum(list_transform(tool_calls, LAMBDA call: (call.arguments->>'usd')::DOUBLE))", goal: lower, margin: 1}}
expect:
  - {name: at_most_150, sql: "list_bool_and(list_transform(tool_calls, LAMBDA call: (call.arguments->>'usd')::DOUBLE <= 150))"}
gate: "at_most_150; at_most_150.low >= 0.9"
"""
    units = fed_units(400)
    lake, plan = replayed_lake(tmp_path, units, experiment)
    done = build_diff(lake, plan)
    assert done.fidelity == {"exact": 260, "off_policy": 34, "tainted": 33, "unverified": 33}
    lines = {row["metric"]: row for row in rows_of(lake, "ab_summary", "metric")}
    exact = [unit for unit in units if not unit["replayed"]]
    same = sum(unit["calls_a"] == unit["calls_b"] for unit in exact)
    assert (lines["same_calls"]["n"], lines["same_calls"]["excluded"]) == (300, 100)
    assert lines["same_calls"]["estimate"] == pytest.approx(same / 300)
    assert lines["same_calls_answered"]["estimate"] == pytest.approx(same / 260)
    assert lines["same_calls_worst"]["estimate"] == pytest.approx(same / 400)
    assert (lines["usd"]["n"], lines["usd"]["excluded"]) == (260, 140)
    rule = lines["at_most_150"]
    assert (rule["kind"], rule["n"], rule["mean_a"]) == ("rule", 260, 1.0)
    assert rule["mean_b"] == rule["estimate"] == pytest.approx(same / 260)
    gate = decide_version(lake, plan.experiment.experiment, done.version_id, plan.experiment.gate).gate
    assert gate is not None
    assert [(clause.passed, clause.seen) for clause in gate.clauses] == [(False, False), (False, rule["low"])]
