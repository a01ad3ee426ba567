-- purpose: The streams that a month touches. Everything that is folded by stream reads these and no others.
-- parameters: $month, YYYY-MM
-- grain: one stream with an event in the month
-- key: stream_no; it is dense and numbered in the order of aggregate_id, so that later steps compare integers, not text
CREATE OR REPLACE TEMP TABLE fold_streams AS
SELECT
    touched.aggregate_id,
    row_number() OVER (ORDER BY touched.aggregate_id)::INTEGER AS stream_no
FROM (
    SELECT DISTINCT events.aggregate_id
    FROM events
    WHERE events.month = $month
) AS touched;
