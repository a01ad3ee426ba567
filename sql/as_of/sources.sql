-- purpose: Where each stream comes from and whom it is about: the first event that says so decides.
-- grain: one stream that is folded
-- key: stream_no
SELECT
    told.stream_no,
    coalesce(before.source, told.source) AS source,
    coalesce(before.source_id, told.source_id) AS source_id,
    coalesce(before.source_ordinal, told.source_ordinal) AS source_ordinal,
    coalesce(before.subject_id, told.subject_id) AS subject_id
FROM (
    SELECT
        events.stream_no,
        arg_min(events.source, events.stream_version) AS source,
        arg_min(events.source_id, events.stream_version) AS source_id,
        arg_min(events.source_ordinal, events.stream_version) AS source_ordinal,
        arg_min(events.subject_id, events.stream_version) AS subject_id
    FROM as_of_events AS events
    GROUP BY events.stream_no
) AS told
LEFT JOIN as_of_resumed AS before ON told.stream_no = before.stream_no
