"""Whether anything changed of all that an experiment's versions depend on, without planning them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.experiment.code import identify_code
from pipelines.experiment.manifest import read_tool_policy
from pipelines.experiment.prompt import load_prompt
from pipelines.fold.identity import fold_hash, version_hash
from pipelines.lake.catalog import state_of
from pipelines.lake.lake import Lake

if TYPE_CHECKING:
    from pipelines.experiment.file import Experiment


def experiment_state(lake: Lake, experiment: Experiment, folder: Path, allowed: Sequence[Path] = ()) -> str | None:
    """Hash of more than its plans are a function of; None where a window depends on the day.

    Of the experiment as it is written, what its files and functions are, all code that makes a cell, and the whole lake: whatever
    anybody commits to any table is another state.

    Args:
        lake: Where its conversations are.
        experiment: As it was read.
        folder: Folder of its file.
        allowed: Further folders in which its files may be.

    Raises:
        BadInputError: A file or module that it names is not there, or is elsewhere.
    """
    if any(each.window.is_relative for each in experiment.by_window()):
        return None
    parts = [
        version_hash(),
        fold_hash(),
        state_of(lake),
        experiment.to_json(),
        str(folder.resolve()),
        identify_code(experiment, folder, allowed),
        {side: str(load_prompt(asked, folder, allowed)) for side, asked in experiment.sides.items()},
        read_tool_policy(experiment.tools, folder, allowed).sha256,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
