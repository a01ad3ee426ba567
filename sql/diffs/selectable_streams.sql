-- What an experiment's `where` can speak of and its window selects: every conversation and call, without its lists.
-- grain: one stream
SELECT * EXCLUDE (month, transcript, tool_calls, redactions, skipped_events)
FROM (
    SELECT *
    FROM conversations
    UNION ALL BY NAME
    SELECT *
    FROM calls
) AS streams
