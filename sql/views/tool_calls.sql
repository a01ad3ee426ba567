-- The newest state of each row.
-- of: tool_calls
-- grain: one tool call with its result
SELECT *
FROM tool_calls_history
QUALIFY row_number() OVER (PARTITION BY aggregate_id, stream_version ORDER BY month DESC) = 1
