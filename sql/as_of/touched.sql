-- purpose: The streams of one type that have events in the month of the time that is asked for; all others stand as their
--          monthly states say.
-- parameters: $month, of the time; $stream_type
-- grain: one stream with an event in the month, before or after the time
-- key: aggregate_id
SELECT
    heads.aggregate_id,
    heads.first_version,
    heads.last_version
FROM stream_months AS heads
WHERE heads.month = $month AND heads.aggregate_type = $stream_type
