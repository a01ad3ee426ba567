-- purpose: Where every stream that the month touches stands at the end of the month, so that a later month's fold goes on
--          from there: counts, the message that may go on, the tool calls that can still be answered.
-- parameters: none; the steps hold the month
-- grain: one stream with an event in the month
-- key: aggregate_id
-- steps: snapshots
-- batch: streams
SELECT
    snapshots.*,
    touched.last_hash,
    touched.redactions_hash
FROM fold_snapshots AS snapshots
INNER JOIN fold_touched AS touched ON snapshots.aggregate_id = touched.aggregate_id
ORDER BY snapshots.aggregate_id
