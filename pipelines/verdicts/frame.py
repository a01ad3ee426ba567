"""The pairs of a version that can be judged: those that both sides answered."""

from __future__ import annotations

from pipelines.diff.versions import Version, find_definition
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.verdicts.sampling import STRATA, Drawable

# a text that only one side has differs wholly
_FRAME = f"""
SELECT
    unit_id,
    greatest(
        coalesce(
            (reordered + args_changed + name_changed + name_args_changed + added + removed)
            / greatest(same + reordered + args_changed + name_changed + name_args_changed + added + removed, 1), 0
        ),
        CASE
            WHEN is_same_final IS TRUE OR (text_a IS NULL AND text_b IS NULL) THEN 0
            WHEN sim_tok IS NULL THEN 1
            ELSE 1 - sim_tok
        END
    ) AS size,
    {", ".join(STRATA)}
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND status = 'ok'
ORDER BY unit_id
"""


def load_frame(lake: Lake, version: Version) -> list[Drawable]:
    """The pairs of a version that both sides answered, by unit_id.

    Raises:
        BadInputError: There is none.
    """
    with lake.connect(_FRAME) as connection:
        rows = connection.execute(_FRAME, version.partition).fetchall()
    if not rows:
        raise BadInputError(
            f"version {version.version_id} of {version.experiment} has no pair that both sides answered; there is nothing to judge"
        )
    return [Drawable(unit, float(size), dict(zip(STRATA, segments, strict=True))) for unit, size, *segments in rows]


def find_segments(lake: Lake, version: Version) -> tuple[str, ...]:
    """The segments that a version's experiment names, by which its pairs can be told apart."""
    named = find_definition(lake, version.partition).get("segments") or ()
    return tuple(each for each in STRATA if each in named)
