"""Replays: each side's answer to a unit, and the steps of units that were walked."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import ARGUMENTS, EXPERIMENT, STREAM, VERSION_ID

REPLAYS = Dataset(
    name="replays",
    grain="one replayed unit × side × draw",
    key=("experiment", "version_id", "unit_id", "side", "draw"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id", "side", "draw"),
    layer="replay",
    has_newest_view=True,
    row_group_size=10_240,  # a diff reads some streams at a time
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column(
            "unit_id",
            "VARCHAR",
            "The unit: <aggregate_id>/<decision>, <aggregate_id>/t<turn>, or <aggregate_id> for a conversation.",
        ),
        Column("unit", "VARCHAR", "What is paired: decision, turn or conversation."),
        STREAM,
        Column("decision", "INTEGER", "The decision replayed; null for a turn or a conversation."),
        Column("turn", "INTEGER", "The turn; null for a conversation and for a recorded run."),
        Column("side", "VARCHAR", "candidate or control."),
        Column("draw", "INTEGER", "Index of the draw; control and candidate draws share none."),
        Column(
            "status",
            "VARCHAR",
            "ok, failed, or not_asked where nothing was said before that could be put before anybody, or a part of it is erased.",
        ),
        Column("reason", "VARCHAR", "Code of the failure; no_context or erased when not asked; null when ok."),
        Column("attempt", "INTEGER", "1, and one more for each retry of failed units."),
        Column(
            "recorded_aggregate_id",
            "VARCHAR",
            "The recorded run that stands for the candidate; null when it was computed.",
        ),
        Column(
            "result_source",
            "VARCHAR",
            "How tool answers were fed, the worst of the unit: not_applicable (no call looked up), exact, exact_conv, "
            "exact_unverified, norm, stub or miss.",
        ),
        Column("is_tainted", "BOOLEAN", "Whether an answer was not a recorded one for that call."),
        Column(
            "is_off_policy",
            "BOOLEAN",
            "Whether the candidate went on past its divergence, with input that was said to somebody else.",
        ),
        Column("step_count", "INTEGER", "Messages of the candidate; null where it was not walked step by step."),
        Column(
            "covered_to",
            "INTEGER",
            "Last recorded decision that the unit stands beside, where it was walked step by step; else null.",
        ),
        Column(
            "first_divergence_step",
            "INTEGER",
            "First step with other tool calls than recorded; null when there is none.",
        ),
        Column(
            "divergence",
            "VARCHAR",
            "What differs there: text_to_tool, tool_to_text, names or arguments; null without divergence.",
        ),
        Column("matched_steps", "INTEGER", "Steps before the divergence; null where it was not walked."),
        Column(
            "prefix_fraction", "DOUBLE", "matched_steps per recorded decision, 0 to 1; null where it was not walked."
        ),
        Column(
            "coverage",
            "DOUBLE",
            "Share of the candidate's tool calls answered as recorded (exact, exact_conv, exact_unverified); null with a reason.",
        ),
        Column("coverage_reason", "VARCHAR", "not_applicable when no tool call was looked up; else null."),
        Column("exact_calls", "INTEGER", "Tool calls answered as exact or exact_conv; null where none are looked up."),
        Column("unverified_calls", "INTEGER", "Tool calls answered as exact_unverified; null likewise."),
        Column("missed_calls", "INTEGER", "Tool calls answered as norm or stub, or not at all; null likewise."),
        Column("text", "VARCHAR", "What the candidate said; null for tool calls alone.", is_personal=True),
        Column(
            "tool_calls",
            f'STRUCT(block INTEGER, "name" VARCHAR, {ARGUMENTS})[]',
            "The candidate's tool calls, in order; calls of one block are parallel. `arguments` is JSON text of their value, "
            "`recorded` the text as given where that is another, else null.",
            is_personal=True,
        ),
        Column("call_count", "INTEGER", "Length of tool_calls."),
        Column("l0_hash", "VARCHAR", "Hash of the list of calls, arguments as given."),
        Column("l1_hash", "VARCHAR", "Hash of the list of calls, arguments as canonical JSON (RFC 8785)."),
        Column("l2_hash", "VARCHAR", "Hash of the list of calls, canonical JSON with normalised strings."),
        Column("request_sha256", "VARCHAR", "Hash of the request put before the candidate; null for a recorded run."),
        Column(
            "model",
            "VARCHAR",
            "The model that answered, as it names itself; of a walk one that is not the one asked, if there was any. Null when "
            "not known.",
        ),
        Column("model_requested", "VARCHAR", "The model that was asked; null when it was none."),
        Column(
            "finish_reason",
            "VARCHAR",
            "Why the model stopped (length: it was cut), of a walk the last time; null when not known.",
        ),
        Column("is_refusal", "BOOLEAN", "Whether the endpoint marks the text as a refusal; null without answer."),
        Column("input_tokens", "BIGINT", "Tokens of the request; null when not known."),
        Column("output_tokens", "BIGINT", "Tokens of the reply; null when not known."),
        Column(
            "cached_input_tokens", "BIGINT", "Those of input_tokens that were read from a cache; null when not told."
        ),
        Column(
            "cache_write_tokens", "BIGINT", "Those of input_tokens that were written to a cache; null when not told."
        ),
        Column("reasoning_tokens", "BIGINT", "Those of output_tokens that were reasoning; null when not told."),
        Column("latency_ms", "DOUBLE", "How long the candidate took, milliseconds; null when not known."),
        Column("cost_usd", "DOUBLE", "Price of the reply, US dollars; null when not known."),
        Column(
            "refused",
            "STRUCT(why VARCHAR, method VARCHAR, target VARCHAR)[]",
            "What an agent sent to its gateway, or tried to reach, and was turned away: neither a model call nor a recorded tool; "
            "empty for none, null where the candidate is no agent.",
            is_personal=True,
        ),
    ),
)

REPLAY_STEPS = Dataset(
    name="replay_steps",
    grain="one step (one message of the candidate) of one replayed turn or conversation × side × draw",
    key=("experiment", "version_id", "unit_id", "side", "draw", "step"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id", "side", "draw", "step"),
    layer="replay",
    has_newest_view=True,
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column("unit_id", "VARCHAR", "The unit: <aggregate_id>/t<turn>, or <aggregate_id> for a conversation."),
        STREAM,
        Column("side", "VARCHAR", "candidate or control."),
        Column("draw", "INTEGER", "Index of the draw."),
        Column("step", "INTEGER", "Place of the message in the unit: 1, 2, 3 …"),
        Column("turn", "INTEGER", "Number of user messages with text before it."),
        Column(
            "decision",
            "INTEGER",
            "The recorded decision at its place; null past the end of the recorded loop and past the divergence.",
        ),
        Column("status", "VARCHAR", "ok, or failed when the unit ended badly here."),
        Column("reason", "VARCHAR", "Code of the failure; null when ok."),
        Column("result_source", "VARCHAR", "How its tool calls were answered, the worst of them; see replays."),
        Column("is_tainted", "BOOLEAN", "Whether this or an earlier step got an answer that was not recorded for it."),
        Column("is_off_policy", "BOOLEAN", "Whether its context holds input that was said to somebody else."),
        Column("divergence", "VARCHAR", "Set on the first step that differs: what differs; see replays."),
        Column("text", "VARCHAR", "What the candidate said; null for tool calls alone.", is_personal=True),
        Column(
            "tool_calls",
            'STRUCT("name" VARCHAR, arguments VARCHAR, result_source VARCHAR, recorded_version INTEGER, '
            "is_ended BOOLEAN, miss VARCHAR)[]",
            "Its tool calls in order: the rung of the answer, the stream_version of the recorded call that gave it, whether "
            "the recording ended there, and for a miss, as JSON, the nearest recorded call and what differs.",
            is_personal=True,
        ),
        Column("request_sha256", "VARCHAR", "Hash of the request put before the candidate."),
        Column(
            "request_differences",
            "VARCHAR[]",
            "How an agent's own request differs from what the recording would have put there; null where no agent wrote it.",
        ),
        Column("model", "VARCHAR", "The model that answered, as it names itself; null when not known."),
        Column("model_requested", "VARCHAR", "The model that was asked; null when it was none."),
        Column("finish_reason", "VARCHAR", "Why the model stopped; null when not known."),
        Column("input_tokens", "BIGINT", "Tokens of the request; null when not known."),
        Column("output_tokens", "BIGINT", "Tokens of the reply; null when not known."),
        Column(
            "cached_input_tokens", "BIGINT", "Those of input_tokens that were read from a cache; null when not told."
        ),
        Column(
            "cache_write_tokens", "BIGINT", "Those of input_tokens that were written to a cache; null when not told."
        ),
        Column("reasoning_tokens", "BIGINT", "Those of output_tokens that were reasoning; null when not told."),
        Column("latency_ms", "DOUBLE", "How long the candidate took, milliseconds; null when not known."),
        Column("cost_usd", "DOUBLE", "Price of the reply, US dollars; null when not known."),
    ),
)

_SHOWN = {column.name: column for column in REPLAYS.columns}
AGENT_REFUSALS = Dataset(
    name="agent_refusals",
    grain="one request of an agent's that was turned away, of the newest complete version",
    key=("experiment", "version_id", "unit_id", "side", "draw", "number"),
    partition_by=("experiment", "version_id"),
    sort_by=("unit_id", "side", "draw", "number"),
    layer="replay",
    columns=(
        *(_SHOWN[name] for name in ("experiment", "version_id", "unit_id", "aggregate_id", "side", "draw")),
        Column("number", "INTEGER", "Its place among those of the unit: 1, 2, 3 …"),
        Column(
            "why",
            "VARCHAR",
            "path, method, proxy, host, unit or body: what the gateway does not serve; network: an attempt seen in the sandbox.",
        ),
        Column("method", "VARCHAR", "HTTP method or protocol, as it was written.", is_personal=True),
        Column("target", "VARCHAR", "What it was for, as it was written.", is_personal=True),
    ),
)
