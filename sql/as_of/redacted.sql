-- purpose: The newest month in which something of a stream was redacted: a state of before may show what is hidden now.
-- grain: one stream with redactions, of any time
-- key: aggregate_id
SELECT
    applied.aggregate_id,
    max(applied.month) AS month
FROM events AS applied
WHERE applied.event_type LIKE 'redaction.applied.v%'
GROUP BY applied.aggregate_id
