"""`units_file`: an experiment of named units and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines.diff.dataset import build_diff
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.units import count_decisions, count_erased, count_not_asked, create_plan_relations
from pipelines.experiment.versions import keep_version, load_version
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.lake import Lake
from tests.support.odd_units import rows_of, some_units
from tests.support.replayed_lake import replayed_lake, stream_id

TEXT = "experiment: pinned\ncandidate: {echo: true}\nunits_file: pinned.jsonl\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Plan]:
    """Decisions, their replays, and the plan of all of them."""
    return replayed_lake(tmp_path_factory.mktemp("pinned") / "lake", some_units(3, 30))


def plan_of(lake: Lake, folder: Path, *units: str, text: str = TEXT) -> Plan:
    """The plan of these units."""
    lines = [json.dumps({"unit_id": unit, "choice": "worse"}) for unit in units]
    (folder / "pinned.jsonl").write_text("\n".join([*lines, "", lines[0] if lines else ""]), encoding="utf-8")
    return make_plan(lake, parse_experiment(text, "test"), folder)


def test_only_named_units_are_compared(home: tuple[Lake, Plan], tmp_path: Path):
    """What is named is in the version, in any order and however often; the version is another one for each set, and is gone on with."""
    lake, whole = home
    units = sorted(row["unit_id"] for row in rows_of(lake, "replays", "unit_id"))
    some = units[3:12:4]
    plan = plan_of(lake, tmp_path, *some)
    assert plan.version_id == plan_of(lake, tmp_path, *reversed(some)).version_id
    assert len({plan.version_id, plan_of(lake, tmp_path, *units[:2]).version_id, whole.version_id}) == 3
    assert "units" not in whole.definition
    assert plan.streams.column("aggregate_id").to_pylist() == sorted({unit.split("/")[0] for unit in some})
    keep_version(lake, plan, tmp_path)
    assert load_version(lake, "pinned", plan.version_id).units == frozenset(some)
    with lake.connect() as connection:
        create_plan_relations(connection, plan)
        assert [count(connection, plan) for count in (count_decisions, count_not_asked, count_erased)] == [3, 0, 0]
        _copy_replays(lake, connection, whole, plan)
    assert build_diff(lake, plan).pairs == 3
    found = [row["unit_id"] for row in rows_of(lake, "ab_units", "unit_id") if row["version_id"] == plan.version_id]
    assert found == some


def _copy_replays(lake: Lake, connection: duckdb.DuckDBPyConnection, whole: Plan, plan: Plan) -> None:
    """Let a version have the replays of another."""
    query = "SELECT * EXCLUDE (experiment, version_id) FROM replays_history WHERE version_id = $version_id"
    params = {"version_id": whole.version_id}
    lake.write_partition(REPLAYS, plan.partition, connection, query, params, input_hash=plan.version_id)


def test_what_is_no_unit_of_the_experiment_is_refused(home: tuple[Lake, Plan], tmp_path: Path):
    """A line that is none, a unit of another mode, of a conversation that is not selected, or that its conversation has not."""
    lake, plan = home
    known = str(plan.streams.column("aggregate_id")[0])
    unknown = stream_id(999_999)
    for unit, told in (
        (f"{known}/t1", r"line 1: .* names no unit; in mode decision a line is .*<aggregate_id>/<decision>"),
        (known, "names no unit"),
        ("x", "names no unit"),
        (f"{unknown}/1", f"names {unknown}/1, and its conversation is not selected"),
        (f"{known}/999", f"names {known}/999, and its conversation has no such unit"),
    ):
        with pytest.raises(BadInputError, match=told):
            plan_of(lake, tmp_path, unit)
    with pytest.raises(BadInputError, match="names no unit; leave units_file out"):
        plan_of(lake, tmp_path)
    for line in ("[1]", "{", "[" * 5_000):
        (tmp_path / "pinned.jsonl").write_text(line, encoding="utf-8")
        with pytest.raises(BadInputError, match="line 1"):
            make_plan(lake, parse_experiment(TEXT, "test"), tmp_path)
    outside = replace(plan, experiment=parse_experiment(TEXT.replace("pinned.jsonl", "../../pinned.jsonl"), "test"))
    with pytest.raises(BadInputError, match="units_file"):
        make_plan(lake, outside.experiment, tmp_path)
    with pytest.raises(BadInputError, match="leave sample out"):
        parse_experiment(f"{TEXT}sample: {{conversations: 3}}\n", "test")
