"""What is erased is put before nobody, in whatever way it is asked for, and is counted where the user looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan, make_plans
from pipelines.experiment.units import READS, create_plan_relations
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.log.context import ERASED, Context
from pipelines.replay.estimate import estimate_replay
from pipelines.replay.replan import replan
from pipelines.replay.run import run_replay
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.review.conversation import load_conversations
from pipelines.review.page import render_page
from pipelines.settings import Settings
from pipelines.store.events import NewEvent, stream_id
from tests.support.equality import make_log
from tests.support.history import copy_lake
from tests.support.log_strategies import erased
from tests.support.replayed_lake import write_events

START = datetime(2026, 1, 5, tzinfo=UTC)
TALK, OTHER, TOOLS = (str(stream_id("desk", name)) for name in ("talk", "other", "tools"))
SHA256 = "5" * 64


def event(kind: str, payload: dict[str, Any], message: str | None = None) -> NewEvent:
    return NewEvent(kind, payload, {"message_id": message, "source": "desk", "subject_id": "ann"})


def talk(said: str) -> list[NewEvent]:
    """Three turns, four decisions; versions 2, 5 and 10 are the user's, 3 and 4, 6 and 7, 9, 11 the agent's."""
    events = [
        event("conversation.started.v1", {"messages": [{"role": "system", "content": "Be brief."}], "agent": "desk"}),
        event("user.utterance.v1", {"text": f"one {said}"}, "u1"),
        event("model.decision.v2", {"model": "m", "tools_sha256": SHA256}, "a1"),
        event("agent.utterance.v1", {"text": "first"}, "a1"),
        event("user.utterance.v1", {"text": f"two {said}"}, "u2"),
        event("model.decision.v2", {"model": "m", "tools_sha256": SHA256}, "a2"),
        event("tool.call.v1", {"call_id": "c", "name": "find", "arguments": {"n": 1}}, "a2"),
        event("tool.result.v1", {"call_id": "c", "output": "found", "error": None}),
        event("agent.utterance.v1", {"text": "second"}, "a3"),
        event("user.utterance.v1", {"text": f"three {said}"}, "u3"),
        event("agent.utterance.v1", {"text": "third"}, "a4"),
    ]
    return [NewEvent(e.event_type, e.payload, e.metadata, START + timedelta(seconds=n)) for n, e in enumerate(events)]


LIST = NewEvent(
    "tools.registered.v1",
    {"sha256": SHA256, "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]},
    {},
    START,
)
LOG = make_log([(TALK, "conversation", talk("a")), (OTHER, "conversation", talk("b")), (TOOLS, "agent", [LIST])])


def lake_without(root: Path, *gone: tuple[str, int]) -> Lake:
    """The log's lake, folded, events erased by stream and version; version 0 is all of a stream."""
    lake = Lake(root / "lake", memory_bytes=10**9)
    is_gone = {(stream, version) for stream, version in gone}
    write_events(
        lake,
        [erased(e) if is_gone & {(e["aggregate_id"], e["stream_version"]), (e["aggregate_id"], 0)} else e for e in LOG],
    )
    fold_month(lake, "2026-01")
    return lake


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`lake_without` for `copy_lake`: each made once."""
    return cache(lambda *gone: lake_without(tmp_path_factory.mktemp("gone"), *gone).root)


def plan_of(lake: Lake, mode: str, candidate: str = "echo: true") -> Plan:
    text = f"experiment: gone-{mode}\ncandidate: {{{candidate}}}\nmode: {mode}\nwindow: {{from: 2026-01-01}}\n"
    return make_plan(lake, parse_experiment(text, "test"), lake.root)


@pytest.mark.parametrize(
    ("mode", "version", "left", "gone"),
    [
        ("decision", 5, 5, 3),
        ("decision", 4, 4, 4),
        ("single", 4, 1, 1),
        ("single", 5, 2, 0),
        ("turn", 5, 4, 2),
        ("turn", 10, 5, 1),
        ("conversation", 10, 1, 1),
        ("conversation", 1, 1, 1),
    ],
)
def test_units_with_a_gap_are_counted_and_not_asked(
    mode: str, version: int, left: int, gone: int, lakes: Callable[..., Path], tmp_path: Path, settings: Settings
) -> None:
    """In every mode: the dry run, the replay, the comparison and its page say how many; the others are as recorded."""
    lake = copy_lake(lakes((TALK, version)), tmp_path / "lake")
    plan = plan_of(lake, mode)
    told = f"left out of both sides: {gone} unit{'' if gone == 1 else 's'} erased in part, or after what is"
    estimate = estimate_replay(lake, plan, settings)
    assert (estimate.erased, estimate.not_asked, told in estimate.describe()) == (gone, 0, gone > 0)
    replayed = run_replay(lake, plan)
    assert (replayed.units, replayed.not_asked, replayed.failures) == (left + gone, gone, {})
    result = build_diff(lake, plan)
    assert (result.pairs, result.not_asked, result.not_asked_erased, result.same_calls) == (left, gone, gone, left)
    assert ("erased in part, or after what is" in render_page(lake, result)) == (gone > 0)
    with lake.connect() as connection:
        for table in ("replays", "ab_units"):
            reasons = connection.sql(
                f"SELECT DISTINCT status, reason FROM {table} WHERE aggregate_id = '{TALK}' ORDER BY ALL"
            )
            assert set(reasons.fetchall()) - {("ok", None)} == ({("not_asked", "erased")} if gone else set())


def test_a_conversation_that_is_erased_is_in_no_plan(tmp_path: Path) -> None:
    """It is told, and the other one is compared as before."""
    lake = lake_without(tmp_path, (TALK, 0))
    told: list[str] = []
    text = "experiment: gone\ncandidate: {echo: true}\nwindow: {from: 2026-01-01}\n"
    (plan,) = make_plans(lake, parse_experiment(text, "test"), lake.root, told.append)
    assert plan.streams["aggregate_id"].to_pylist() == [OTHER]
    assert told == ["left out: 1 conversation of the window, erased"]


def test_a_decision_with_a_gap_is_not_planned_again(lakes: Callable[..., Path], tmp_path: Path) -> None:
    """`refold replay` refuses it in words, and shows those before it."""
    lake = copy_lake(lakes((TALK, 5)), tmp_path / "lake")
    experiment = parse_experiment("experiment: replan\ncandidate: {echo: true}\n", "test")
    assert replan(lake, TALK, 1, experiment, lake.root).recorded.text == "first"
    for decision in (2, 3, 4):
        with pytest.raises(
            BadInputError, match="cannot be put before anybody: a part of it, or of what was before it, is erased"
        ):
            replan(lake, TALK, decision, experiment, lake.root)


def test_a_plan_of_before_an_erasure_sends_nothing_of_it(tmp_path: Path) -> None:
    """The conversations of a version that was planned before are read as they are now."""
    lake = lake_without(tmp_path)
    plan = plan_of(lake, "decision")
    lake_without(tmp_path, (TALK, 0))
    replayed = run_replay(Lake(lake.root, memory_bytes=10**9), plan)
    assert (replayed.units, replayed.not_asked) == (8, 4)


def test_where_lists_of_tools_are_erased(tmp_path: Path) -> None:
    """A model is not asked without the tools that the agent had: the reason says that they are erased."""
    for gone, reason in (((), None), (((TOOLS, 1),), "erased")):
        lake = lake_without(tmp_path / str(len(gone)), *gone)
        plan = plan_of(lake, "decision", "model: m, base_url: 'http://127.0.0.1:1/v1'")
        with lake.connect(READS) as connection:
            create_plan_relations(connection, plan)
            units = list(list_units(connection, plan, "candidate", list_chunks(connection, lake)))
        named = [unit for unit in units if unit.row["decision"] in (1, 2)]
        assert [getattr(unit, "reason", None) for unit in named] == [reason] * 4


def test_a_reader_sees_that_something_was_there(tmp_path: Path) -> None:
    """On a page an erased message says so; what can be read of the others stays."""
    lake = lake_without(tmp_path, (TALK, 5), (TALK, 7))
    with lake.connect() as connection:
        (conversation,) = load_conversations(connection, [(TALK, None)])
    said = [(message.role, message.text) for message in conversation.first]
    assert said[:5] == [
        ("system", "Be brief."),
        ("user", "one a"),
        ("assistant", "first"),
        ("user", ERASED),
        ("assistant", ERASED),
    ]


def test_a_context_with_a_gap_is_no_request() -> None:
    """It says so, whatever is folded afterwards."""
    context = Context()
    context.apply("user.utterance.v1", {"text": "Hi."}, {})
    assert not context.is_erased
    context.add_erased("row.changed.v1")
    context.apply("agent.utterance.v1", {"text": "Hello."}, {})
    assert context.is_erased
    assert [message["content"] for message in context.messages] == ["Hi.", "Hello."]
