"""Reports and the notebook's cache: pages that were made of versions, and are made again or go."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.diff.versions import Version, list_versions
from pipelines.errors import RefoldError
from pipelines.lake.lake import Lake
from pipelines.notebooks import find_notebook
from pipelines.review.files import FOLDER, version_of
from pipelines.review.report_html import keep_report

_HALF = re.compile(r"\..+\.html\.\d+")
"""A report while it is written, or what a killed process left of it."""
_NOTEBOOK = "review.py"


@dataclass(frozen=True, slots=True)
class Pages:
    """What became of pages.

    Attributes:
        remade: Reports that were made again from what is left.
        removed: Pages that are gone.
        size_bytes: Bytes of the pages as they were.
    """

    remade: int
    removed: int
    size_bytes: int


def find_stale(
    lake: Lake, home: Path, streams: Collection[str], versions: Mapping[tuple[str, str], Collection[str]]
) -> list[Path]:
    """Pages of before: of a version that an erasure touched and not of its result as it is now, or that name an erased stream.

    Args:
        lake: Where the versions are.
        home: Where the pages are.
        streams: Ids of streams that no page names.
        versions: The versions that the erasure touched, as experiment and version_id, with the streams that their pages do not name.
    """
    known = {(version.experiment, version.version_id): version for version in list_versions(lake)}
    found = [path for path in (home / FOLDER).rglob(".*") if _HALF.fullmatch(path.name)]
    for path in sorted((home / FOLDER).rglob("*.html")):
        if path in found:
            continue
        name = version_of(home, path)
        version = known.get(name)
        with suppress(FileNotFoundError):
            text = path.read_text(encoding="utf-8", errors="replace")
            is_other = name in versions and (version is None or version.result_hash not in text)
            if is_other or any(stream in text for stream in (*streams, *versions.get(name, ()))):
                found.append(path)
    return found + _cached()


def forget_pages(lake: Lake, home: Path, stale: Collection[Path]) -> Pages:
    """Make the reports of complete versions again, and remove what cannot be made again."""
    known = {(version.experiment, version.version_id): version for version in list_versions(lake)}
    remade = removed = size = 0
    for path in stale:
        with suppress(FileNotFoundError):
            size += path.stat().st_size
            if path.suffix == ".html" and _is_remade(lake, home, known.get(version_of(home, path))):
                remade += 1
            else:
                path.unlink()
                removed += 1
    return Pages(remade, removed, size)


def _is_remade(lake: Lake, home: Path, version: Version | None) -> bool:
    if version is None:
        return False
    try:
        keep_report(lake, home, version)
    except RefoldError:  # without it `refold ab` makes it again
        return False
    return True


def _cached() -> list[Path]:
    """What an editor of notebooks kept of what the review notebook showed, beside it; no verb makes it."""
    with suppress(RefoldError):
        return sorted((find_notebook(_NOTEBOOK).parent / "__marimo__").rglob(f"{_NOTEBOOK}*"))
    return []
