"""Verdicts at desks: recorded once whatever happens, drawn as the design says, each pair to as many people as are asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.versions import Version, list_versions
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store
from pipelines.verdicts.desk import Desk, Queue
from pipelines.verdicts.frame import load_frame
from pipelines.verdicts.leases import SECONDS, Leases
from pipelines.verdicts.record import review_stream
from pipelines.verdicts.sampling import Design, Drawable
from pipelines.verdicts.verdict import PICKED, AlreadyJudgedError
from tests.support.erasing import erase_streams
from tests.support.odd_units import some_units
from tests.support.replayed_lake import replayed_lake

PAIRS = 60
Sit = Callable[..., Desk]


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Version, list[Drawable]]:
    """A lake with one version, and its pairs."""
    lake, plan = replayed_lake(tmp_path_factory.mktemp("reviewed") / "lake", some_units(5, PAIRS))
    build_diff(lake, plan)
    (version,) = list_versions(lake)
    return lake, version, load_frame(lake, version)


@pytest.fixture
def sit(store: Store, reviewed: tuple[Lake, Version, list[Drawable]], tmp_path: Path) -> Sit:
    """Makes a desk of a reviewer, with a queue of so many pairs."""
    _, version, frame = reviewed

    def desk(reviewer: str | None = None, n: int = 20, reviewers: int = 1) -> Desk:
        return Desk(
            store, version, frame, reviewer, Queue(Design(size=n), reviewers), Leases(tmp_path, version.version_id)
        )

    return desk


def test_a_verdict_is_an_event_that_a_new_desk_finds(sit: Sit, store: Store, reviewed: tuple[Lake, Version, list]):
    """What was recorded is in the review's stream, is not put before the reviewer again, and counts."""
    desk = sit()
    first = desk.next()
    assert first is not None
    assert (first.place, first.remaining, first.standing, first.probability) == (1, 20, None, 20 / len(reviewed[2]))
    given = desk.record(first, "worse", "  it refunds twice ", 4.5)
    _, version, _ = reviewed
    (event,) = store.read_stream(review_stream(version.experiment, version.version_id))
    assert (event.aggregate_type, event.event_type) == ("review", "verdict.recorded.v1")
    assert event.payload == {
        "verdict_id": first.verdict_id,
        "experiment": "made",
        "version_id": version.version_id,
        "unit_id": first.unit_id,
        "reviewer": None,
        "choice": "worse",
        "reason": "it refunds twice",
        "left": first.left,
        "seconds": 4.5,
        "design": "uniform n=20 seed=0",
        "probability": first.probability,
    }
    assert given.recorded_at == event.created_at
    again = sit()
    assert again.at(first.unit_id).standing == given
    assert first.unit_id != again.next().unit_id == again.next().unit_id
    assert (again.progress().judged, again.progress().sample) == (1, 20)


def test_neither_a_retry_nor_a_second_tab_doubles_a_verdict(sit: Sit):
    """The same assignment again is the same verdict; another tab's is refused, and told what stands."""
    one, other = sit("ada"), sit("ada")
    mine = one.next()
    assert (other.next().unit_id != mine.unit_id, one.next()) == (True, mine)
    theirs = replace(other.at(mine.unit_id), verdict_id=str(uuid4()))
    given = one.record(mine, "better", None, 1.0)
    assert one.record(mine, "better", None, 9.0) == given
    assert sit("ada").record(mine, "better", None, 9.0) == given  # after a restart
    for assignment, choice in ((theirs, "better"), (mine, "same")):
        with pytest.raises(
            AlreadyJudgedError, match=f"{mine.unit_id} was judged by 'ada' already: better; undo"
        ) as refused:
            other.record(assignment, choice, None, 1.0)
        assert refused.value.standing == given
    assert (len(one._review.standing), other.next().remaining) == (1, 19)


def test_undo_withdraws_the_last_verdict_and_the_next_one_stands(sit: Sit):
    """A withdrawn verdict is nowhere, does not come back by a late retry, and the pair can be judged again."""
    desk = sit("ada")
    first = desk.next()
    desk.record(first, "better", None, 1.0)
    second = desk.next()
    given = desk.record(second, "same", None, 1.0)
    other = sit("ada")
    assert other.undo() == given
    assert other.next().unit_id == second.unit_id
    with pytest.raises(AlreadyJudgedError, match="was withdrawn"):
        desk.record(second, "same", None, 1.0)
    again = desk.at(second.unit_id)
    assert (again.design, again.probability) == (second.design, second.probability)  # it counts as before
    other = desk.record(again, "unsure", None, 1.0)
    assert sit("ada").at(second.unit_id).standing == other
    assert (sit("bob").undo(), desk.undo(), desk.undo().unit_id, desk.undo()) == (None, other, first.unit_id, None)


def test_a_skipped_pair_comes_last_and_a_picked_one_is_in_no_sample(sit: Sit, reviewed: tuple[Lake, Version, list]):
    """Skipping takes nothing away; a pair outside of the sample can be judged, with no probability."""
    desk = sit(n=3)
    first = desk.next()
    desk.skip(desk.at(first.unit_id))
    seen = [first.unit_id]
    for _ in range(2):
        seen.append(desk.next().unit_id)
        desk.record(desk.next(), "same", None, None)
    assert (len(set(seen)), desk.next().unit_id) == (3, first.unit_id)
    desk.record(desk.next(), "same", None, None)
    assert desk.next() is None
    picked = desk.at(next(pair.unit_id for pair in reviewed[2] if pair.unit_id not in seen))
    assert (picked.design, picked.probability, picked.place, picked.remaining) == (PICKED, None, None, 0)
    desk.record(picked, "better", None, None)
    with pytest.raises(BadInputError, match="has no pair 'nothing' that both sides answered"):
        desk.at("nothing")


