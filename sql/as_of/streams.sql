-- purpose: The streams of one type that have events in the month of the time that is asked for; all others stand as their
--          monthly states say.
-- parameters: $month, of the time; $stream_type
-- grain: one stream with an event in the month, before or after the time
-- key: stream_no; it is dense and numbered in the order of aggregate_id, so that later steps compare integers, not text
SELECT
    touched.aggregate_id,
    row_number() OVER (ORDER BY touched.aggregate_id)::INTEGER AS stream_no
FROM stream_months AS touched
WHERE touched.month = $month AND touched.aggregate_type = $stream_type
