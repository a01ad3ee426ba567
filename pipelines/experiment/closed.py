"""Versions of which units were erased: rows of all their tables are gone, and nothing goes on with them.

How many rows went stays with the commits of each table, by erasure. Who would ask or compare such a version again is told to plan anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.lake.lake import Commit

ERASED, ERASURES = "erased", "erasures"
"""Names in the provenance of a commit: rows dropped by erasures in all, and by erasure. The first only grows, so that files from
before go at once."""


def is_closed(commit: Commit | None) -> bool:
    """Whether units of a version's table were erased, by its last commit."""
    return commit is not None and bool(commit.provenance.get(ERASED))


def tell_closed(experiment: str, version_id: str) -> str:
    """What to say to who would go on with such a version."""
    return (
        f"units of version {version_id} of {experiment} were erased: it is neither asked nor compared again; "
        "run `refold ab` with the experiment's file for a version of what is there"
    )


def erased_of(commit: Commit | None) -> dict[str, int]:
    """Rows that erasures dropped from a partition, by erasure."""
    return {} if commit is None else dict(commit.provenance.get(ERASURES) or {})


def marked(provenance: Mapping[str, Any], erasures: Mapping[str, int]) -> dict[str, Any]:
    """The provenance of a partition's next commit, from that of its last."""
    return {**provenance, ERASED: sum(erasures.values()), ERASURES: dict(erasures)}
