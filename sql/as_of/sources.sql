-- purpose: Where each stream comes from and whom it is about: the first event that says so decides.
-- grain: one touched stream
-- key: stream_no
SELECT
    events.stream_no,
    arg_min(events.source, events.stream_version) AS source,
    arg_min(events.source_id, events.stream_version) AS source_id,
    arg_min(events.source_ordinal, events.stream_version) AS source_ordinal,
    arg_min(events.subject_id, events.stream_version) AS subject_id
FROM as_of_events AS events
GROUP BY events.stream_no
