-- The newest state of each row. Few rows are stated in more than one month; only their keys are compared.
-- of: tool_calls
-- grain: one tool call with its result
WITH newest AS (
    SELECT
        aggregate_id,
        stream_version,
        max(month) AS month
    FROM tool_calls_history
    WHERE
        aggregate_id IN (
            SELECT aggregate_id
            FROM stream_months
            GROUP BY aggregate_id
            HAVING count(*) > 1
        )
    GROUP BY aggregate_id, stream_version
    HAVING count(*) > 1
)

SELECT stored.*
FROM tool_calls_history AS stored
LEFT JOIN newest ON stored.aggregate_id = newest.aggregate_id AND stored.stream_version = newest.stream_version
WHERE newest.month IS NULL OR stored.month = newest.month
