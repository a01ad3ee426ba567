-- purpose: Whom the month's streams were about before it, and in which message the user spoke last.
-- parameters: $month, YYYY-MM
-- reads: fold_heads, snapshots
-- grain: one stream with events in the month and before it
-- key: aggregate_id
SELECT
    stored.aggregate_id,
    stored.said_in,
    stored.subjects
FROM snapshots AS stored
INNER JOIN fold_heads AS heads
    ON stored.aggregate_id = heads.aggregate_id AND stored.stream_version = heads.first_version - 1
WHERE heads.month = $month AND heads.first_version > 1 AND stored.month < $month
