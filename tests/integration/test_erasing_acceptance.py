"""Erasing people and killing it, as `tests/acceptance/erasure.py` does at full size: fewer of both, by the same code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from pipelines.demo import load
from tests.acceptance import erasure
from tests.support.servers import outer_folder
from tests.support.verbs import run_in_home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _verbs_in_this_process() -> Iterator[None]:
    """All but those that are killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasure, "refold", run_in_home)
        yield


@pytest.fixture(scope="module")
def made(_verbs_in_this_process: None) -> Iterator[erasure.Made]:
    """The home of both, with one marked person and the demo's smallest history, all of June: what a run takes, it takes for each month."""
    with outer_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "generate", partial(load.generate, months=1))
        patch.setattr(erasure, "AT", datetime(2026, 6, 20, tzinfo=UTC))
        yield erasure.make_home(folder, 1, events=1_000)


def test_people_are_gone_from_every_file(made: erasure.Made, open_folder: Path) -> None:
    """A marked person and one of the demo, erased and scrubbed by command: no value in any file, others as they were."""
    copy = made.copy(open_folder / "home")
    assert (len(copy.marked), len(copy.demo)) == (1, 1)
    assert erasure.people(copy) == []


def test_killed_anywhere_one_more_run_ends_the_same(made: erasure.Made, open_folder: Path) -> None:
    """An erasure and a redaction's fold, killed at a random moment each."""
    told: list[str] = []
    assert erasure.killed(made.copy(open_folder / "home"), open_folder, 1, 7, told.append) == []
    assert [bool(re.search("the same$", each)) for each in told] == [True] * 2
