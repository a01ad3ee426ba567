"""Several candidates on a shop's history: one control for all, versions of their own, and all of them on one page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.diff.candidates import compare_candidates
from pipelines.diff.dataset import build_diff
from pipelines.diff.prune import prune_versions
from pipelines.diff.versions import list_versions
from pipelines.erasure.reports import find_stale
from pipelines.erasure.tables import files_of_versions
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plans, require_same_units
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.review.files import report_path, write_report
from pipelines.settings import Settings
from pipelines.store import Store, connect
from tests.support.databases import copied_database
from tests.support.history import query
from tests.support.model_server import serving
from tests.support.shop import add, conversation
from tests.support.verbs import run_in_home

TASKS = 24


@pytest.fixture(scope="module")
def lake(server, template, tmp_path_factory) -> Path:
    """The lake of a shop: tasks that one variant ran, and all but the last of them another one, too."""
    folder = tmp_path_factory.mktemp("shop")
    lines = [
        conversation(task, variant, 10.0 * (task + 1), f"2026-01-{task + 1:02d} 12:00:00")
        for task in range(TASKS)
        for variant in ("v1", "v2")
        if (task, variant) != (TASKS - 1, "v2")
    ]
    with copied_database(server, template) as name, connect(server.dsn_of(name)) as conn:
        add(Store(conn, server.dsn_of(name)), Lake(folder / "lake"), folder, lines)
    return folder / "lake"


def capped(body):
    """Does what was recorded; the model `half` pays half of it, on tasks with an even number."""
    last = body["messages"][-1]
    if last["role"] == "user":
        arguments = json.dumps({"id": int(last["content"].split()[-1])})
        return {"role": "assistant", "content": None, "tool_calls": [called("lookup_order", arguments)]}
    orders = [
        json.loads(each["content"])
        for each in body["messages"]
        if each["content"] not in (None, "ok") and each["role"] == "tool"
    ]
    if last["content"] == "ok":
        return {"role": "assistant", "content": f"Refunded {orders[0]['total']} USD"}
    amount = orders[0]["total"] / (2 if body["model"] == "half" and orders[0]["order"] % 2 == 0 else 1)
    arguments = json.dumps({"id": orders[0]["order"], "amount_usd": amount})
    return {"role": "assistant", "content": "Paying it back.", "tool_calls": [called("refund", arguments)]}


def called(name, arguments):
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


EXPERIMENT = """
experiment: caps
baseline: {{recorded: {{source: shop, variant: v1}}}}
candidates:
  - {{name: same, model: same, base_url: "{url}", price: {{input_usd: 10, output_usd: 10}}}}
  - {{name: half, model: half, base_url: "{url}", price: {{input_usd: 10, output_usd: 10}}}}
  - {{name: recording, echo: true}}
metrics:
  refund_usd:
    sql: "coalesce((SELECT sum((c.arguments ->> '$.amount_usd')::DOUBLE) FROM (SELECT unnest(tool_calls) AS c)), 0)"
    goal: lower
expect:
  - {{name: under_200, sql: "coalesce(list_max(list_transform(tool_calls, LAMBDA c: (c.arguments ->> '$.amount_usd')::DOUBLE)), 0) < 200"}}
primary: refund_usd
gate: "same_calls >= 0.9"
"""
WITH_CONTROL = EXPERIMENT.replace("  - {{name: recording, echo: true}}\n", "") + (
    'control: {{model: same, base_url: "{url}", price: {{input_usd: 10, output_usd: 10}}}}\n'
    "noise_floor: {{conversations: 5}}\n"
)


def test_all_candidates_are_run_beside_one_control_and_compared(lake, tmp_path):
    """One control is paid for, prices are told before, each has a version, a gate and a report, and there is one page of all."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(lake, home / "lake")
    with serving(answer=capped, keep_bodies=True) as server:
        (home / "e.yaml").write_text(WITH_CONTROL.format(url=server.base_url), encoding="utf-8")
        priced = run_in_home(home, "ab", "e.yaml", "--dry-run")
        assert sum(server.calls.values()) == 0
        page = run_in_home(home, "ab", "e.yaml", "--github-comment", "c.md", "--junit", "j.xml", check=False)
        # a draw of every decision of both, two of the noise sample's; and of the control two of the sample's, once
        asked = [body["model"] for body in server.bodies]
        units, sampled = TASKS * 3, 5 * 3
        assert (asked.count("half"), asked.count("same")) == (units + sampled, units + sampled + 2 * sampled)
        again = json.loads(run_in_home(home, "ab", "e.yaml", "--json", check=False))
        assert len(server.bodies) == len(asked)
    assert "all candidates: about" in priced
    one, two, total = (
        float(each.split(" USD")[0].replace(",", ""))
        for each in priced.split("about ")[1:]
        if "control once" in each or "prices of" in each
    )
    assert max(one, two) < total < one + two
    assert "caps  2 candidates over 72 decision pairs" in page
    assert "half − same" in page
    assert "gate FAILED: same_calls >= 0.9  (seen: 0.833333)" in page
    assert [each["experiment"] for each in again["windows"]] == ["caps/same", "caps/half"]
    assert [each["gate"]["clauses"][0]["passed"] for each in again["windows"]] == [True, False]
    assert not any(each["is_written"] for each in again["windows"])
    html = Path(again["candidates_report"]).read_text(encoding="utf-8")
    assert "Each candidate beside another" in html
    assert "half − same" in html
    comment = (home / "c.md").read_text(encoding="utf-8")
    assert comment.startswith("<!-- refold ab: caps -->\n\n### 2 candidates of `caps`")
    assert "#### ✅" not in comment
    assert "`half`" in comment
    assert json.loads(
        run_in_home(home, "sql", "SELECT DISTINCT experiment FROM ab_summary_history ORDER BY 1", "--json")
    )["rows"] == [
        {"experiment": "caps/half"},
        {"experiment": "caps/same"},
    ]


