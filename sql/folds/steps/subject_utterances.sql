-- purpose: What users said in the streams that are about the touched customers, to tell which turns each of them began: whether a
--          turn begins with an utterance is for its stream to say, whomever the utterances before it were about.
-- reads: fold_subject_events, fold_subject_told, fold_subject_touched, fold_subject_streams; see `customers`
-- parameters: content, the expression of the file of that name
-- grain: one utterance of a user; said_in, the message in which the user spoke last before these events, is its stream's
-- key: aggregate_id, stream_version
SELECT
    told.aggregate_id,
    json_extract_string(told.metadata, '$.subject_id') AS subject_id,
    json_extract_string(told.metadata, '$.message_id') AS message_id,
    coalesce(json_extract_string(told.payload, '$.text') <> '', FALSE) AS has_text,
    ($content) AS content,
    streams.said_in
FROM fold_subject_told AS told
LEFT JOIN fold_subject_streams AS streams ON told.aggregate_id = streams.aggregate_id
WHERE
    told.event_name = 'user.utterance'
    AND told.aggregate_id IN (
        SELECT about.aggregate_id
        FROM fold_subject_events AS about
        WHERE
            json_extract_string(about.metadata, '$.subject_id') IN (
                SELECT touched.subject_id
                FROM fold_subject_touched AS touched
            )
    )
ORDER BY told.aggregate_id, told.stream_version
