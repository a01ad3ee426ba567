"""Where a version's report is kept, and how it gets there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipelines.errors import BadInputError

FOLDER = "reports"


def report_path(home: Path, experiment: str, version_id: str) -> Path:
    """Where a version's report is kept."""
    return home / FOLDER / experiment / f"{version_id}.html"


def version_of(home: Path, path: Path) -> tuple[str, str]:
    """Experiment and version_id of a report, or of what else is kept beside reports, by where it is."""
    return path.parent.relative_to(home / FOLDER).as_posix(), path.stem


def write_report(html: str, path: Path) -> None:
    """Write a report, all of it or nothing, readable by its owner alone.

    Raises:
        BadInputError: It cannot be written there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(html)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise BadInputError(f"report {path}: cannot be written: {error.strerror}") from error
