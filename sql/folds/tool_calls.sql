-- purpose: Tool calls with their results, redactions applied. A result that arrives in a later month states its call again
--          there; the newest month's row of a call is the call as known today.
-- parameters: none; the steps hold the month
-- grain: one tool call that was asked or answered in the month
-- key: aggregate_id, stream_version
-- steps: tool_calls
-- batch: streams
SELECT
    calls.aggregate_id,
    calls.aggregate_type,
    calls.stream_version,
    calls.position,
    calls.source,
    calls.message_id,
    calls.turn,
    calls.actor,
    calls.call_id,
    calls.name,
    calls.arguments,
    calls.is_invalid_json,
    calls.result_version,
    calls.output,
    calls.error,
    calls.is_erased,
    calls.created_at,
    calls.answered_at
FROM fold_tool_calls AS calls
WHERE calls.is_in_month
ORDER BY calls.aggregate_id, calls.stream_version
