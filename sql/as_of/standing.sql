-- purpose: Where these streams stood before the month, by snapshots that today's code made of the log as it is: they are not
--          used if something was redacted later, or if the state of the same event is missing.
-- parameters: $month, of the time; $states, the monthly states; $code, the hash of the code
-- grain: one stream with events before the month that can be gone on from
-- key: stream_no
SELECT
    streams.stream_no,
    stood.*
FROM as_of_streams AS streams
INNER JOIN snapshots AS stood
    ON streams.aggregate_id = stood.aggregate_id AND streams.first_version - 1 = stood.stream_version
SEMI JOIN stream_months AS heads
    ON
        stood.aggregate_id = heads.aggregate_id
        AND stood.month = heads.month
        AND stood.last_hash = heads.last_hash
SEMI JOIN $states AS stored
    ON
        stood.aggregate_id = stored.aggregate_id
        AND stood.month = stored.month
        AND stood.stream_version = stored.last_version
LEFT JOIN as_of_redacted AS redacted ON streams.aggregate_id = redacted.aggregate_id
WHERE stood.month < $month AND stood.code_hash = $code AND coalesce(redacted.month <= stood.month, TRUE)
