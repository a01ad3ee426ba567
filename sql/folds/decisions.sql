-- purpose: Decisions: each agent message, the extent of the context before it, and the model call that led to it.
--          The context is every event before first_version; context_messages counts the messages that it renders to.
-- parameters: none; the steps hold the month
-- grain: one decision whose last event is in the month
-- key: aggregate_id, decision
-- steps: messages, actions, call_hashes, verification
-- batch: streams
WITH messages AS (
    SELECT
        written.*,
        json_transform(
            written.model,
            '{"model": "VARCHAR", "model_requested": "VARCHAR", "provider": "VARCHAR", "prompt_sha256": "VARCHAR", '
            || '"tools_sha256": "VARCHAR", "request_sha256": "VARCHAR", '
            || '"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT", "cached_input_tokens": "BIGINT", '
            || '"cache_write_tokens": "BIGINT", "reasoning_tokens": "BIGINT"}, "usage_basis": "VARCHAR", '
            || '"latency_ms": "DOUBLE", "ttft_ms": "DOUBLE", "cost_usd": "DOUBLE", "finish_reason": "VARCHAR", '
            || '"response_id": "VARCHAR", "error": "JSON", "retries": "INTEGER", "history": "VARCHAR"}'
        ) AS told
    FROM fold_messages AS written
    WHERE written.is_in_month
)

SELECT
    messages.aggregate_id,
    messages.aggregate_type,
    messages.decision,
    messages.first_version,
    messages.last_version,
    messages.source,
    messages.message_id,
    messages.turn,
    CASE
        WHEN NOT messages.is_context_erased THEN messages.decision - 1 + messages.inputs_before
    END::INTEGER AS context_messages,
    messages.text,
    messages.is_refusal,
    coalesce(actions.tool_calls, []) AS tool_calls,
    coalesce(len(actions.tool_calls), 0)::INTEGER AS call_count,
    CASE WHEN NOT messages.is_erased THEN coalesce(digests.l0_hash, sha256('')) END AS l0_hash,
    CASE WHEN NOT messages.is_erased THEN coalesce(digests.l1_hash, sha256('')) END AS l1_hash,
    CASE WHEN NOT messages.is_erased THEN coalesce(digests.l2_hash, sha256('')) END AS l2_hash,
    messages.told.model,
    messages.told.model_requested,
    messages.told.provider,
    messages.told.prompt_sha256,
    messages.told.tools_sha256,
    messages.told.request_sha256,
    verification.is_verified AS context_verified,
    messages.told.usage.input_tokens,
    messages.told.usage.output_tokens,
    messages.told.usage.cached_input_tokens,
    messages.told.usage.cache_write_tokens,
    messages.told.usage.reasoning_tokens,
    messages.told.usage_basis,
    messages.told.latency_ms,
    messages.told.ttft_ms,
    messages.told.cost_usd,
    messages.told.finish_reason,
    messages.told.response_id,
    nullif(messages.told.error, 'null')::VARCHAR AS error,
    messages.told.retries,
    messages.told.history,
    messages.clock,
    messages.has_nested_calls,
    messages.is_erased,
    messages.is_context_erased,
    messages.created_at
FROM messages
LEFT JOIN fold_actions AS actions
    ON messages.stream_no = actions.stream_no AND messages.decision = actions.decision
LEFT JOIN fold_call_hashes AS digests
    ON messages.stream_no = digests.stream_no AND messages.decision = digests.decision
LEFT JOIN fold_verification AS verification
    ON messages.stream_no = verification.stream_no AND messages.decision = verification.decision
ORDER BY messages.aggregate_id, messages.decision
