"""What folds make of the log: utterances, tool calls, decisions, and monthly states."""

from __future__ import annotations

from pipelines.fold.shapes import LISTS, STANDING, STATE, STATE_LISTS
from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import MONTH, SOURCE, STREAM, STREAM_TYPE, TOOL_CALL, columns_of

IS_ERASED = Column(
    "is_erased", "BOOLEAN", "Whether the event is erased: its type and place are known, the rest is null."
)

UTTERANCES = Dataset(
    name="utterances",
    grain="one utterance of a user or an agent",
    key=("aggregate_id", "stream_version"),
    partition_by=("month",),
    sort_by=("aggregate_id", "stream_version"),
    layer="fold",
    columns=(
        MONTH,
        STREAM,
        STREAM_TYPE,
        Column("stream_version", "INTEGER", "The utterance's place in the stream."),
        Column("position", "BIGINT", "Global id of the event."),
        SOURCE,
        Column("message_id", "VARCHAR", "Message that the utterance is part of; null when the writer gave none."),
        Column(
            "turn",
            "INTEGER",
            "Number of turns (user messages with text, a picture or the like) up to and including this event.",
        ),
        Column("role", "VARCHAR", "user or agent."),
        Column(
            "text",
            "VARCHAR",
            "What was said, redactions applied; null for an agent message without text.",
            is_personal=True,
        ),
        IS_ERASED,
        Column("created_at", "TIMESTAMP WITH TIME ZONE", "When it was said, UTC."),
    ),
)

TOOL_CALLS = Dataset(
    name="tool_calls",
    grain="one tool call with its result",
    key=("aggregate_id", "stream_version"),
    partition_by=("month",),
    sort_by=("aggregate_id", "stream_version"),
    layer="fold",
    has_newest_view=True,
    columns=(
        MONTH,
        STREAM,
        STREAM_TYPE,
        Column("stream_version", "INTEGER", "The call's place in the stream."),
        Column("position", "BIGINT", "Global id of the call's event."),
        SOURCE,
        Column("message_id", "VARCHAR", "Message that asked for the call; null when the writer gave none."),
        Column("turn", "INTEGER", "Number of turns before the call."),
        Column("actor", "VARCHAR", "Who called: agent or user; null for an erased call, which counts as the agent's."),
        Column("call_id", "VARCHAR", "Id as recorded; not a key (real logs reuse ids or leave them null)."),
        Column("name", "VARCHAR", "The tool."),
        Column(
            "arguments",
            "VARCHAR",
            "JSON text of the arguments: one value, whether they were recorded as an object or as a string that holds it; "
            "{} when none were given. As recorded they are in events.",
            is_personal=True,
        ),
        Column(
            "is_invalid_json",
            "BOOLEAN",
            "Whether the recorded arguments are a string that holds no JSON; `arguments` is that string, then.",
        ),
        Column("result_version", "INTEGER", "Place of the result in the stream; null while unanswered."),
        Column("output", "VARCHAR", "JSON text of what the tool answered; null while unanswered.", is_personal=True),
        Column(
            "error",
            "VARCHAR",
            "JSON text of the recorded error; null when there was none or no answer.",
            is_personal=True,
        ),
        Column(
            "is_erased",
            "BOOLEAN",
            "Whether the call or its result is erased; what the erased one said is null.",
        ),
        Column("created_at", "TIMESTAMP WITH TIME ZONE", "When it was asked, UTC."),
        Column("answered_at", "TIMESTAMP WITH TIME ZONE", "When it was answered, UTC; null while unanswered."),
    ),
)

