-- purpose: The events of some streams, redacted, upcast, and read into columns once.
-- parameters: content, the expression of the file of that name; $month, YYYY-MM; $low and $high, bounds of the streams' ids
--             (high is left out)
-- grain: one event
-- key: aggregate_id, stream_version
-- columns: rendered counts the messages that it renders to, the agent's left out, of a compaction its replacement; model is the
--          payload of a model decision
-- notes: `arguments` are as recorded, and null when none were; what reads them makes one value of them. `content` is read of
--        utterances of the user without text alone.
--        Whoever reads it selects the columns that it needs: JSON that no column needs is not read.
SELECT
    told.aggregate_id,
    told.stream_version,
    told.aggregate_type,
    told.position,
    told.created_at,
    told.month = $month AS is_in_month,
    told.event_name,
    told.is_erased,
    told.envelope.message_id,
    coalesce(told.envelope.actor = 'user', FALSE) AS is_by_user,
    told.envelope.source,
    told.envelope.source_id,
    told.envelope.source_ordinal,
    told.envelope.subject_id,
    told.envelope.time_source,
    told.said.text,
    CASE
        WHEN told.event_name = 'user.utterance' AND coalesce(told.said.text, '') = '' THEN $content
    END AS content,
    coalesce(told.said.is_refusal, FALSE) AS is_refusal,
    told.said.call_id,
    told.said.name,
    CASE
        WHEN told.event_name <> 'tool.call' THEN NULL
        WHEN told.said.arguments IS NOT NULL THEN told.said.arguments::VARCHAR
        ELSE json_extract(told.payload, '$.arguments')::VARCHAR
    END AS arguments,
    told.said.output::VARCHAR AS output,
    nullif(told.said.error, 'null')::VARCHAR AS error,
    coalesce(told.said.has_nested_calls, FALSE) AS has_nested_calls,
    coalesce(told.said.truncated, FALSE) AS is_truncated,
    coalesce(told.said.speech.interrupted, FALSE) AS is_interrupted,
    CASE
        WHEN told.event_name = 'user.utterance'
            THEN
                -- greatest leaves nulls out
                greatest(told.said.speech.end_ms, told.said.speech.start_ms + 0 * told.said.speech.end_ms)
                - told.said.speech.start_ms
    END AS user_talk_ms,
    CASE
        WHEN told.event_name = 'agent.utterance'
            THEN
                -- greatest leaves nulls out
                greatest(told.said.speech.end_ms, told.said.speech.start_ms + 0 * told.said.speech.end_ms)
                - told.said.speech.start_ms
    END AS agent_talk_ms,
    told.spent.usage.input_tokens,
    told.spent.usage.output_tokens,
    try_cast(told.spent.cost_usd AS DECIMAL(38, 12)) AS cost_usd,
    told.spent.usage.reasoning_tokens,
    coalesce(told.spent.content_missing, FALSE) AS is_content_missing,
    coalesce(told.event_name = 'context.compacted' OR told.spent.history = 'compacted', FALSE) AS is_compacted,
    told.rare.agent,
    told.rare.variant,
    told.rare.task,
    told.rare.channel,
    told.rare.vertical,
    nullif(told.rare.outcome, 'null')::VARCHAR AS outcome,
    told.rare.parent.conversation_id AS parent_id,
    told.rare.parent.call_id AS parent_call_id,
    nullif(told.rare.tags, 'null')::VARCHAR AS tags,
    nullif(told.rare.metadata, 'null')::VARCHAR AS metadata,
    nullif(told.rare.fidelity, 'null')::VARCHAR AS fidelity,
    told.rare.from_message,
    told.rare.to_message,
    told.rare.target.stream_version AS target_version,
    coalesce(told.rare.path, told.rare.span.path) AS path,
    told.rare.method,
    told.rare.reason,
    CASE WHEN told.event_name = 'model.decision' THEN told.payload END AS model,
    CASE told.event_name
        WHEN 'user.utterance' THEN 1
        WHEN 'tool.result' THEN 1
        WHEN 'context.supplied' THEN 1
        WHEN 'context.compacted' THEN coalesce(json_array_length(told.payload, '$.replacement'), 0)
        WHEN 'conversation.started' THEN coalesce(json_array_length(told.payload, '$.messages'), 0)
        ELSE 0
    END::INTEGER AS rendered
FROM (
    SELECT
        history.aggregate_id,
        history.stream_version,
        history.aggregate_type,
        history.position,
        history.created_at,
        history.month,
        history.event_name,
        history.is_erased,
        history.payload,
        json_transform(
            history.metadata,
            '{"message_id": "VARCHAR", "actor": "VARCHAR", "source": "VARCHAR", "source_id": "VARCHAR", '
            || '"source_ordinal": "BIGINT", "subject_id": "VARCHAR", "time_source": "VARCHAR"}'
        ) AS envelope,
        CASE
            WHEN history.event_name IN ('user.utterance', 'agent.utterance', 'tool.call', 'tool.result')
                THEN json_transform(
                    history.payload,
                    '{"text": "VARCHAR", "call_id": "VARCHAR", "name": "VARCHAR", "is_refusal": "BOOLEAN", '
                    || '"arguments": "JSON", "output": "JSON", "error": "JSON", "has_nested_calls": "BOOLEAN", '
                    || '"truncated": "BOOLEAN", '
                    || '"speech": {"start_ms": "BIGINT", "end_ms": "BIGINT", "interrupted": "BOOLEAN"}}'
                )
        END AS said,
        CASE
            WHEN history.event_name = 'model.decision'
                THEN json_transform(
                    history.payload,
                    '{"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT", "reasoning_tokens": "BIGINT"}, '
                    || '"cost_usd": "VARCHAR", "content_missing": "BOOLEAN", "history": "VARCHAR"}'
                )
        END AS spent,
        CASE
            WHEN
                history.event_name IN (
                    'conversation.started', 'conversation.ended', 'redaction.applied', 'context.compacted'
                )
                THEN json_transform(
                    history.payload,
                    '{"agent": "VARCHAR", "variant": "VARCHAR", "task": "VARCHAR", "channel": "VARCHAR", '
                    || '"vertical": "VARCHAR", "outcome": "JSON", "target": {"stream_version": "INTEGER"}, '
                    || '"path": "VARCHAR", "span": {"path": "VARCHAR"}, "method": "VARCHAR", "reason": "VARCHAR", '
                    || '"parent": {"conversation_id": "VARCHAR", "call_id": "VARCHAR"}, "tags": "JSON", '
                    || '"metadata": "JSON", "fidelity": "JSON", "from_message": "BIGINT", "to_message": "BIGINT"}'
                )
        END AS rare
    FROM fold_source AS history
    WHERE history.aggregate_id >= $low AND history.aggregate_id < $high
) AS told;
