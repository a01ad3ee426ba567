"""Projections of one's own as assets: real runs, failing checks, and what the command line says."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest

from assets.definitions import build_defs
from assets.runs import materialize
from pipelines.projections.projection import find_projections
from pipelines.settings import Settings

MONTHS = ("2026-01", "2026-02")
GOOD = """-- purpose: Tool calls by tool.
-- parameters: none
-- grain: one tool
-- key: name
SELECT name, count(*) AS calls FROM tool_calls GROUP BY name
"""
BROKEN = GOOD.replace("count(*)", "\n    cuont(*)")
TWICE = GOOD.replace("GROUP BY name", "GROUP BY ALL UNION ALL SELECT 'find_order', 1")

IN_POLARS = """# purpose: Calls by tool.
# parameters: none
# grain: one tool
# key: name
import polars as pl
def fold(tool_calls):
    return tool_calls.group_by("name").agg(calls=pl.len())
"""


def write(settings: Settings, **files: str) -> Path:
    folder = settings.home / "folds"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text, encoding="utf-8")
    return folder


def test_every_file_is_an_asset_and_starts_what_folds_start(settings):
    """An own projection has the months, condition and upstream of a fold; a broken one is there too, and says so."""
    write(settings, good=GOOD, broken=BROKEN)
    definitions = build_defs(projections=find_projections(settings.home))
    graph = definitions.get_repository_def().asset_graph
    good, broken = (graph.get(dg.AssetKey(["refold", name])) for name in ("good", "broken"))
    assert isinstance(good.partitions_def, dg.MonthlyPartitionsDefinition)
    assert {key.path[-1] for key in good.parent_keys} == {"events", "tool_calls"}
    assert [column.name for column in good.metadata["dagster/column_schema"].columns] == ["month", "name", "calls"]
    assert "cannot be folded" in broken.description
    repository = definitions.get_repository_def()
    free = repository.get_job("export_and_fold").asset_layer.executable_asset_keys
    assert {good.key, broken.key} <= free
    (sensor,) = (each for each in repository.sensor_defs if isinstance(each, dg.AutomationConditionSensorDefinition))
    assert {good.key, broken.key} <= sensor.asset_selection.resolve(graph)


@pytest.mark.usefixtures("conversations")
def test_a_broken_file_is_a_failing_check_and_the_others_are_folded(store_settings, refold):
    """One run: the good table is written, the broken ones' checks name file and line, the verb ends with 3."""
    folder = write(store_settings, good=GOOD, broken=BROKEN, twice=TWICE)
    (folder / "in_polars.py").write_text(IN_POLARS, encoding="utf-8")
    (folder / "by_chance.py").write_text(IN_POLARS.replace("pl.len()", "pl.lit(id(object))"), encoding="utf-8")
    assert refold("export")[0] == 0
    code, out, err = refold("fold", "--json")
    assert code == 3
    months = json.loads(out)["months"]
    assert [month["month"] for month in months] == list(MONTHS)
    assert [month["tables"]["good"]["row_count"] for month in months] == [1, 1]
    for month in months:
        assert month["tables"]["in_polars"]["row_count"] == 1
        assert {"broken", "twice", "by_chance"}.isdisjoint(month["tables"])
        failed = {(c["asset"], c["name"]): c["description"] for c in month["checks"] if not c["passed"]}
        assert failed["broken", "file_runs"].startswith(f"{folder}/broken.sql:6: Catalog Error: Scalar Function")
        assert failed["twice", "key_is_unique"].startswith(
            f"{folder}/twice.sql:4: key name: of 2 rows of {month['month']}"
        )
        assert failed["by_chance", "file_runs"].startswith(f"{folder}/by_chance.py:6: the same rows in another order")
        passed = {(c["asset"], c["name"]) for c in month["checks"] if c["passed"]}
        assert {("good", "file_runs"), ("good", "key_is_unique"), ("twice", "file_runs")} <= passed
    assert f"refold: broken: {folder}/broken.sql:6: " in err
    (folder / "broken.sql").unlink()
    (folder / "twice.sql").unlink()
    (folder / "by_chance.py").unlink()
    code, out, _ = refold("fold", "good")
    assert code == 0
    assert [line.split()[-3:] for line in out.splitlines()[1:]] == [["up", "to", "date"]] * 2
    rows = json.loads(refold("sql", "SELECT month, name, calls FROM good ORDER BY month", "--json")[1])["rows"]
    assert [list(row.values()) for row in rows] == [["2026-01", "find_order", 6], ["2026-02", "find_order", 2]]
    rows = json.loads(refold("sql", "SELECT month, name, calls FROM in_polars ORDER BY month", "--json")[1])["rows"]
    assert [list(row.values()) for row in rows] == [["2026-01", "find_order", 6], ["2026-02", "find_order", 2]]
    assert "good: one tool" in refold("sql", "--tables")[1]


@pytest.mark.usefixtures("conversations")
def test_a_check_and_an_asset_show_no_text_of_a_person(store_settings, refold, secret):
    """A SELECT that stumbles over personal text says where, in verb, check and event log, and not over what."""
    text = GOOD.replace("count(*)", "max((arguments ->> '$.name')::INTEGER)")
    folder = write(store_settings, good=text)
    refold("export")
    code, out, err = refold("fold", "good")
    assert code == 3
    assert f"{folder}/good.sql:5: Conversion Error: Could not convert string …" in err
    assert secret not in out + err
    code, out, err = refold("fold", "--check", str(folder / "good.sql"))
    assert code == 2
    assert f"refold: {folder}/good.sql:5: Conversion Error" in err
    assert secret not in out + err
    result = materialize(store_settings, ["good"], "2026-01")
    assert not result.metadata
    assert secret not in str(result.checks)


@pytest.mark.usefixtures("conversations")
def test_what_a_person_sees(store_settings, refold):
    """Wrong names, wrong uses and tables without a file are answered with what to do."""
    folder = write(store_settings, good=GOOD)
    refold("export")
    code, _, err = refold("fold", "nothing")
    assert code == 2
    assert "there is no projection 'nothing'; there are redacted_events, utterances, tool_calls" in err
    assert f"good; your own are SQL files in {folder}" in err
    code, out, _ = refold("fold", "good")
    assert code == 0
    assert out.splitlines()[0].split() == ["month", "tool_calls", "good"]
    code, out, _ = refold("fold", "--check", str(folder / "good.sql"))
    assert code == 0
    assert out.splitlines()[0] == "good: one tool; reads tool_calls"
    assert "1 rows of 2 of 2 streams of 2026-02" in out
    code, _, err = refold("fold", "good", "--check", str(folder / "good.sql"))
    assert (code, "--check tries one file on one month" in err) == (2, True)
    assert refold("fold", "good", "--drop")[0] == 2
    (folder / "good.sql").unlink()
    assert "good: its file is gone, its table stays as last folded" in refold("fold", "utterances")[2]
    assert refold("fold", "good", "--drop")[1] == "dropped good\n"
    assert refold("sql", "SELECT * FROM good")[0] == 2
