"""What an erasure leaves of a version: that it is not what it was when it was made, by how much, and what its figures are of.

Rows of erased units are dropped, not blanked: a blank row would have to be left out of every number by everybody who counts rows.
How many they were stays with each commit of the version, by erasure, and with every line of the summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.console import counted
from pipelines.experiment.closed import ERASED, ERASURES, marked
from pipelines.lake.lake import Commit

COMPLETED_AT = "completed_at"
"""When a version became complete, in the provenance of a revised summary: a revision makes it no newer."""
BEFORE = "before_erasure"
"""Reason of a line whose numbers could not be made again."""
_REVISED = "revised"


@dataclass(frozen=True, slots=True)
class Revision:
    """How a version was revised.

    Attributes:
        units: Unit pairs that were erased.
        erasures: The same by erasure.
        is_recomputed: Whether the figures are of what is left; else they are of before.
        why: Why some are of before; None where none is.
        pairs_before: Unit pairs when it was made.
        result_hash_before: Hash of what came out then.
    """

    units: int
    erasures: Mapping[str, int]
    is_recomputed: bool
    why: str | None
    pairs_before: int
    result_hash_before: str

    def describe(self, unit: str) -> str:
        """It in a sentence; `unit` is what is paired."""
        named = ", ".join(self.erasures)
        what = f"revised: {counted(self.units, f'{unit} pair')} of {self.pairs_before:,} erased ({named})"
        if self.is_recomputed and self.why is None:
            return f"{what}; all figures are of what is left"
        which = "some figures are" if self.is_recomputed else "the figures are"
        return f"{what}; {which} of before the erasure, since {self.why}"


def find_revision(provenance: Mapping[str, Any]) -> Revision | None:
    """How the version was revised whose summary was committed with this; None for one that is as it was made."""
    told = provenance.get(_REVISED)
    return None if told is None else Revision(provenance[ERASED], dict(provenance[ERASURES]), **told)


def revised(
    before: Commit, now: Mapping[str, Any] | None, erasures: Mapping[str, int], why: str | None
) -> dict[str, Any]:
    """The provenance of a revised summary.

    Args:
        before: The summary's commit that is revised.
        now: The headline of what is left; None when it could not be made.
        erasures: Unit pairs by erasure.
        why: Why some figures are of before.
    """
    kept = before.provenance
    first = kept.get(_REVISED) or {}
    told = {
        "is_recomputed": now is not None,
        "why": why,
        "pairs_before": first.get("pairs_before", kept.get("pairs", 0)),
        "result_hash_before": first.get("result_hash_before", kept.get("result_hash", "")),
    }
    completed = kept.get(COMPLETED_AT, before.committed_at.isoformat())
    return {**marked({**kept, **(now or {})}, erasures), COMPLETED_AT: completed, _REVISED: told}
