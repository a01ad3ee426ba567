-- purpose: The redactions of a batch, as states list them.
-- parameters: none
-- grain: one redaction
-- key: stream_no, stream_version
SELECT
    read.stream_no,
    read.stream_version,
    read.told.target.stream_version AS target_version,
    coalesce(read.told.path, read.told.span.path) AS path,
    read.told.method,
    read.told.reason
FROM (
    SELECT
        events.stream_no,
        events.stream_version,
        json_transform(
            events.payload,
            '{"target": {"stream_version": "INTEGER"}, "path": "VARCHAR", "span": {"path": "VARCHAR"}, '
            || '"method": "VARCHAR", "reason": "VARCHAR"}'
        ) AS told
    FROM fold_events AS events
    WHERE events.event_name = 'redaction.applied'
) AS read
ORDER BY read.stream_no, read.stream_version;