def test_what_is_no_verdict_is_refused(sit: Sit, store_settings: Settings, reviewed: tuple[Lake, Version, list]):
    """Choices, seconds, reasons and names that are none; several reviewers who are not named."""
    desk = sit()
    first = desk.next()
    for choice, reason, seconds, told in (
        ("good", None, 1.0, "a verdict is better, worse, same, unsure, not 'good'"),
        ("same", "x" * 4_001, 1.0, "4,001 characters"),
        ("same", "a\x00b", 1.0, "no text that can be kept"),
        ("same", None, float("nan"), "seconds"),
        ("same", None, -1.0, "seconds"),
    ):
        with pytest.raises(BadInputError, match=told):
            desk.record(first, choice, reason, seconds)
    lake, version, _ = reviewed
    for name, queue, told in (
        ("a\nb", Queue(), "give a name of one line"),
        (None, Queue(reviewers=2), "nobody says who this one is: give --as NAME"),
    ):
        with pytest.raises(BadInputError, match=told), Desk.open(store_settings, lake, version, name, queue):
            pass
    assert desk.next().remaining == 20


def test_each_pair_goes_to_as_many_different_people_as_are_asked(sit: Sit):
    """Three people, two a pair: nobody judges a pair twice, every pair has two, and those that somebody began come first."""
    desks = [sit(name, n=12, reviewers=2) for name in ("ada", "bob", "eve")]
    given: dict[str, list[str]] = {}
    while any(assignments := [desk.next() for desk in desks]):
        shown = [each.unit_id for each in assignments if each]
        assert max(map(shown.count, shown)) <= 2
        for desk, assignment in zip(desks, assignments, strict=True):
            if assignment is not None:
                desk.record(assignment, "same", None, 1.0)
                given.setdefault(assignment.unit_id, []).append(desk.reviewer)
    assert {len(set(names)) for names in given.values()} == {2}
    assert len(given) == 12
    progress = desks[0].progress()
    assert (progress.complete, progress.agreement.n, progress.agreement.estimate) == (12, 12, 1.0)


def test_a_lease_ends_by_time_and_its_pair_can_be_had_again(sit: Sit, monkeypatch: pytest.MonkeyPatch):
    """A pair in front of somebody is not put before others for a quarter of an hour; after a restart its URL gives it as it was drawn."""
    mine = sit("ada", n=1).next()
    assert sit("bob", n=1).next() is None
    again = sit("ada", n=1).at(mine.unit_id, mine.verdict_id)
    assert again == mine == sit("ada", n=1).at(mine.unit_id)
    assert sit("bob", n=1).at(mine.unit_id, mine.verdict_id).design == PICKED  # nobody takes what was not theirs
    later = time.time() + SECONDS + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert sit("bob", n=1).next().unit_id == mine.unit_id
    assert sit("ada", n=1).at(mine.unit_id, mine.verdict_id).probability is None


def test_redacted_reasons_are_not_told(sit: Sit, store: Store, reviewed: tuple[Lake, Version, list]):
    """What a redaction of the review's stream hides is not in a standing verdict."""
    desk = sit("ada")
    first = desk.next()
    desk.record(first, "worse", "Mrs Miller, 4 High Street", 1.0)
    _, version, _ = reviewed
    hide = NewEvent(
        "redaction.applied.v1", {"target": {"stream_version": 1}, "path": "/reason", "method": "remove", "reason": "x"}
    )
    store.append(review_stream(version.experiment, version.version_id), "review", [hide], 1)
    for each in (desk, sit("ada")):
        assert each.at(first.unit_id).standing.reason is None
    assert sit("ada").undo().reason is None


@pytest.mark.parametrize("judged", [1, 12])
def test_what_was_said_of_an_erased_conversation_goes_with_it(
    sit: Sit, store: Store, reviewed: tuple[Lake, Version, list], judged: int
):
    """The verdicts on its pairs are erased, reasons and all; those on others stand, and the review goes on."""
    desk = sit("ada")
    units = [desk.record(desk.next(), "worse", "Mrs Miller", 1.0).unit_id for _ in range(judged)]
    stream = units[0].split("/")[0]
    about = sum(unit.startswith(stream) for unit in units)
    store.append(UUID(stream), "conversation", [NewEvent("user.utterance.v2", {"text": "Hello"})], "no_stream")
    erase_streams(store, [UUID(stream)])
    said = list(store.read_stream(review_stream(reviewed[1].experiment, reviewed[1].version_id)))
    assert [event.payload["unit_id"] for event in said if not event.is_erased] == [
        unit for unit in units if not unit.startswith(stream)
    ]
    again = sit("ada")
    assert len(again._review.standing) == judged - about
    again.record(again.next(), "same", None, 1.0)
    assert sit("ada").progress().judged == judged - about + 1
