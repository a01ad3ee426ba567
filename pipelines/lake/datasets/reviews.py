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
            "for two reviewers, else Fleiss): how far reviewers agree beyond chance, 1 at most. Of a judge: judge_agreement_ac1 with the "
            "people, and, null as long as that has no interval, judge_better, judge_worse, judge_same, judge_net, judge_consistent (both "
            "orders say the same) and judge_net_debiased (judge_net less its mean error on the pairs that people drew).",
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

JUDGEMENTS = Dataset(
    name="judgements",
    grain="what a model said of one pair of one version, shown both ways round; it means nothing without its agreement with people",
    key=("experiment", "version_id", "unit_id"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id",),
    layer="diff",
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column("unit_id", "VARCHAR", "The pair, as ab_units has it."),
        Column("judge_id", "VARCHAR", "Names the judge: version, model, wire, parameters and rubric."),
        Column("model", "VARCHAR", "The model that was asked."),
        Column("rubric_sha256", "VARCHAR", "Hash of the rubric, hex."),
        Column(
            "choice",
            "VARCHAR",
            "Of B beside A: better, worse or same; same where both orders disagree, and, without asking, where the sides are alike; null "
            "where an order was not answered.",
        ),
        Column("choice_a_first", "VARCHAR", "The same when A was shown first; null without an answer."),
        Column("choice_b_first", "VARCHAR", "The same when B was shown first; null without an answer."),
        Column("reason", "VARCHAR", "Code: why an order has no answer; null when both have one."),
        Column("design", "VARCHAR", "How the pairs were drawn, as of reviews."),
        Column("probability", "DOUBLE", "That the design draws this pair, above 0, at most 1."),
        Column("cost_usd", "DOUBLE", "Cost of both answers, US dollars, whenever they were paid; null when not known."),
    ),
)
