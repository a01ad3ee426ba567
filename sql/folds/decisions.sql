-- purpose: Decisions: each agent message, the extent of the context before it, and the model call that led to it.
--          The context is every event before first_version; context_messages counts the messages that it renders to.
-- parameters: none; the steps hold the month
-- grain: one decision whose last event is in the month
-- key: aggregate_id, decision
-- steps: streams, events, sources, places, calls, messages, actions, call_hashes, verification
WITH messages AS (
    SELECT
        written.*,
        json_transform(
            model_calls.payload,
            '{"model": "VARCHAR", "prompt_sha256": "VARCHAR", "tools_sha256": "VARCHAR", "request_sha256": "VARCHAR", '
            || '"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, "latency_ms": "DOUBLE", '
            || '"cost_usd": "DOUBLE", "finish_reason": "VARCHAR"}'
        ) AS told
    FROM fold_messages AS written
    LEFT JOIN fold_events AS model_calls
        ON written.stream_no = model_calls.stream_no AND written.model_version = model_calls.stream_version
    WHERE written.is_in_month
),

-- what answers a user's own tool call is invisible to the agent
hidden AS (
    SELECT
        calls.stream_no,
        list(calls.result_version) AS versions
    FROM fold_calls AS calls
    WHERE calls.actor = 'user' AND calls.result_version IS NOT NULL
    GROUP BY calls.stream_no
)

SELECT
    streams.aggregate_id,
    newest.aggregate_type,
    messages.decision,
    messages.first_version,
    messages.last_version,
    sources.source,
    newest.message_id,
    messages.turn,
    (
        messages.decision - 1 + messages.inputs_before
        - coalesce(len(list_filter(hidden.versions, LAMBDA version: version < messages.first_version)), 0)
    )::INTEGER AS context_messages,
    utterances.text,
    coalesce(actions.tool_calls, []) AS tool_calls,
    coalesce(len(actions.tool_calls), 0)::INTEGER AS call_count,
    digests.l0_hash,
    digests.l1_hash,
    digests.l2_hash,
    messages.told.model,
    messages.told.prompt_sha256,
    messages.told.tools_sha256,
    messages.told.request_sha256,
    verification.is_verified AS context_verified,
    messages.told.usage.input_tokens,
    messages.told.usage.output_tokens,
    messages.told.latency_ms,
    messages.told.cost_usd,
    messages.told.finish_reason,
    newest.created_at
FROM messages
INNER JOIN fold_streams AS streams ON messages.stream_no = streams.stream_no
INNER JOIN fold_sources AS sources ON messages.stream_no = sources.stream_no
INNER JOIN fold_events AS newest
    ON messages.stream_no = newest.stream_no AND messages.last_version = newest.stream_version
LEFT JOIN fold_events AS utterances
    ON messages.stream_no = utterances.stream_no AND messages.utterance_version = utterances.stream_version
LEFT JOIN fold_actions AS actions
    ON messages.stream_no = actions.stream_no AND messages.decision = actions.decision
LEFT JOIN fold_call_hashes AS digests ON coalesce(actions.signature, []) = digests.signature
LEFT JOIN fold_verification AS verification
    ON messages.stream_no = verification.stream_no AND messages.decision = verification.decision
LEFT JOIN hidden ON messages.stream_no = hidden.stream_no
ORDER BY streams.aggregate_id, messages.decision
