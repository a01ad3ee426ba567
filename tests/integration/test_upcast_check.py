"""Upcasters tried on stored payloads: every failure has its position and reason, and no content."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.upcast_check import check_upcasters, types_to_lift
from pipelines.lake import locked
from pipelines.lake.lake import Lake
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.projections.fold import fold_projection
from pipelines.projections.projection import read_projection
from pipelines.store import EventType, Registry, UnknownEventType
from tests.support.history import HISTORY, TWO, event, write_log

TO_V2 = "SELECT json_object('temperature', json_extract(payload, '$.degrees'), 'note', payload ->> '$.note')"
TO_V3 = "SELECT json_object('celsius', (payload ->> '$.temperature')::DOUBLE, 'note', payload ->> '$.note')"
SCHEMA = {
    "type": "object",
    "properties": {"celsius": {"type": "number", "minimum": -273}, "note": {"type": ["string", "null"]}},
    "required": ["celsius"],
}
SHIPPED = ["agent.utterance", "conversation.started", "model.decision", "tool.call", "tool.result", "user.utterance"]
"""Types of Refold's own that have a later version."""
SECRET = "Anna"
WEATHER = [
    event("weather.seen", 1, {"degrees": 20, "note": SECRET}),
    event("weather.seen", 1, {"degrees": f"{SECRET} says warm"}),
    event("weather.seen", 1, {"degrees": -300, "note": SECRET}),
    event("weather.seen", 1, {"note": SECRET}),
]
HIDE = event(
    "redaction.applied", 46, {"target": {"stream_version": 2}, "path": "/degrees", "method": "mask", "reason": "r"}
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A log with four payloads of a type of one's own, at version 1, that two upcasters lift to version 3."""
    folder = tmp_path / "upcasters"
    folder.mkdir()
    for version, text in ((1, TO_V2), (2, TO_V3)):
        (folder / f"weather.seen.v{version}.sql").write_text(text, encoding="utf-8")
    write_log(tmp_path / "lake", [(TWO, "conversation", WEATHER)])
    return Lake(tmp_path / "lake", home=tmp_path)


def registry(schema: object = SCHEMA) -> Registry:
    assert isinstance(schema, dict)
    return Registry([EventType("weather.seen.v3", "Seen.", schema)])


def test_failures_are_told_by_position_and_step(lake: Lake):
    """What fails in a step, what gives null, and what does not fit the newest schema; the rest is counted."""
    upcasters, names = types_to_lift(lake, "weather.seen")
    found = check_upcasters(lake, upcasters, names, registry())
    assert found.lifted == {"weather.seen.v1": "weather.seen.v3", "weather.seen.v2": "weather.seen.v3"}
    assert (found.events, found.failed) == ({"weather.seen.v1": 4}, {"weather.seen.v1": 3})
    assert [(f.position, f.aggregate_id, f.stream_version) for f in found.failures] == [(n, TWO, n) for n in (2, 3, 4)]
    reasons = [failure.reason for failure in found.failures]
    assert reasons[0].startswith("weather.seen.v2 → v3: Conversion Error: Could not convert string")
    assert reasons[1:] == ["does not fit weather.seen.v3 at /celsius"] * 2
    assert SECRET not in str(found)


def test_upcasters_without_fault_pass(lake: Lake, tmp_path: Path):
    """With steps that take everything, nothing fails."""
    (tmp_path / "upcasters" / "weather.seen.v2.sql").write_text("SELECT '{\"celsius\": 1}'", encoding="utf-8")
    upcasters, names = types_to_lift(lake, "weather.seen.v1")
    found = check_upcasters(lake, upcasters, names, registry())
    assert (found.events, found.failed, found.failures) == ({"weather.seen.v1": 4}, {}, [])


def test_what_redactions_leave_is_tried_too(lake: Lake, tmp_path: Path):
    """A step that cannot lift a redacted payload would stop a fold: it is found here, and named as redacted."""
    write_log(lake.root, [(TWO, "conversation", [WEATHER[0], WEATHER[0], HIDE])])
    fold_redacted(Lake(lake.root), "2026-02")
    upcasters, names = types_to_lift(lake, "weather.seen")
    found = check_upcasters(Lake(lake.root, home=tmp_path), upcasters, names, registry())
    assert (found.events, found.redacted) == ({"weather.seen.v1": 2}, 1)
    assert [(f.stream_version, f.is_redacted) for f in found.failures] == [(2, True)]


def test_what_there_is_nothing_to_lift_for_is_said(lake: Lake):
    """A type with one version, an unknown type, and a newest version that is not registered."""
    with pytest.raises(BadInputError, match=r"context.supplied.v1 has one version, there is nothing to lift"):
        types_to_lift(lake, "context.supplied.v1")
    with pytest.raises(
        BadInputError, match=r"order.paid is not known; upcasters are there for agent.utterance, .*, weather.seen"
    ):
        types_to_lift(lake, "order.paid")
    upcasters, names = types_to_lift(lake, None)
    assert names == [*SHIPPED, "weather.seen"]
    with pytest.raises(UnknownEventType, match=r"weather.seen.v3"):
        check_upcasters(lake, upcasters, ["weather.seen"], Registry([]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT printf('%2000000000d', 1)", "memory"),
        ("SELECT repeat(payload, 1000000000)", "memory"),
        ("SELECT content FROM read_text('/etc/hostname')", r"disabled|Permission|single expression|Parser Error"),
        ("SELECT (SELECT content FROM read_text('/etc/hostname'))", "disabled|Permission"),
        ("SELECT (SELECT any_value(payload) FROM events)", "events"),
    ],
)
def test_what_an_upcaster_may_not_do_is_refused_before_a_view_holds_it(
    lake: Lake, tmp_path: Path, text: str, told: str
):
    """Memory without bound, files and other tables: refused where it can do no harm, and the upcaster is named."""
    (tmp_path / "upcasters" / "weather.seen.v1.sql").write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=rf"upcaster weather\.seen\.v1: .*({told})"), lake.connect():
        pass


