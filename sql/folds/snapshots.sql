-- purpose: Where every stream that the month touches stands at the end of the month, and long ones after every so many
--          events within it, so that a later fold, or a state, goes on from there: counts, the message that may go on, the
--          tool calls that can still be answered.
-- parameters: none; the steps hold the month
-- grain: one stream with an event in the month; one more for each that is made within it
-- key: aggregate_id, stream_version
-- steps: snapshots
-- batch: streams
SELECT
    snapshots.* EXCLUDE (code_hash),
    coalesce(links.last_hash, touched.last_hash) AS last_hash,
    CASE WHEN links.aggregate_id IS NULL THEN touched.redactions_hash ELSE links.redactions_hash END AS redactions_hash,
    snapshots.code_hash
FROM fold_snapshots AS snapshots
INNER JOIN fold_touched AS touched ON snapshots.aggregate_id = touched.aggregate_id
LEFT JOIN fold_links AS links
    ON snapshots.aggregate_id = links.aggregate_id AND snapshots.stream_version = links.stream_version
ORDER BY snapshots.aggregate_id, snapshots.stream_version
