-- purpose: What the streams that go on from a snapshot bring along: all but those whose first event since goes on with a
--          message of the agent that was open then. Those are folded from their first event.
-- grain: one stream with events before the month
-- key: stream_no
-- notes: the first event that is not the start of a conversation decides, as in folds that go on from a month before.
WITH began AS (
    SELECT
        tail.stream_no,
        arg_min(
            CASE
                WHEN tail.event_name IN ('agent.utterance', 'model.decision') THEN tail.message_key
                WHEN tail.event_name = 'tool.call' AND NOT tail.is_by_user THEN tail.message_key
                ELSE ''
            END,
            tail.stream_version
        ) AS first_key
    FROM as_of_tail AS tail
    WHERE
        tail.event_name IN (
            'context.supplied', 'user.utterance', 'agent.utterance', 'tool.call', 'tool.result', 'model.decision'
        )
    GROUP BY tail.stream_no
)

SELECT standing.*
FROM as_of_standing AS standing
LEFT JOIN began ON standing.stream_no = began.stream_no
WHERE coalesce(standing.open_message, '') = '' OR (standing.open_message IS DISTINCT FROM began.first_key)
