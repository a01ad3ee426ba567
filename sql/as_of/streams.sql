-- purpose: The streams that are folded: those that the time divides, and those whose states may be of before.
-- grain: one touched stream
-- key: stream_no; it is dense and numbered in the order of aggregate_id, so that later steps compare integers, not text
SELECT
    touched.aggregate_id,
    touched.first_version,
    row_number() OVER (ORDER BY touched.aggregate_id)::INTEGER AS stream_no
FROM as_of_touched AS touched
ANTI JOIN as_of_whole AS whole ON touched.aggregate_id = whole.aggregate_id
