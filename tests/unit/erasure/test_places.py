"""Places beside versions: notes of when it was done, pages, answers of models, what was spilled."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.erasure.derived import find_unforgotten, forget_derived
from pipelines.erasure.reach import Reach, find_done, note_done
from pipelines.lake.dataset import Dataset
from pipelines.lake.housekeeping import find_spilled, remove_spilled
from pipelines.lake.lake import Lake
from pipelines.lake.own import own_column, own_dataset
from pipelines.proof.erasure import Target
from pipelines.redaction.places import find_value
from pipelines.replay.asking import forgetting
from pipelines.replay.asking.responses import Charge, ResponseStore, Stored, asking_alone, is_asking
from pipelines.settings import Settings

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WHOLE, PART, OTHER = (f"{number}{number}{number}{number}0000-0000-0000-0000-000000000000" for number in (1, 2, 3))
TARGETS = [Target(WHOLE, 1, 9, True), Target(PART, 3, 3, False)]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", dsn=None, lake=tmp_path / "home" / "lake")


def test_what_is_made_later_of_a_part_is_not_reached():
    """A whole stream is always reached; one that goes on only in what was made before everything was forgotten, or nobody knows when."""
    undone, done = Reach.of(TARGETS, None), Reach.of(TARGETS, NOON)
    later = NOON + timedelta(seconds=1)
    assert undone.since(later) == undone.since(None) == {WHOLE, PART}
    assert done.since(NOON) == done.since(None) == {WHOLE, PART}
    assert done.since(later) == {WHOLE}


def test_the_first_time_is_noted(tmp_path):
    """Again is no other time; a note that cannot be read is none."""
    assert find_done(tmp_path, "e") is None
    note_done(tmp_path, "e", NOON)
    note_done(tmp_path, "e", NOON + timedelta(days=1))
    assert (find_done(tmp_path, "e"), find_done(tmp_path, "other")) == (NOON, None)
    (note,) = (tmp_path / "erasures").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    note.write_text("{}", encoding="utf-8")
    assert find_done(tmp_path, "e") is None


def test_a_home_without_anything_is_done_at_once(home):
    """Neither lake, answers, reports nor runs: nothing is made, and nothing is left."""
    lake = Lake.from_settings(home)
    done = forget_derived(home, lake, TARGETS, erasure="e")
    assert [each.count for each in done if each.is_reached] == [0] * len([each for each in done if each.is_reached])
    assert {each.place for each in done if not each.is_reached} == {"runs", "elsewhere"}
    assert find_done(home.home, "e") is None  # records of runs were not looked at
    assert find_unforgotten(home, lake, TARGETS, erasure="e") == []
    home.home.mkdir(exist_ok=True)
    home.sql_history.write_text("+SELECT 'ann'\n")  # what a person typed is for a person to look at
    (asked,) = [each for each in forget_derived(home, lake, TARGETS, erasure="e") if each.place == "asked"]
    assert (asked.is_reached, asked.count) == (False, 1)
    assert str(home.sql_history) in asked.told


def keep(store: ResponseStore, stream: str, number: int, said: str) -> None:
    stored = Stored(said.encode(), 1.0, 0.1)
    asyncio.run(store.put(store.endpoint("http://model"), f"{number:064x}", stream, stored, Charge("e", "v", 0.1)))


def test_answers_of_models_are_erased_from_file_pages_and_log(home):
    """Those of the conversation, whatever asked; nothing of them is in any byte. What was charged stays."""
    with ResponseStore(home.responses) as store:
        for number in range(200):
            keep(
                store,
                (WHOLE, PART, OTHER)[number % 3],
                number,
                f"{('first', 'second', 'third')[number % 3]} said {number}",
            )
        charged = store.charged()
        assert forgetting.count(store, [WHOLE], [PART], None) == 134
        assert forgetting.erase(store, [WHOLE], [PART], None) == (
            134,
            sum(len(f"{w} said {n}") for n in range(200) for w in [("first", "second", "third")[n % 3]] if n % 3 != 2),
        )
        assert forgetting.clear(store)
        assert (forgetting.erase(store, [WHOLE], [PART], None), store.charged()) == ((0, 0), charged)
    assert [find_value(home.home, f"{word} said") == [] for word in ("first", "second", "third")] == [True, True, False]


def test_answers_that_came_later_of_a_part_stay(home):
    """What a replay paid for after everything was forgotten knows nothing of what was erased."""
    with ResponseStore(home.responses) as store:
        keep(store, PART, 0, "later")
        assert forgetting.count(store, [], [PART], datetime.now(UTC) - timedelta(minutes=1)) == 0
        assert forgetting.count(store, [], [PART], datetime.now(UTC) + timedelta(minutes=1)) == 1


def test_a_replay_that_asks_is_seen(home):
    """While it holds its endpoint, and not after."""
    locks = home.replays / "locks"
    assert not is_asking(locks)
    with asking_alone(locks, "http://model", lambda _line: None):
        assert is_asking(locks)
    assert not is_asking(locks)


def test_what_ended_processes_spilled_goes(home):
    """Of queries, of a user's code and of a replay's workers; what a process at work spilled stays, and is named."""
    lake = Lake.from_settings(home)
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    for name in (
        f"locked-{ended.pid}-x/given.arrow",
        f"workers-{ended.pid}-ab/units-0.parquet",
        f"workers-{os.getpid()}-cd/units-0.parquet",
    ):
        path = lake.spill / name
        path.parent.mkdir(parents=True)
        path.write_text("planted", encoding="utf-8")
    dead, others = find_spilled(lake)
    assert (len(dead), [path.parent.name for path in others]) == (2, [f"workers-{os.getpid()}-cd"])
    assert remove_spilled(lake) == (2, 14)
    assert sorted(path.name for path in lake.spill.iterdir()) == [f"workers-{os.getpid()}-cd"]
    told = [each for each in forget_derived(home, lake, TARGETS, erasure="e") if each.place == "spilled"]
    assert [each.is_reached for each in told] == [True, False]


def test_pages_of_versions_that_are_gone_are_removed(home):
    """A report that names an erased stream and whose version is in no list, and what a killed process left of one."""
    reports = home.home / "reports" / "e"
    reports.mkdir(parents=True)
    for name, text in (("a.html", f"<p>{WHOLE}/1</p>"), ("b.html", f"<p>{OTHER}/1</p>"), (".c.html.7", "half")):
        (reports / name).write_text(text, encoding="utf-8")
    lake = Lake.from_settings(home)
    assert len(find_unforgotten(home, lake, TARGETS, erasure="e")) == 2
    (told,) = [each for each in forget_derived(home, lake, TARGETS, erasure="e") if each.place == "reports"]
    assert told.count == 2
    assert [path.name for path in reports.iterdir()] == ["b.html"]


def test_spools_in_the_home_are_named(home):
    """Packets of a recorder that was told to spill into the home are found and not touched: they are not sent yet."""
    spool = home.home / "spool"
    spool.mkdir(parents=True)
    (spool / "refused.jsonl").write_text("{}", encoding="utf-8")
    done = forget_derived(home, Lake.from_settings(home), TARGETS, erasure="e")
    (told,) = [each for each in done if each.place == "spools"]
    assert (told.is_reached, str(spool) in told.told) == (False, True)


def test_what_was_received_is_named(home):
    """Bodies of the receiver, what it set aside and files of `--keep-raw`, with their size; reports of rows hold nothing."""
    for name in ("received/1-a.jsonl", "received/2-b.imported.jsonl", "set_aside/received-c.jsonl", "raw/ab/ab-x.gz"):
        (home.home / name).parent.mkdir(parents=True, exist_ok=True)
        (home.home / name).write_text("{}", encoding="utf-8")
    for name in ("received/lock", "set_aside/orders-1.jsonl"):
        (home.home / name).touch()
    done = forget_derived(home, Lake.from_settings(home), TARGETS, erasure="e")
    (told,) = [each for each in done if each.place == "received"]
    assert (told.is_reached, told.count, told.size_bytes) == (False, 4, 8)
    assert all(str(home.home / name) in told.told for name in ("received", "set_aside", "raw"))


@pytest.mark.parametrize("is_of_before", [True, False])
def test_a_log_that_tells_bounds_of_a_projection_of_ones_own_is_named(home, monkeypatch, is_of_before):
    """As an earlier release wrote it; this one tells none."""
    if is_of_before:
        monkeypatch.setattr(Dataset, "bounded", property(lambda _self: frozenset(("phone",))))
    lake = Lake.from_settings(home)
    dataset = own_dataset("phones", "one number", ("phone",), (own_column("phone", "BIGINT", "Where to call."),))
    lake.begin(dataset)
    with lake.connect() as connection:
        lake.write_partition(dataset, {"month": "2026-01"}, connection, "SELECT 4711::BIGINT AS phone", input_hash="h")
    told = [each for each in forget_derived(home, lake, TARGETS, erasure="e") if each.place == "bounds"]
    assert [("phones" in each.told, each.is_reached) for each in told] == ([(True, False)] if is_of_before else [])
