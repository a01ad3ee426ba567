-- purpose: The state of every touched stream of one type at the end of the month: the left fold of its whole history.
-- parameters: stream_type, of the macro
-- grain: one touched stream of that type
-- key: aggregate_id
CREATE OR REPLACE TEMP MACRO stream_states(STREAM_TYPE) AS TABLE (  -- noqa: CP05 (takes a parameter for a type)
    SELECT
        states.aggregate_id,
        states.source,
        states.source_id,
        states.source_ordinal,
        states.agent,
        states.variant,
        states.task,
        states.channel,
        states.vertical,
        states.subject_id,
        states.status,
        states.outcome,
        states.started_at,
        states.ended_at,
        states.last_at,
        states.duration_seconds,
        states.last_version,
        states.last_position,
        states.event_count,
        states.user_messages,
        states.turns,
        states.agent_messages,
        states.agent_text_messages,
        states.tool_call_count,
        states.tool_result_count,
        states.unanswered_tool_calls,
        states.failed_tool_calls,
        states.redaction_count,
        states.input_tokens,
        states.output_tokens,
        states.cost_usd::DOUBLE AS cost_usd,
        states.final_text,
        states.transcript,
        states.tool_calls,
        states.redactions,
        states.skipped_events
    FROM fold_states AS states
    WHERE states.aggregate_type = stream_type
);
