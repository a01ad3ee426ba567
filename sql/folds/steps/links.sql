-- purpose: What was folded to each snapshot of the batch: the chain's link, and the redactions in force up to there.
-- parameters: $month, YYYY-MM; listed, the expression that lists the redactions `applied`
-- reads: fold_snapshots, fold_heads, fold_redactions, events
-- grain: one snapshot within the month; those of its end have the stream's own
-- key: aggregate_id, stream_version
WITH within AS (
    SELECT
        snapshots.aggregate_id,
        snapshots.stream_version
    FROM fold_snapshots AS snapshots
    INNER JOIN fold_heads AS heads ON snapshots.aggregate_id = heads.aggregate_id AND heads.month = $month
    WHERE snapshots.stream_version < heads.last_version
),

redacted AS (
    SELECT
        within.aggregate_id,
        within.stream_version,
        $listed AS applied
    FROM within
    INNER JOIN fold_redactions AS applied
        ON within.aggregate_id = applied.aggregate_id AND within.stream_version >= applied.target_version
    GROUP BY within.aggregate_id, within.stream_version
)

SELECT
    within.aggregate_id,
    within.stream_version,
    events.hash AS last_hash,
    redacted.applied
FROM within
INNER JOIN events
    ON
        within.aggregate_id = events.aggregate_id
        AND within.stream_version = events.stream_version
        AND events.month = $month
LEFT JOIN redacted ON within.aggregate_id = redacted.aggregate_id AND within.stream_version = redacted.stream_version
