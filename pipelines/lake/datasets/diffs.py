"""What the diff makes of replays, one version after the other."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import EXPERIMENT, VERSION_ID

AB_UNITS = Dataset(
    name="ab_units",
    grain="one unit pair: baseline A beside candidate B",
    key=("experiment", "version_id", "unit_id"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id",),
    layer="diff",
    has_newest_view=True,
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column(
            "unit_id",
            "VARCHAR",
            "The unit: <aggregate_id>/<decision>, <aggregate_id>/t<turn>, or <aggregate_id> for a conversation.",
        ),
        Column("unit", "VARCHAR", "What is paired: decision, turn or conversation."),
        Column("aggregate_id", "VARCHAR", "A's stream."),
        Column("recorded_aggregate_id", "VARCHAR", "B's stream when B is a recorded run; else null."),
        Column("decision", "INTEGER", "The decision; null for a conversation."),
        Column(
            "cluster",
            "VARCHAR",
            "What statistics treat as one independent observation: A's stream, or what the experiment's cluster names (of a "
            "customer, a hash); A's stream again where that is not recorded.",
        ),
        Column("source", "VARCHAR", "Segment: where A was recorded."),
        Column("agent", "VARCHAR", "Segment: A's agent."),
        Column("vertical", "VARCHAR", "Segment: line of business."),
        Column("channel", "VARCHAR", "Segment: channel."),
        Column("task", "VARCHAR", "Task of A (and of B, when recorded)."),
        Column(
            "status",
            "VARCHAR",
            "ok; failed when B has no answer, and such units stay in every denominator; or not_asked when nothing was said before "
            "that could be put before anybody, or a part of it is erased: these are on neither side of any number.",
        ),
        Column("reason", "VARCHAR", "Code of the failure; no_context or erased when not asked; null when ok."),
        Column(
            "fidelity",
            "VARCHAR",
            "How B was fed: exact; or off_policy, tainted, unverified, rebuilt, which headline numbers leave out; null when B has no answer.",
        ),
        Column(
            "unit_class",
            "VARCHAR",
            "First that applies: error, unparseable, text_to_tool, tool_to_text, same_calls, reordered_only, args_only, set_changed; "
            "null when not asked.",
        ),
        Column("is_same_names", "BOOLEAN", "Same tool names in the same order; null when B has no answer."),
        Column(
            "is_same_calls",
            "BOOLEAN",
            "Same tool calls and arguments (canonical JSON, L1) in the same order; null when B has no answer.",
        ),
        Column("is_same_final", "BOOLEAN", "Same final text, byte for byte; null when either side has none."),
        Column("calls_a", "INTEGER", "Tool calls of A; null, as every number of A, when not asked."),
        Column("calls_b", "INTEGER", "Tool calls of B; null when B has no answer."),
        Column("same", "INTEGER", "Pairs of calls that are the same, in place."),
        Column("reordered", "INTEGER", "Pairs that are the same at another place."),
        Column("args_changed", "INTEGER", "Pairs with the same name and other arguments."),
        Column("name_changed", "INTEGER", "Pairs with another name and the same arguments."),
        Column("name_args_changed", "INTEGER", "Pairs with another name and similar arguments."),
        Column("added", "INTEGER", "Calls of B alone."),
        Column("removed", "INTEGER", "Calls of A alone."),
        Column("text_a", "VARCHAR", "A's final text; null when there is none.", is_personal=True),
        Column("text_b", "VARCHAR", "B's final text; null when there is none.", is_personal=True),
        Column(
            "text_class", "VARCHAR", "identical, format_only, minor, moderate or rewrite; null when a side has no text."
        ),
        Column("sim_tok", "DOUBLE", "Indel similarity over word tokens, 0 to 1; null when a side has no text."),
        Column("sim_char", "DOUBLE", "Indel similarity over characters, 0 to 1; null when a side has no text."),
        Column(
            "is_same_norm",
            "BOOLEAN",
            "Same final text but for Unicode form and white space; null when either side has none.",
        ),
        Column("len_chars_a", "INTEGER", "Characters of A's text; null when there is none."),
        Column("len_chars_b", "INTEGER", "Characters of B's text; null when there is none."),
        Column(
            "len_tok_a", "INTEGER", "Words and signs of A's text; null where the texts are the same, or one is none."
        ),
        Column("len_tok_b", "INTEGER", "Words and signs of B's text; null likewise."),
        Column("len_ratio", "DOUBLE", "Characters of B by A's; null when A's text is empty, or either side has none."),
        Column("is_code_changed", "BOOLEAN", "One side has a code block and the other none; null without two texts."),
        Column("is_list_changed", "BOOLEAN", "One side has a list and the other none; null without two texts."),
        Column("is_links_changed", "BOOLEAN", "Other links; null without two texts."),
        Column(
            "numbers_jaccard",
            "DOUBLE",
            "Shared share of all distinct numbers, 0 to 1; null where there are none, or nothing but form differs.",
        ),
        Column(
            "is_text_cut", "BOOLEAN", "Only the texts' first 100,000 characters were compared; null without two texts."
        ),
        Column("outcome_a", "BOOLEAN", "Whether A's recorded outcome was good; null when not recorded."),
        Column("outcome_b", "BOOLEAN", "Whether B's recorded outcome was good; null when not observed."),
        Column("cost_usd_a", "DOUBLE", "A's cost, US dollars; null when not recorded."),
        Column("cost_usd_b", "DOUBLE", "B's cost, US dollars; null when not known."),
        Column("latency_ms_a", "DOUBLE", "A's latency, milliseconds; null when not recorded."),
        Column("latency_ms_b", "DOUBLE", "B's latency, milliseconds; null when not known."),
        Column("output_tokens_a", "BIGINT", "A's output tokens; null when not recorded."),
        Column("output_tokens_b", "BIGINT", "B's output tokens; null when not known."),
        Column(
            "invalid_calls_a",
            "INTEGER",
            "Tool calls of A with arguments that are no JSON object or that the tool's schema refuses.",
        ),
        Column("invalid_calls_b", "INTEGER", "The same of B; null when it has no answer."),
        Column(
            "is_refusal_a",
            "BOOLEAN",
            "Whether A's message is recorded as a refusal, or its text says, in English, that it cannot or will not.",
        ),
        Column(
            "is_refusal_b",
            "BOOLEAN",
            "Whether B's is marked as a refusal, or its text says so, or the endpoint declined; null without answer.",
        ),
        Column(
            "money_a",
            "DOUBLE",
            "Sum of the arguments of A's tool calls that are named as money (amount, refund_amount, fee …), whatever the "
            "currency; null when there is none.",
        ),
        Column("money_b", "DOUBLE", "The same of B; null when there is none, or no answer."),
        Column(
            "metrics_a",
            "MAP(VARCHAR, DOUBLE)",
            "The experiment's own metrics on A, and its rules: 1 where they hold, 0 where they are broken.",
        ),
        Column("metrics_b", "MAP(VARCHAR, DOUBLE)", "The experiment's own metrics and rules on B."),
        Column(
            "metric_errors_a",
            "MAP(VARCHAR, VARCHAR)",
            "Own metrics that failed on A: by name, the type of Python's exception, not_a_number or not_finite.",
        ),
        Column("metric_errors_b", "MAP(VARCHAR, VARCHAR)", "The same on B."),
        Column("started_at", "TIMESTAMP WITH TIME ZONE", "When A's conversation began, UTC."),
        Column("last_version", "INTEGER", "A's stream: newest version at the time of the diff."),
        Column("last_hash", "VARCHAR", "A's stream: chain link at that version, hex."),
    ),
)

AB_TOOL_CALLS = Dataset(
    name="ab_tool_calls",
    grain="one aligned tool-call pair of one unit pair",
    key=("experiment", "version_id", "unit_id", "pair"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id", "pair"),
    layer="diff",
    has_newest_view=True,
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column("unit_id", "VARCHAR", "The unit pair."),
        Column("aggregate_id", "VARCHAR", "A's stream."),
        Column("pair", "INTEGER", "Place of the pair: 1, 2, 3 … in A's order, then calls of B alone."),
        Column("class", "VARCHAR", "same, reordered, args_changed, name_changed, name_args_changed, added or removed."),
        Column(
            "equal_level",
            "VARCHAR",
            "Strongest level at which the arguments are equal: L0 bytes, L1 canonical, L2 normalised; else null.",
        ),
        Column("similarity", "DOUBLE", "Similarity of the arguments, 0 to 1; null for a call of one side alone."),
        Column(
            "is_moved",
            "BOOLEAN",
            "Whether the pair is out of the longest common order of blocks, whatever its class; null for a call of one side alone.",
        ),
        Column("position_a", "INTEGER", "Place among A's calls, from 0; null when added."),
        Column("position_b", "INTEGER", "Place among B's calls, from 0; null when removed."),
        Column("name_a", "VARCHAR", "A's tool; null when added."),
        Column("name_b", "VARCHAR", "B's tool; null when removed."),
        Column("arguments_a", "VARCHAR", "JSON text of A's arguments; null when added.", is_personal=True),
        Column("arguments_b", "VARCHAR", "JSON text of B's arguments; null when removed.", is_personal=True),
        Column(
            "arg_ops",
            'STRUCT(op VARCHAR, path VARCHAR, "old" VARCHAR, "new" VARCHAR)[]',
            "What differs: arg_added, arg_removed, arg_value or arg_type at a JSON Pointer.",
            is_personal=True,
        ),
        Column(
            "flags_a",
            "VARCHAR[]",
            "What is odd about A's arguments: args_invalid_json, duplicate_keys, missing_required, schema_invalid …; null when added.",
        ),
        Column("flags_b", "VARCHAR[]", "What is odd about B's arguments; null when removed."),
    ),
)

AB_SUMMARY = Dataset(
    name="ab_summary",
    grain="one metric × segment of one version",
    key=("experiment", "version_id", "metric", "segment", "segment_value"),
    partition_by=("experiment", "version_id"),
    sort_by=("metric", "segment", "segment_value"),
    layer="diff",
    has_newest_view=True,
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column("metric", "VARCHAR", "What is estimated."),
        Column(
            "kind",
            "VARCHAR",
            "change (no direction), metric (A against B), rule (how often an expected rule holds on B) or noise (of the "
            "noise floor: distances of draws, 0 to 1).",
        ),
        Column("segment", "VARCHAR", "Segment column; all for the whole."),
        Column("segment_value", "VARCHAR", "Value of the segment column; all for the whole."),
        Column(
            "estimand",
            "VARCHAR",
            "What the estimate is of: rate (share of units), difference (mean of B − A), excess_divergence (energy distance of "
            "control and candidate: 0 when they are one policy) or drift (what the control differs from the recording "
            "beyond its own noise: not 0 when the model changed since).",
        ),
        Column("n", "BIGINT", "Units with a value on both sides; of the noise floor, units with every draw."),
        Column("excluded", "BIGINT", "Units without a value, left out of the estimate and counted here."),
        Column(
            "not_asked", "BIGINT", "Units about which nobody could be asked; they are in no other number of the line."
        ),
        Column("g", "BIGINT", "Clusters."),
        Column("g_changed", "BIGINT", "Clusters whose sum is not 0."),
        Column("g_star", "DOUBLE", "Effective clusters: N² / Σ n_c²."),
        Column("mean_a", "DOUBLE", "Mean of A; null for a change."),
        Column("mean_b", "DOUBLE", "Mean of B; null for a change."),
        Column("total_a", "DOUBLE", "Sum of A over the units; null for a change."),
        Column("total_b", "DOUBLE", "Sum of B over the units; null for a change."),
        Column("estimate", "DOUBLE", "The estimate; null with a reason."),
        Column("se", "DOUBLE", "Standard error (cluster jackknife); null with a reason."),
        Column("se_cr1", "DOUBLE", "CR1 standard error, as other tools report."),
        Column(
            "low",
            "DOUBLE",
            "Lower 95 % bound (t, further on the side of a long tail; Wilson for a rate); null with a reason.",
        ),
        Column("high", "DOUBLE", "Upper 95 % bound; null with a reason."),
        Column("p_value", "DOUBLE", "Two-sided p of no difference; null for a rate."),
        Column("p_sign_flip", "DOUBLE", "Cluster sign-flip p, given below 40 clusters; shown, never decisive."),
        Column(
            "q_value",
            "DOUBLE",
            "Benjamini-Hochberg adjusted p over segments × secondary metrics; null for the primary.",
        ),
        Column("goal", "VARCHAR", "higher or lower is good; null for a change."),
        Column("margin", "DOUBLE", "Largest difference that does not matter; null when none was declared."),
        Column(
            "verdict",
            "VARCHAR",
            "equivalent, improved, regressed or inconclusive; null for a change, and with a reason.",
        ),
        Column("is_equivalent", "BOOLEAN", "Whether the 90 % interval lies within the margin; null without one."),
        Column(
            "p_equivalence",
            "DOUBLE",
            "The larger p of the two one-sided tests against the margin (TOST); null without one.",
        ),
        Column(
            "is_non_inferior",
            "BOOLEAN",
            "Whether the bad side of the interval stays within the margin; null without one.",
        ),
        Column(
            "mde", "DOUBLE", "Difference that as many clusters again would find with 80 % power; null with a reason."
        ),
        Column(
            "g_needed", "BIGINT", "Clusters with which a difference of the margin would be found; null without one."
        ),
        Column("only_a", "BIGINT", "Units with 1 on A and 0 on B, of a yes/no outcome; null for other metrics."),
        Column("only_b", "BIGINT", "Units with 0 on A and 1 on B; null likewise."),
        Column(
            "p_mcnemar", "DOUBLE", "Exact McNemar p of only_a against only_b; null where a cluster has several units."
        ),
        Column(
            "p_mcnemar_clustered",
            "DOUBLE",
            "Obuchowski's p of the same for units in clusters; null without a unit that differs.",
        ),
        Column(
            "reason",
            "VARCHAR",
            "Why a number is null or a verdict withheld, or before_erasure where the numbers are of before units were erased; null "
            "when nothing is.",
        ),
        Column(
            "erased_units",
            "BIGINT",
            "Units of the version that were erased since it was made: the line is of what is left, unless the reason is "
            "before_erasure. Null where none was.",
        ),
    ),
)
