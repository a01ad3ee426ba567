"""What an experiment came to that was found complete, while nothing that it depends on has changed since.

Noted in the home by the `refold ab` that planned it and found nothing to do: of which state of experiment, files, code and lake that
was, and which versions those are. As long as the state is the same, the experiment is neither checked nor planned again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from assets.live import has_dead_runs
from assets.verbs.progress import Tell
from pipelines.diff.result import DiffResult, find_result
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.experiment.state import experiment_state
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path
from pipelines.settings import Settings


def find_unchanged(
    settings: Settings, lake: Lake, experiment: Experiment, folder: Path, tell: Tell
) -> list[DiffResult] | None:
    """The results that were noted, one per window, if all is as it was then; what was told then is told again. Else None."""
    with suppress(OSError, ValueError, KeyError, TypeError, BadInputError):
        noted: Any = json.loads(_note(settings, experiment).read_text(encoding="utf-8"))
        if has_dead_runs(settings.home / "dagster") or noted["state"] != _state(settings, lake, experiment, folder):
            return None
        results = []
        for version_id, start, stop in noted["versions"]:
            window = (_time(start), _time(stop))
            result = find_result(lake, experiment, version_id, window)
            if result is None or not report_path(settings.home, experiment.experiment, version_id).exists():
                return None
            results.append(result)
        for line in noted["told"]:
            tell(line)
        return results or None
    return None


class Planning:
    """One planning of an experiment: what is noted of it, if it finds all complete and nothing changes meanwhile.

    Args:
        settings: The home.
        lake: Its lake.
        experiment: As it was read and checked.
        folder: Folder of its file.
        tell: Takes a line.
    """

    def __init__(self, settings: Settings, lake: Lake, experiment: Experiment, folder: Path, tell: Tell) -> None:
        self._given = (settings, lake, experiment, folder)
        self._tell = tell
        self._told: list[str] = []
        self._before = _state(*self._given)

    def tell(self, line: str) -> None:
        """Take a line, and keep it for those who find nothing changed."""
        self._told.append(line)
        self._tell(line)

    def note(self, results: Sequence[DiffResult]) -> None:
        """Note what was found complete; not when something changed since the planning began."""
        settings, _, experiment, _ = self._given
        if self._before is None or self._before != _state(*self._given):
            return
        versions = [[each.version_id, *each.window] for each in results]
        note = _note(settings, experiment)
        temporary = note.with_name(f"{note.name}.{uuid.uuid4().hex}")
        with suppress(OSError):  # without it the next is planned
            note.parent.mkdir(parents=True, exist_ok=True)
            told = {"state": self._before, "versions": versions, "told": self._told}
            temporary.write_text(json.dumps(told), encoding="utf-8")
            temporary.replace(note)


def _state(settings: Settings, lake: Lake, experiment: Experiment, folder: Path) -> str | None:
    return experiment_state(lake, experiment, folder, settings.allow_files)


def _note(settings: Settings, experiment: Experiment) -> Path:
    return report_path(settings.home, experiment.experiment, "complete").with_suffix(".json")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
