-- The newest state of each row. Few rows are stated in more than one month; only their keys are compared.
-- of: customer_months
-- grain: one customer: their newest state
WITH newest AS (
    SELECT
        subject_id,
        max(month) AS month
    FROM customer_months
    GROUP BY subject_id
    HAVING count(*) > 1
)

SELECT stored.*
FROM customer_months AS stored
LEFT JOIN newest ON stored.subject_id = newest.subject_id
WHERE newest.month IS NULL OR stored.month = newest.month
