"""Write the files that a comparison is told in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.diff.gating import Decision
from pipelines.diff.result import DiffResult
from pipelines.lake.lake import Lake
from pipelines.output import open_output
from pipelines.pull_request.comment import render_comment
from pipelines.pull_request.files import Files
from pipelines.pull_request.junit import render_junit
from pipelines.pull_request.told import READS, load_told
from pipelines.review.headline import find_version


def write_files(lake: Lake, files: Files, results: Sequence[DiffResult], decisions: Sequence[Decision]) -> None:
    """Write the files that are named, each whole.

    Args:
        lake: Where the versions are.
        files: Which.
        results: Complete versions of one experiment, in the order of its windows.
        decisions: What each of them comes to.

    Raises:
        BadInputError: One cannot be written.
    """
    with lake.reading(READS):
        told = [
            load_told(lake, find_version(lake, result.experiment, result.version_id), decision)
            for result, decision in zip(results, decisions, strict=True)
        ]
    if files.comment is not None:
        text = render_comment(told, link=files.link, with_texts=files.with_texts)
        _write(files.comment, text.encode("utf-8", "replace"))
    if files.junit is not None:
        _write(files.junit, render_junit(told))


def _write(path: Path, content: bytes) -> None:
    with open_output(path) as stream:
        stream.write(content)