def test_an_upcaster_is_tried_once(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """What was found is remembered by the upcaster's text, and another text is tried."""
    asked = []
    real = locked.locked_session
    monkeypatch.setattr(locked, "locked_session", lambda *a, **k: (asked.append(1), real(*a, **k))[1])
    for _ in range(2):
        load_own_upcasters(lake.home)
        assert len(asked) == 2
    assert lake.home is not None
    (lake.home / "upcasters" / "weather.seen.v2.sql").write_text("SELECT payload", encoding="utf-8")
    load_own_upcasters(lake.home)
    assert len(asked) == 3


@pytest.mark.parametrize("reads", ["check", "fold"])
def test_an_upcaster_that_does_not_end_on_one_payload_is_stopped_and_named(lake: Lake, tmp_path: Path, reads: str):
    """What only a payload shows is stopped there: in the check of upcasters, and where an own projection reads events."""
    bomb = (
        f"SELECT CASE WHEN payload LIKE '%{SECRET} says%' THEN printf('%2000000000d', length(payload)) ELSE payload END"
    )
    (tmp_path / "upcasters" / "weather.seen.v2.sql").write_text(bomb, encoding="utf-8")
    fold_redacted(lake, "2026-02")
    upcasters, names = types_to_lift(lake, "weather.seen")
    work = {
        "check": lambda: check_upcasters(lake, upcasters, names, registry()),
        "fold": lambda: fold_seen(lake, tmp_path),
    }
    with pytest.raises(BadInputError, match=r"upcaster (weather\.seen\.v1 or )?weather\.seen\.v2: .*memory") as caught:
        work[reads]()
    assert SECRET not in str(caught.value)


def test_an_own_projection_reads_what_own_upcasters_made(lake: Lake, tmp_path: Path):
    """Lifted to the newest version, as the view has it; a step that fails on a payload is named, without the payload."""
    fold_redacted(lake, "2026-02")
    with pytest.raises(
        BadInputError, match=r"upcaster weather\.seen\.v2: Conversion Error: Could not convert string …"
    ) as caught:
        fold_seen(lake, tmp_path)
    assert SECRET not in str(caught.value)
    mild = TO_V3.replace("(payload ->> '$.temperature')::DOUBLE", "TRY_CAST(payload ->> '$.temperature' AS DOUBLE)")
    (tmp_path / "upcasters" / "weather.seen.v2.sql").write_text(mild, encoding="utf-8")
    fold_seen(lake, tmp_path)
    with lake.connect() as connection:
        view = "SELECT stream_version, event_name, event_type, event_version, payload FROM readable_events ORDER BY ALL"
        kept = "SELECT place, event_name, event_type, event_version, payload FROM seen ORDER BY ALL"
        assert connection.sql(kept).fetchall() == connection.sql(view).fetchall()
        assert connection.sql("SELECT payload ->> '$.celsius' FROM seen ORDER BY place").fetchall()[0] == ("20.0",)


SEEN = """-- purpose: What was seen.
-- parameters: none
-- grain: one event
-- key: stream, place
SELECT aggregate_id AS stream, stream_version AS place, event_name, event_type, event_version, payload FROM events
"""


def fold_seen(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "folds" / "seen.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SEEN, encoding="utf-8")
    fold_projection(lake, read_projection(path), "2026-02")


def test_the_log_is_left_as_it_is(tmp_path: Path):
    """A check writes nothing."""
    lake = write_log(tmp_path / "lake", HISTORY)
    before = sorted(path.name for path in lake.root.rglob("*.parquet"))
    upcasters, names = types_to_lift(lake, None)
    found = check_upcasters(lake, upcasters, names, Registry.shipped())
    assert (sum(found.events.values()), found.failed) == (7, {})
    assert sorted(path.name for path in lake.root.rglob("*.parquet")) == before
