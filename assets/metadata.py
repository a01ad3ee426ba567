"""What is told of a dataset's month: counts, bytes, hashes, seconds. Nothing personal, and nothing of Dagster.

The assets keep it with their materialisations; verbs that find a month up to date tell the same of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.export.result import ExportResult
    from pipelines.export.sealed import SealResult
    from pipelines.folds.result import FoldResult
    from pipelines.projections.fold import OwnFold

_OF_FOLDS = ("size_bytes", "skipped_events", "redactions", "inexact_redactions", "input_hash", "is_written", "seconds")
_OF_OWN = ("size_bytes", "input_hash", "is_written", "seconds")
_OF_SEALS = ("generation", "rows", "streams", "merkle_root", "manifest_sha256", "is_written", "seconds")
_OF_EXPORTS = ("input_hash", "is_written", "seconds")


def reported(result: ExportResult) -> dict[str, Any]:
    """A month of `events`."""
    more = ("size_bytes", "added_rows", "late_rows", "is_sorted")
    return {"row_count": result.rows, **{name: getattr(result, name) for name in (*more, *_OF_EXPORTS)}}


def reported_heads(result: ExportResult) -> dict[str, Any]:
    """A month of `stream_months`."""
    return {"row_count": result.streams, **{name: getattr(result, name) for name in _OF_EXPORTS}}


def reported_fold(result: FoldResult) -> dict[str, Any]:
    """A month of a fold."""
    return {"row_count": result.rows, **{name: getattr(result, name) for name in _OF_FOLDS}}


def reported_own(result: OwnFold) -> dict[str, Any]:
    """A month of a projection of one's own."""
    return {"row_count": result.rows, **{name: getattr(result, name) for name in _OF_OWN}}


def reported_seal(result: SealResult) -> dict[str, Any]:
    """A month's manifest."""
    signer = {"public_key_id": result.public_key_id} if result.public_key_id else {}
    return {name: getattr(result, name) for name in _OF_SEALS} | signer
