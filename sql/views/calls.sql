-- The newest state of each row. Few rows are stated in more than one month; only their keys are compared.
-- of: call_months
-- grain: one voice call: its newest state
WITH newest AS (
    SELECT
        aggregate_id,
        max(month) AS month
    FROM call_months
    GROUP BY aggregate_id
    HAVING count(*) > 1
)

SELECT stored.*
FROM call_months AS stored
LEFT JOIN newest ON stored.aggregate_id = newest.aggregate_id
WHERE newest.month IS NULL OR stored.month = newest.month
