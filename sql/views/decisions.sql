-- The newest state of each row. Few rows are stated in more than one month; only their keys are compared.
-- of: decisions
-- grain: one decision: one agent message and the context before it
WITH newest AS (
    SELECT
        aggregate_id,
        decision,
        max(month) AS month
    FROM decisions_history
    WHERE
        aggregate_id IN (
            SELECT aggregate_id
            FROM stream_months
            GROUP BY aggregate_id
            HAVING count(*) > 1
        )
    GROUP BY aggregate_id, decision
    HAVING count(*) > 1
)

SELECT stored.*
FROM decisions_history AS stored
LEFT JOIN newest ON stored.aggregate_id = newest.aggregate_id AND stored.decision = newest.decision
WHERE newest.month IS NULL OR stored.month = newest.month
