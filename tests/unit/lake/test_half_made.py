"""What a kill or a full disk leaves of a table that was being made is no table; what is damaged is said, in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.audit.verify import verify
from pipelines.duck import scratch
from pipelines.lake.datasets import EXPERIMENTS, STREAM_MONTHS
from pipelines.lake.delta import is_table
from pipelines.lake.errors import TableDamagedError
from pipelines.lake.housekeeping import vacuum
from pipelines.lake.lake import Lake
from pipelines.lake.own import find_own, own_column, own_dataset
from tests.support.lake_rows import contents, register, replace_month

OWN = own_dataset("refunds", "one refund", ("id",), (own_column("id", "VARCHAR", "its id"),))
FIRST, SECOND = f"{0:020d}.json", f"{1:020d}.json"


def nothing(folder: Path) -> None:
    folder.mkdir(parents=True)


def no_entry(folder: Path) -> None:
    (folder / "_delta_log").mkdir(parents=True)


def half_an_upload(folder: Path) -> None:
    no_entry(folder)
    (folder / "_delta_log" / "_commit_3f.json.tmp").write_text('{"commitInfo":')
    (folder / "_delta_log" / f"{FIRST}#1").write_text('{"commitInfo":')


def zero_bytes(folder: Path) -> None:
    no_entry(folder)
    (folder / "_delta_log" / FIRST).write_bytes(b"")


def zeros(folder: Path) -> None:
    no_entry(folder)
    (folder / "_delta_log" / FIRST).write_bytes(bytes(300))


def cut_short(folder: Path) -> None:
    made = Lake(folder.parent.parent / "whole").table(folder.name if folder.name != "refunds" else "experiments")
    made.create()
    no_entry(folder)
    entry = (made.path / "_delta_log" / FIRST).read_bytes()
    (folder / "_delta_log" / FIRST).write_bytes(entry[: len(entry) - 40])


def pointer_alone(folder: Path) -> None:
    no_entry(folder)
    (folder / "_delta_log" / "_last_checkpoint").write_text('{"version":7,"size":3}')


def with_an_orphan(folder: Path) -> None:
    zero_bytes(folder)
    (folder / "part-00000-0.parquet").write_bytes(b"PAR1")


HALVES = [nothing, no_entry, half_an_upload, zero_bytes, zeros, cut_short, pointer_alone, with_an_orphan]


@pytest.mark.parametrize("half", HALVES)
def test_half_a_table_is_none(half, tmp_path):
    """Half-made tables of every kind (by month, registry, provenance, one's own) read as empty, and the next writer makes them."""
    lake = Lake(tmp_path / "lake")
    for name in ("stream_months", "experiments", "commits", "home_log", "refunds"):
        half(lake.root / name)
        assert not is_table(lake.root / name)
    assert find_own(lake.root) == {}
    assert contents(lake.root) == {}
    assert lake.commits("stream_months") == []
    replace_month(lake)
    register(lake)
    lake.begin(OWN)
    with scratch() as connection:
        lake.write_partition(OWN, {"month": "2026-01"}, connection, "SELECT 'a' AS id", input_hash="h")
    found = contents(lake.root)
    assert [len(found[name]) for name in ("stream_months", "experiments", "refunds", "commits")] == [7, 4, 1, 2]
    assert Lake(lake.root).last_commit("stream_months", {"month": "2026-01"}).number == 1
    if half is with_an_orphan:
        vacuum(lake, tmp_path / "lake.duckdb", grace_days=0)
        assert contents(lake.root) == found


def test_half_tables_are_no_damage(tmp_path):
    """`verify` finds nothing wrong in a lake that was left half-made."""
    lake = Lake(tmp_path / "lake")
    for name in ("events", "stream_months", "experiments", "commits", "home_log"):
        no_entry(lake.root / name)
    assert verify(lake, None).all_findings == []


@pytest.mark.parametrize("pointer", ['{"version":7,"size":3}', '{"vers', "", "null", '{"version":"x"}'])
def test_a_broken_pointer_to_a_checkpoint(pointer, tmp_path):
    """The log is whole without it, with and without a checkpoint: nothing fails, and vacuum makes the next checkpoint."""
    for has_checkpoint in (False, True):
        lake = Lake(tmp_path / str(has_checkpoint))
        register(lake)
        delta = lake.table("experiments").load()
        if has_checkpoint:
            delta.create_checkpoint()
        (lake.root / "experiments" / "_delta_log" / "_last_checkpoint").write_text(pointer)
        wanted = contents(lake.root)
        assert len(wanted["experiments"]) == 4
        if has_checkpoint and pointer == "null":
            vacuum(Lake(lake.root), tmp_path / "lake.duckdb", grace_days=0)
        register(Lake(lake.root))
        assert contents(lake.root)["experiments"] == wanted["experiments"] + wanted["experiments"]


def test_a_damaged_log_is_said_and_left_alone(tmp_path):
    """An entry after the first that is cut short, and a first one that is gone, are damage: named, nothing is changed."""
    for damage in ("cut", "gone"):
        lake = Lake(tmp_path / damage)
        replace_month(lake)
        replace_month(lake)
        entry = lake.root / "stream_months" / "_delta_log" / (SECOND if damage == "cut" else FIRST)
        if damage == "cut":
            entry.write_bytes(entry.read_bytes()[:50])
        else:
            entry.unlink()
        before = {path: path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}
        for use in (lambda lake: lake.files(STREAM_MONTHS.name), replace_month):
            with pytest.raises(
                TableDamagedError, match=r"stream_months cannot be read \([^\n]*\); nothing was changed"
            ) as told:
                use(Lake(lake.root))
            assert "\n" not in str(told.value)
        after = {path: path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}
        assert before.items() <= after.items()
        assert verify(Lake(lake.root), None).all_findings


def test_a_first_entry_in_parts_is_a_table(tmp_path):
    """A log that begins at a checkpoint, trimmed as Delta trims it, is a table; so is one whose entries end in a blank line."""
    lake = Lake(tmp_path / "lake")
    register(lake)
    log = lake.root / "experiments" / "_delta_log"
    (log / FIRST).write_text((log / FIRST).read_text() + "\n\n")
    assert len(contents(lake.root)["experiments"]) == 4
    lake.table("experiments").load().create_checkpoint()
    for entry in log.glob("*.json"):
        entry.unlink()
    assert is_table(lake.root / "experiments")
    assert len(contents(lake.root)["experiments"]) == 4
    assert json.loads((log / "_last_checkpoint").read_text())["version"] > 0
    assert EXPERIMENTS.name in contents(lake.root)