DECISIONS = Dataset(
    name="decisions",
    grain="one decision: one agent message and the context before it",
    key=("aggregate_id", "decision"),
    partition_by=("month",),
    sort_by=("aggregate_id", "decision"),
    layer="fold",
    row_group_size=10_240,
    has_newest_view=True,
    columns=(
        MONTH,
        STREAM,
        STREAM_TYPE,
        Column("decision", "INTEGER", "Place of the decision in its stream: 1, 2, 3 …"),
        Column("first_version", "INTEGER", "First event of the decision; its context is every event before it."),
        Column("last_version", "INTEGER", "Last event of the decision."),
        SOURCE,
        Column("message_id", "VARCHAR", "The agent message; null when the writer gave none."),
        Column("turn", "INTEGER", "Number of turns in the context."),
        Column(
            "context_messages",
            "INTEGER",
            "Messages in the context; with 0 nobody can be asked (no_context). Null when a part of the context is erased.",
        ),
        Column(
            "text", "VARCHAR", "What the agent said, redactions applied; null for tool calls alone.", is_personal=True
        ),
        Column(
            "is_refusal",
            "BOOLEAN",
            "Whether the recorded message says of itself that it is a refusal; null when it is erased.",
        ),
        Column(
            "tool_calls",
            f"{TOOL_CALL}[]",
            "The tool calls of the message, in order: `arguments` as in tool_calls, `recorded` is their recorded text where that "
            "is another, else null.",
            is_personal=True,
        ),
        Column("call_count", "INTEGER", "Length of tool_calls."),
        Column(
            "l0_hash", "VARCHAR", "Hash of the list of calls, arguments as recorded; null when the decision is erased."
        ),
        Column(
            "l1_hash", "VARCHAR", "Hash of the list of calls, arguments as canonical JSON (RFC 8785); null likewise."
        ),
        Column(
            "l2_hash", "VARCHAR", "Hash of the list of calls, canonical JSON with normalised strings; null likewise."
        ),
        Column("model", "VARCHAR", "Model that answered; null when not recorded."),
        Column("model_requested", "VARCHAR", "Model that was asked for; null when not recorded."),
        Column("provider", "VARCHAR", "Who was asked; null when not recorded."),
        Column("prompt_sha256", "VARCHAR", "Hash of the system prompt; null when not recorded."),
        Column("tools_sha256", "VARCHAR", "Hash of the tool schemas; null when not recorded."),
        Column("request_sha256", "VARCHAR", "Hash of the request as sent; null when not recorded."),
        Column(
            "context_verified",
            "BOOLEAN",
            "Whether the rebuilt request has that hash; null when there is none to check, or a part of the context is erased.",
        ),
        Column("input_tokens", "BIGINT", "Tokens of the request; null when not recorded."),
        Column("output_tokens", "BIGINT", "Tokens of the answer; null when not recorded."),
        Column("cached_input_tokens", "BIGINT", "Tokens of the request that were read from a cache; null likewise."),
        Column("cache_write_tokens", "BIGINT", "Tokens of the request that were written to a cache; null likewise."),
        Column("reasoning_tokens", "BIGINT", "Tokens of what the model thought; null likewise."),
        Column(
            "usage_basis",
            "VARCHAR",
            "Whether input_tokens count those of a cache: with_cache, without_cache; null where nobody knows.",
        ),
        Column("latency_ms", "DOUBLE", "How long the model took, milliseconds; null when not recorded."),
        Column("ttft_ms", "DOUBLE", "How long until its first token, milliseconds; null when not recorded."),
        Column("cost_usd", "DOUBLE", "Price of the model call, US dollars; null when not recorded."),
        Column("finish_reason", "VARCHAR", "Why the model stopped; null when not recorded."),
        Column("response_id", "VARCHAR", "The provider's id of the answer; null when not recorded."),
        Column("error", "VARCHAR", "JSON text of how the call failed; null where it answered.", is_personal=True),
        Column("retries", "INTEGER", "Failed calls before it, of the same request; null when not recorded."),
        Column(
            "history",
            "VARCHAR",
            "How its context was put together from what was recorded: exact, rendered (the agent's own words came back otherwise), "
            "delta (only what was new), compacted, opened; null where it was recorded as it happened.",
        ),
        Column(
            "clock",
            "VARCHAR",
            "Whose time it has: message, span, call, conversation, import; null where it was recorded as it happened.",
        ),
        Column(
            "has_nested_calls",
            "BOOLEAN",
            "Whether it calls a tool whose argument is a program that calls tools; null when it is erased.",
        ),
        Column(
            "is_erased",
            "BOOLEAN",
            "Whether an event of it is erased; what the erased ones said is null, or not in the list.",
        ),
        Column(
            "is_context_erased",
            "BOOLEAN",
            "Whether an event before it is erased: its context cannot be rebuilt, and so not be put before anybody (erased).",
        ),
        Column("created_at", "TIMESTAMP WITH TIME ZONE", "When the decision's last event happened, UTC."),
    ),
)