@pytest.fixture(scope="module")
def compared(lake, tmp_path_factory):
    """The lake with the versions of all candidates."""
    home = tmp_path_factory.mktemp("compared")
    shutil.copytree(lake, home / "lake")
    mine = Lake(home / "lake")
    settings = Settings(home=home, dsn=None, lake=home / "lake", memory_bytes=3 * 10**9)
    versions = {}
    with serving(answer=capped) as server:
        experiment = parse_experiment(EXPERIMENT.format(url=server.base_url), "e.yaml")
        for each in experiment.by_candidate():
            (plan,) = make_plans(mine, each, home)
            run_replay(mine, plan, settings=settings)
            build_diff(mine, plan)
            versions[each.experiment] = plan.version_id
    return mine, experiment, versions


def test_one_comparison_is_the_summarys_own(compared):
    """Beside A, a candidate alone has the estimates and bounds that `ab_summary` has."""
    lake, experiment, versions = compared
    kept = {
        (name, metric): numbers
        for name, metric, *numbers in query(
            lake, "SELECT experiment, metric, n, g, estimate, low, high FROM ab_summary_history WHERE segment = 'all'"
        )
    }
    compared_lines = 0
    for name, version_id in versions.items():
        found = compare_candidates(lake, experiment, {name: version_id})
        assert found.between == ()
        for line in found.beside:
            seen = line.estimate
            expected = kept[name, line.metric]
            assert [seen.n, seen.g, seen.theta, seen.low, seen.high] == pytest.approx(expected), (name, line.metric)
            compared_lines += 1
    assert compared_lines >= 12


def test_candidates_are_compared_on_their_own_answers(compared):
    """Half pays half on even tasks: the difference is what SQL says, twice the other way round, and none against the recording."""
    lake, experiment, versions = compared
    found = compare_candidates(lake, experiment, versions)
    assert (found.level, found.pair_level) == pytest.approx((1 - 0.05 / 3, 1 - 0.05 / 3))
    lines = {(line.metric, line.first, line.second): line.estimate for line in found.between}
    of_half = lines["refund_usd", "caps/same", "caps/half"]
    ((expected,),) = query(
        lake,
        "SELECT avg(metrics_b['refund_usd'] - metrics_a['refund_usd']) FROM ab_units_history WHERE experiment = 'caps/half'",
    )
    assert of_half.theta == pytest.approx(expected)
    assert (of_half.low, of_half.reason) == (None, "skewed")
    assert of_half.theta < of_half.high
    assert lines["refund_usd", "caps/half", "caps/recording"].theta == pytest.approx(-expected)
    assert lines["refund_usd", "caps/same", "caps/recording"].reason == "no_change"
    assert lines["same_calls", "caps/same", "caps/half"].theta == pytest.approx(-1 / 6)
    assert lines["under_200", "caps/same", "caps/half"].theta > 0
    backwards = compare_candidates(lake, experiment, dict(reversed(versions.items())))
    mirrored = {(line.metric, line.second, line.first): line.estimate for line in backwards.between}
    for key, one in lines.items():
        assert mirrored[key].theta == (None if one.theta is None else pytest.approx(-one.theta))


def test_the_name_of_a_candidate_is_one_everywhere(compared, tmp_path):
    """Versions are listed by experiment and by candidate, pruned and erased by either, and Delta's own reader sees the name."""
    lake, _, versions = compared
    assert {each.experiment for each in list_versions(lake, "caps")} == set(versions)
    assert [each.version_id for each in list_versions(lake, "caps/half")] == [versions["caps/half"]]
    with pytest.raises(BadInputError, match="caps/half"):
        list_versions(lake, "cap")
    assert {each["experiment"] for each in lake.table("ab_units").partitions()} == set(versions)
    assert all("/experiment=caps%2F" in path for path in lake.table("ab_units").files())
    assert {each["experiment"] for each, _ in files_of_versions(lake)} == set(versions)
    half = ("caps/half", versions["caps/half"])
    page = report_path(tmp_path, *half)
    write_report("of stream-4711", page)
    assert find_stale(lake, tmp_path, ["stream-4711"], {}) == [page]
    assert find_stale(lake, tmp_path, [], {half: ["other"]}) == [page]
    gone = prune_versions(lake, "caps", keep=0, newest_too=True, is_dry_run=True)
    assert {each.experiment for each in gone.versions} == set(versions)


def test_candidates_that_ran_other_tasks_are_refused(lake, tmp_path):
    """Before anything is asked, with what would help."""
    text = """
experiment: runs
baseline: {recorded: {source: shop, variant: v1}}
candidates:
  - {name: one, recorded: {source: shop, variant: v1}}
  - {name: two, recorded: {source: shop, variant: v2}}
mode: conversation
"""
    mine = Lake(lake)
    with pytest.raises(BadInputError, match=r"runs/two has 23 conversations and runs/one 24.*where"):
        require_same_units(parse_experiment(text, "x"), lambda each: make_plans(mine, each, tmp_path))
    few = text + "where: \"task <> 'task/23'\"\n"
    require_same_units(parse_experiment(few, "x"), lambda each: make_plans(mine, each, tmp_path))
