-- purpose: The agent's messages, each of them one decision, with the model call that led to it. A model call belongs to the
--          message with which it shares run and message id; of several, the newest describes the message.
--          Of several utterances in one message the newest is what was said, as in the context that an agent sees.
-- grain: one agent message
-- key: stream_no, decision
-- columns: utterance_version and model_version are the events that say what was said and which model call it was, null for none
SELECT
    written.*,
    row_number() OVER (PARTITION BY written.stream_no ORDER BY written.group_no)::INTEGER AS decision
FROM (
    SELECT
        places.stream_no,
        places.group_no,
        min(places.stream_version) AS first_version,
        max(places.stream_version) AS last_version,
        max(places.stream_version) FILTER (WHERE events.event_name = 'agent.utterance') AS utterance_version,
        max(places.stream_version) FILTER (WHERE places.role = 'model') AS model_version,
        max(places.turn) AS turn,
        min(places.inputs_before) AS inputs_before,
        coalesce(
            arg_max(events.is_said, places.stream_version) FILTER (WHERE events.event_name = 'agent.utterance'), FALSE
        ) AS has_text
    FROM as_of_places AS places
    INNER JOIN as_of_events AS events
        ON places.stream_no = events.stream_no AND places.stream_version = events.stream_version
    WHERE places.role IN ('agent', 'model')
    GROUP BY places.stream_no, places.group_no
    HAVING bool_or(places.role = 'agent')
) AS written
