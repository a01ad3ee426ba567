"""Verdicts in the lake: exported and folded they are rows to ask for, and nothing of any experiment moves by them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.diff.result import find_diff
from pipelines.diff.versions import list_versions
from pipelines.experiment.versions import keep_version
from pipelines.export.health import find_lag
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store
from pipelines.verdicts.desk import Desk, Queue
from pipelines.verdicts.record import review_stream
from pipelines.verdicts.sampling import Design
from pipelines.verdicts.table import keep_review, summarise_review
from tests.support.shop import add, conversation, plan_of, refresh, run
from tests.support.verbs import Verbs

WINDOWS = ("{}", "yesterday", "{last: 7d}")
TEXT = "experiment: {name}\ncandidate: {{echo: true}}\nsegments: [source]\nwhere: source = 'shop'\nwindow: {window}\n"


@pytest.mark.parametrize("is_new_month", [False, True])
def test_no_version_moves_by_verdicts(
    store: Store, settings: Settings, store_settings: Settings, tmp_path: Path, is_new_month: bool
):
    """Judged, exported and folded: `all`, `yesterday` and `last: 7d` are the versions that they were, complete, with the same result,
    also when the verdicts are exported on a later day, or in a month of their own; and the verdicts are rows."""
    lake = Lake.from_settings(settings)
    now = datetime.now(UTC)
    days = (now - timedelta(days=400) if is_new_month else now - timedelta(days=n) for n in (1, 2, 9))
    lines = [conversation(n, "v1", 5.0, f"{day:%F} 09:00:00") for n, day in enumerate(days)]
    add(store, lake, tmp_path, lines)
    texts = [
        TEXT.format(name=f"echo-{n}", window=window)
        for n, window in enumerate(WINDOWS[:1] if is_new_month else WINDOWS)
    ]
    results = [run(lake, text, tmp_path) for text in texts]
    plans = [plan_of(lake, text, tmp_path) for text in texts]
    for plan in plans:
        keep_version(lake, plan, tmp_path)
    moved = [commit.provenance["moved_at"] for commit in lake.commits(EVENTS.name)]
    (version,) = list_versions(lake, "echo-0")
    for name in ("ada", "bob"):
        with Desk.open(store_settings, lake, version, name, Queue(Design(size=4), 2)) as desk:
            for choice in ("better", "same", "unsure"):
                desk.record(desk.next(), choice, "Order <b>7</b>\u202e", 2.0)
            desk.undo()
    assert find_lag(store.conn, lake, with_accesses=False) == []  # no news about anybody
    assert find_lag(store.conn, lake) != []

    refresh(store, lake)
    after = [plan_of(lake, text, tmp_path) for text in texts]
    assert [plan.version_id for plan in after] == [plan.version_id for plan in plans]
    assert [find_diff(lake, plan).result_hash for plan in after] == [result.result_hash for result in results]
    told = [commit.provenance["moved_at"] for commit in lake.commits(EVENTS.name)]
    assert [each for each in told if each is not None] == moved
    with lake.connect() as connection:
        rows = connection.sql(
            "SELECT reviewer, choice, reason, seconds, design, probability FROM reviews ORDER BY ALL"
        ).fetchall()
        assert connection.sql("SELECT count(*) FROM conversations").fetchall() == [(3,)]
        (skipped,) = connection.sql("SELECT sum(skipped_events) FROM conversations").fetchall()[0]
    expected = [
        (who, choice, "Order <b>7</b>\u202e", 2.0, "uniform n=4 seed=0")
        for who in ("ada", "bob")
        for choice in ("better", "same")
    ]
    assert [row[:5] for row in rows] == expected
    assert {row[5] for row in rows} == {4 / version.pairs}
    assert skipped == 0


def test_the_summary_is_a_table_that_is_written_when_something_changed(
    refold: Verbs, store: Store, settings: Settings, store_settings: Settings, tmp_path: Path
):
    """Lines for the whole and for each segment, the same for the table, the verb and Python; a regression set is an experiment's
    units; lines of the home take the review to another one."""
    lake = Lake.from_settings(settings)
    add(store, lake, tmp_path, [conversation(n, "v1", 5.0, f"2026-02-0{n} 09:00:00") for n in range(1, 8)])
    text = TEXT.format(name="echo", window="{}")
    keep_version(lake, plan_of(lake, text, tmp_path), tmp_path)
    run(lake, text, tmp_path)
    (version,) = list_versions(lake)
    with Desk.open(store_settings, lake, version, "ada", Queue(Design(size=12))) as desk:
        while (pair := desk.next()) is not None:
            desk.record(pair, "worse" if pair.place <= 3 else "same", None, None)
    lines = summarise_review(lake, store, version)
    assert keep_review(lake, version, lines)
    assert not keep_review(lake, version, lines)
    code, printed, _ = refold("review", "echo", "--summary", "--json")
    told = json.loads(printed)["summary"]
    assert (code, [each["metric"] for each in told[:2]], told[0]["pairs"]) == (0, ["net", "better"], version.pairs)
    with lake.connect() as connection:
        found = connection.sql(
            "SELECT segment, segment_value, estimate, n, reviewers, design, reason FROM review_summary "
            "WHERE metric = 'worse' ORDER BY segment"
        ).fetchall()
    assert [row[:4] for row in found] == [("all", "all", 0.25, 12), ("source", "shop", 0.25, 12)]
    assert {row[4:] for row in found} == {(1, "uniform n=12 seed=0", None)}
    code, page, _ = refold("review", "--summary")
    assert code == 0
    assert "B worse                 25.0%" in page
    code, page, _ = refold("review", "--pin", "pinned.jsonl", "--choice", "worse")
    assert (code, page) == (0, "3 pairs in pinned.jsonl; an experiment takes them by units_file: pinned.jsonl\n")
    assert run(lake, f"{text}units_file: pinned.jsonl\n", tmp_path).pairs == 3
    code, _, told = refold("review", "--pin", "pinned.jsonl", "--choice", "better")
    assert (code, "nobody judged a pair better" in told) == (2, True)
    for options, why in (
        (("--by", "agent"), "--by agent is for --design stratified, not for uniform"),
        (("--choice", "same"), "--choice is for --pin FILE"),
        (("--reviewers", "2"), "give --as NAME"),
        (("--json",), "--json is for --summary and --pin"),
    ):
        code, _, told = refold("review", *options)
        assert (code, why in told) == (2, True)


def test_a_review_goes_to_another_home_as_every_stream_does(refold: Verbs, store: Store, tmp_path: Path):
    """Lines of a home hold its reviews, and to import them again is no news; what was withdrawn stays so."""
    payload = {
        "verdict_id": "3b0c7a52-5f0e-4c5b-9a44-0f1d6a1f2c11",
        "experiment": "e",
        "version_id": "0123456789abcdef",
        "unit_id": "u",
        "choice": "same",
        "left": "A",
        "design": "picked",
    }
    withdrawn = {"verdict_id": payload["verdict_id"], "unit_id": "u"}
    stream = review_stream("e", "0123456789abcdef")
    events = [NewEvent("verdict.recorded.v1", payload), NewEvent("verdict.withdrawn.v1", withdrawn)]
    store.append(stream, "review", events, "no_stream")
    assert refold("lines", "-o", "home.jsonl")[0] == 0
    (line,) = (tmp_path / "home.jsonl").read_text(encoding="utf-8").splitlines()
    assert "verdict.withdrawn.v1" in line
    code, _, told = refold("import", "chat", "home.jsonl", "--json")
    assert code == 0, told
    assert len(list(store.read_stream(stream))) == 2