_TEXTS = {
    "aggregate_id": STREAM.description,
    "source": SOURCE.description,
    "source_id": "The conversation's id at its source; null when the writer did not say.",
    "source_ordinal": "Place of the conversation at its source (an import: line number).",
    "agent": "The agent that served; null when not recorded.",
    "variant": "Variant of the agent; with source and task it pairs recorded runs.",
    "task": "Task of a benchmark or campaign; null for ordinary traffic.",
    "channel": "chat, voice, mail …; null when not recorded.",
    "vertical": "Line of business; null when not recorded.",
    "subject_id": "The person it is about; null when not recorded.",
    "status": "ended once the end was recorded, else open.",
    "outcome": "JSON text of the recorded outcome; null when none was recorded.",
    "ended_reason": "Why it ended, as recorded; null when not recorded.",
    "parent_id": "The conversation, at the same source, that started it; null for none.",
    "parent_call_id": "The tool call of that conversation; null when not recorded.",
    "tags": "JSON text of its tags; null for none.",
    "metadata": "JSON text of what its recorder added; null for nothing.",
    "started_at": "First event, UTC.",
    "ended_at": "When the end was recorded, UTC; null while open.",
    "last_at": "Newest event, UTC.",
    "duration_seconds": "last_at − started_at, seconds.",
    "last_version": "stream_version of the newest event.",
    "last_position": "position of the newest event.",
    "event_count": "Events so far.",
    "user_messages": "User messages so far, those of tool calls alone included.",
    "turns": "User messages so far with text, a picture or the like.",
    "agent_messages": "Agent messages so far; each is one decision.",
    "agent_text_messages": "Agent messages with text that is not blank.",
    "tool_call_count": "Tool calls so far, the user's included.",
    "tool_result_count": "Tool results so far.",
    "unanswered_tool_calls": "Tool calls without a result so far.",
    "failed_tool_calls": "Tool calls whose result carries an error (not null, not false).",
    "redaction_count": "Redactions so far.",
    "interruptions": "Utterances so far that were interrupted.",
    "user_talk_ms": "How long the person spoke so far, milliseconds; null when not recorded.",
    "agent_talk_ms": "How long the agent spoke so far, milliseconds; null when not recorded.",
    "input_tokens": "Sum over recorded model calls; null when none was recorded.",
    "output_tokens": "Sum over recorded model calls; null when none was recorded.",
    "cost_usd": "Sum over recorded model calls, US dollars; null when none was recorded.",
    "final_text": "Last agent text that is not blank; null when there is none.",
    "transcript": "What was said, in order.",
    "tool_calls": "The tool calls with their results, in order; payloads are JSON text.",
    "redactions": "The redactions, in order.",
    "skipped_events": "Events whose type or version the fold does not know; counted, never guessed.",
    "content_missing": "Whether what was said in a model call was not recorded.",
    "history_compacted": "Whether a context was shortened, or messages gave way to a summary.",
    "reasoning_lost": "Whether a model thought, and nothing of it was recorded.",
    "is_truncated": "Whether a text was recorded that is not whole.",
    "session_ambiguous": "Whether the record does not say which conversation it is of.",
    "erased_events": "Events so far whose payload and metadata are gone: counted by their type, and nothing else is known of them.",
}
"""What the columns of a state mean."""
_PERSONAL = ("subject_id", "final_text", "transcript", "tool_calls", "metadata")
_STATE_COLUMNS = (MONTH, *columns_of(STATE, _TEXTS, _PERSONAL))

CONVERSATION_MONTHS = Dataset(
    name="conversation_months",
    grain="one conversation × month in which it has events: its state at the end of that month",
    key=("aggregate_id", "month"),
    partition_by=("month",),
    sort_by=("aggregate_id",),
    layer="fold",
    row_group_size=10_240,
    columns=_STATE_COLUMNS,
)

CALL_MONTHS = Dataset(
    name="call_months",
    grain="one voice call × month in which it has events: its state at the end of that month",
    key=("aggregate_id", "month"),
    partition_by=("month",),
    sort_by=("aggregate_id",),
    layer="fold",
    row_group_size=10_240,
    columns=_STATE_COLUMNS,
)

CUSTOMER_MONTHS = Dataset(
    name="customer_months",
    grain="one customer × month in which an event is about them: their state at the end of that month",
    key=("subject_id", "month"),
    partition_by=("month",),
    sort_by=("subject_id",),
    layer="fold",
    row_group_size=10_240,
    columns=(
        MONTH,
        Column("subject_id", "VARCHAR", "The person, as in the envelope's subject_id.", is_personal=True),
        Column("first_at", "TIMESTAMP WITH TIME ZONE", "First event about them, UTC."),
        Column("last_at", "TIMESTAMP WITH TIME ZONE", "Newest event about them, UTC."),
        Column("event_count", "INTEGER", "Events about them so far."),
        Column("conversations", "INTEGER", "Conversations so far."),
        Column("calls", "INTEGER", "Voice calls so far."),
        Column(
            "user_messages",
            "INTEGER",
            "Messages of theirs so far with text, a picture or the like: turns that they begin.",
        ),
        Column("tool_call_count", "INTEGER", "Tool calls in their conversations so far."),
        Column("refunds_asked", "INTEGER", "Rows of the table refunds that came into being."),
        Column("refunds_paid", "INTEGER", "Rows of the table refunds whose newest status is paid."),
        Column("refunds_paid_usd", "DOUBLE", "Sum of amount_usd over those, US dollars."),
        Column("input_tokens", "BIGINT", "Sum over recorded model calls; null when none was recorded."),
        Column("output_tokens", "BIGINT", "Sum over recorded model calls; null when none was recorded."),
        Column("cost_usd", "DOUBLE", "Sum over recorded model calls, US dollars; null when none was recorded."),
        Column(
            "rows",
            'STRUCT("table" VARCHAR, "key" VARCHAR, "row" VARCHAR)[]',
            "Newest state of each changed row (JSON text), by table and key; deleted rows are left out.",
            is_personal=True,
        ),
    ),
)

