-- purpose: Of the touched streams those of which the month's state says all: nothing of them comes after the time, or all does.
-- parameters: $month, of the time; $time; $states, the monthly states
-- grain: one stream whose state is of its newest event of the month, and of before no later redaction
-- key: aggregate_id
SELECT
    touched.aggregate_id,
    stored.started_at <= $time AS has_begun
FROM as_of_touched AS touched
INNER JOIN $states AS stored
    ON touched.aggregate_id = stored.aggregate_id AND touched.last_version = stored.last_version AND stored.month = $month
LEFT JOIN as_of_redacted AS redacted ON touched.aggregate_id = redacted.aggregate_id
WHERE
    coalesce(redacted.month <= $month, TRUE)
    AND (stored.last_at <= $time OR stored.started_at > $time)
