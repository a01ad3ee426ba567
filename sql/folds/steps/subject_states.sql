-- purpose: Where the touched customers stood before the month: their newest earlier states, with what a fold goes on from.
-- parameters: $month, YYYY-MM
-- reads: fold_subject_touched, customer_months, customer_snapshots
-- grain: one touched customer about whom there was an event before the month
-- key: subject_id
WITH newest AS (
    SELECT
        stored.subject_id,
        max(stored.month) AS month
    FROM customer_months AS stored
    SEMI JOIN fold_subject_touched AS touched ON stored.subject_id = touched.subject_id
    WHERE stored.month < $month
    GROUP BY stored.subject_id
)

SELECT
    states.* REPLACE (snapshots.cost_usd AS cost_usd),
    snapshots.refunds
FROM customer_months AS states
INNER JOIN newest ON states.subject_id = newest.subject_id AND states.month = newest.month
INNER JOIN customer_snapshots AS snapshots
    ON states.subject_id = snapshots.subject_id AND states.month = snapshots.month
