"""What people said of pairs, and what that comes to."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import EXPERIMENT, STREAM, VERSION_ID

REVIEWS = Dataset(
    name="reviews",
    grain="one verdict that stands: what one reviewer says of one pair",
    key=("aggregate_id", "reviewer", "unit_id"),
    partition_by=(),
    sort_by=("recorded_at", "verdict_id"),
    layer="log",
    columns=(
        Column("experiment", "VARCHAR", "Name of the experiment."),
        Column("version_id", "VARCHAR", "The version whose pair it is of."),
        Column("unit_id", "VARCHAR", "The pair, as ab_units has it."),
        Column("reviewer", "VARCHAR", "Who; null where nobody was named.", is_personal=True),
        Column("choice", "VARCHAR", "Of B beside A, whatever was shown where: better, worse, same or unsure."),
        Column("reason", "VARCHAR", "Why, in the reviewer's words; null for nothing.", is_personal=True),
        Column("left_side", "VARCHAR", "The side that was shown on the left: A or B."),
        Column("seconds", "DOUBLE", "From when the pair was shown to the verdict; null when not measured."),
        Column(
            "design",
            "VARCHAR",
            "How the pair was drawn: the design, its size and its seed; picked where it was opened by hand.",
        ),
        Column(
            "probability",
            "DOUBLE",
            "That the design draws this pair, above 0, at most 1; null for a picked one.",
        ),
        Column("verdict_id", "VARCHAR", "Names the verdict."),
        Column(STREAM.name, STREAM.type, "The version's review: the stream that its verdicts are in."),
        Column("stream_version", "INTEGER", "The verdict's place in the stream."),
        Column("recorded_at", "TIMESTAMP WITH TIME ZONE", "When the store took it, UTC."),
    ),
)

REVIEW_SUMMARY = Dataset(
    name="review_summary",
    grain="one number of the review of one version: metric × segment",
    key=("experiment", "version_id", "metric", "segment", "segment_value"),
    partition_by=("experiment", "version_id"),
    sort_by=("metric", "segment", "segment_value"),
    layer="diff",
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column(
            "metric",
            "VARCHAR",
            "better, worse, same or unsure: share of pairs; net: better less worse; agreement_ac1 (Gwet) and agreement_kappa (Cohen "
            "for two reviewers, else Fleiss): how far reviewers agree beyond chance, 1 at most.",
        ),
        Column("segment", "VARCHAR", "Segment column; all for the whole."),
        Column("segment_value", "VARCHAR", "Value of the segment column; all for the whole."),
        Column(
            "estimate",
            "DOUBLE",
            "Of all pairs that both sides answered, from those that were drawn; null with a reason.",
        ),
        Column("low", "DOUBLE", "Lower 95 % bound; null with a reason."),
        Column("high", "DOUBLE", "Upper 95 % bound; null with a reason."),
        Column("n", "BIGINT", "Judged pairs that it is made of; of agreement, those that several reviewers judged."),
        Column("pairs", "BIGINT", "Pairs that it speaks of."),
        Column("reviewers", "BIGINT", "Different people who judged; all that were not named count as one."),
        Column("design", "VARCHAR", "How the pairs were drawn, several designs joined by '; '; null for agreement."),
        Column(
            "reason",
            "VARCHAR",
            "Why a number is null: no_verdicts, few_verdicts (fewer than 5 pairs), no_pair_twice, few_pairs_twice, or one_choice (all "
            "said the same of all, which chance alone would give); null when nothing is.",
        ),
    ),
)