CUSTOMER_SNAPSHOTS = Dataset(
    name="customer_snapshots",
    grain="one customer × month in which an event is about them: what a fold of a later month needs beside their state",
    key=("subject_id", "month"),
    partition_by=("month",),
    sort_by=("subject_id",),
    layer="fold",
    columns=(
        MONTH,
        Column("subject_id", "VARCHAR", "The person, as in the envelope's subject_id.", is_personal=True),
        Column(
            "cost_usd",
            "DECIMAL(38, 12)",
            "Sum over recorded model calls, US dollars, exact; null when none was recorded.",
        ),
        Column(
            "refunds",
            "VARCHAR[]",
            "Keys (JSON text) of the rows of the table refunds that came into being, those deleted since included.",
            is_personal=True,
        ),
    ),
)

_STANDING_TEXTS = {
    "aggregate_type": STREAM_TYPE.description,
    "stream_version": "The newest event in it.",
    "position": "Global id of that event.",
    "created_at": "When that event happened, UTC.",
    "cost_usd": "Sum over recorded model calls, US dollars, exact; null when none was recorded.",
    "fidelity": "JSON text of what its start says that the record lacks; null for nothing.",
    "reasoning_tokens": "Sum over recorded model calls; null when none was recorded.",
    "contents_missing": "Model calls so far of which the content was not recorded.",
    "compactions": "Contexts so far that were shortened.",
    "truncations": "Results so far that are not whole.",
    "reasonings": "Events so far that say what the model thought.",
    "groups": "Agent messages and lone runs of model decisions so far.",
    "inputs": "Messages so far that a context renders, the agent's left out.",
    "hidden_results": "Of those the results of the user's own tool calls, which no agent sees.",
    "open_message": "Key of the agent message that may go on; `?` when all that is there of it is erased, empty when none may, null "
    "when there was none.",
    "is_asking": "Whether the newest event that speaks, calls, answers or informs is a model call.",
    "said_in": "Key of the message of the user's last utterance; null when there was none.",
    "user_message": "Key of the user's last message; null when there was none.",
    "subjects": "The people whom its events are about.",
    "last_role": "Role of the last event that speaks, calls, answers or informs; null when there was none.",
    "waiting": "The tool calls that a result can still answer, in order.",
}
"""What the columns of a snapshot mean, where it is not what they mean in a state."""
_LIST_TEXTS = {
    name: f"What is new in the state's {name} since the snapshot of `lists_since`; null if it has none."
    for name in STATE_LISTS
}

SNAPSHOTS = Dataset(
    name="snapshots",
    grain="one stream × month in which it has events, and × 500 events of it: what a fold needs to go on from there",
    key=("aggregate_id", "stream_version"),
    partition_by=("month",),
    sort_by=("aggregate_id", "stream_version"),
    layer="fold",
    row_group_size=5_120,  # one stream is read with its whole group
    columns=(
        MONTH,
        *columns_of(STANDING, _TEXTS | _STANDING_TEXTS, (*_PERSONAL, "subjects", "waiting")),
        *columns_of(LISTS, _LIST_TEXTS, STATE_LISTS),
        Column(
            "lists_since",
            "INTEGER",
            "The stream_version up to which the lists of snapshots before reach; 0 for none. Null before the stream has 500 "
            "events: its lists are in its states.",
        ),
        Column("last_hash", "BLOB", "Chain link of the newest event: it stands for all that was folded."),
        Column(
            "redactions_hash",
            "VARCHAR",
            "Hash of the redactions, of any month, under which it was folded; null for none.",
        ),
        Column("code_hash", "VARCHAR", "Hash of what folded it: code, upcasters, known types, interval of snapshots."),
    ),
)
