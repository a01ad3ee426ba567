-- purpose: Decisions: each agent message, the extent of the context before it, and the model call that led to it.
--          The context is every event before first_version; context_messages counts the messages that it renders to.
-- parameters: none; the steps hold the month
-- grain: one decision whose last event is in the month
-- key: aggregate_id, decision
-- steps: streams, events, sources, places, calls, messages, actions, call_hashes, verification
-- batch: streams
WITH models AS (
    SELECT
        messages.stream_no,
        messages.decision,
        json_transform(
            events.payload,
            '{"model": "VARCHAR", "prompt_sha256": "VARCHAR", "tools_sha256": "VARCHAR", "request_sha256": "VARCHAR", '
            || '"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, "latency_ms": "DOUBLE", '
            || '"cost_usd": "DOUBLE", "finish_reason": "VARCHAR"}'
        ) AS told
    FROM fold_messages AS messages
    INNER JOIN fold_events AS events
        ON messages.stream_no = events.stream_no AND messages.model_version = events.stream_version
    WHERE messages.is_in_month
)

SELECT
    streams.aggregate_id,
    streams.aggregate_type,
    messages.decision,
    messages.first_version,
    messages.last_version,
    sources.source,
    messages.message_id,
    messages.turn,
    (messages.decision - 1 + messages.inputs_before)::INTEGER AS context_messages,
    messages.text,
    coalesce(actions.tool_calls, []) AS tool_calls,
    coalesce(len(actions.tool_calls), 0)::INTEGER AS call_count,
    digests.l0_hash,
    digests.l1_hash,
    digests.l2_hash,
    models.told.model,
    models.told.prompt_sha256,
    models.told.tools_sha256,
    models.told.request_sha256,
    verification.is_verified AS context_verified,
    models.told.usage.input_tokens,
    models.told.usage.output_tokens,
    models.told.latency_ms,
    models.told.cost_usd,
    models.told.finish_reason,
    messages.created_at
FROM fold_messages AS messages
INNER JOIN fold_streams AS streams ON messages.stream_no = streams.stream_no
INNER JOIN fold_sources AS sources ON messages.stream_no = sources.stream_no
LEFT JOIN models ON messages.stream_no = models.stream_no AND messages.decision = models.decision
LEFT JOIN fold_actions AS actions
    ON messages.stream_no = actions.stream_no AND messages.decision = actions.decision
LEFT JOIN fold_call_hashes AS digests ON coalesce(actions.signature, []) = digests.signature
LEFT JOIN fold_verification AS verification
    ON messages.stream_no = verification.stream_no AND messages.decision = verification.decision
WHERE messages.is_in_month
ORDER BY streams.aggregate_id, messages.decision
