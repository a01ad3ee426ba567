-- purpose: The agent's messages, each of them one decision, with the model call that led to it. A model call belongs to the
--          message with which it shares run and message id; of several, the newest describes the message.
--          Of several utterances in one message the newest is what was said, as in the context that an agent sees.
-- grain: one agent message
-- key: stream_no, decision
CREATE OR REPLACE TEMP TABLE fold_messages AS
SELECT
    groups.stream_no,
    row_number() OVER (PARTITION BY groups.stream_no ORDER BY groups.group_no)::INTEGER AS decision,
    groups.group_no,
    groups.first_version,
    groups.last_version,
    groups.model_version,
    groups.said.message_id AS message_id,
    groups.turn,
    groups.inputs_before,
    groups.utterance.text AS text,
    -- blank is what Unicode counts as white space
    coalesce(
        regexp_matches(
            groups.utterance.text,
            '[^\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]'
        ),
        false
    ) AS has_text,
    groups.model_call,
    groups.is_in_month
FROM (
    SELECT
        places.stream_no,
        places.group_no,
        min(places.stream_version) AS first_version,
        max(places.stream_version) AS last_version,
        max(places.stream_version) FILTER (WHERE places.role = 'model') AS model_version,
        arg_min({'message_id': events.message_id}, places.stream_version) FILTER (WHERE places.role = 'agent') AS said,
        max(places.turn) AS turn,
        min(places.inputs_before) AS inputs_before,
        arg_max({'text': events.text}, places.stream_version)
            FILTER (WHERE events.event_name = 'agent.utterance') AS utterance,
        arg_max(events.payload, places.stream_version) FILTER (WHERE places.role = 'model') AS model_call,
        bool_or(events.is_in_month) AS is_in_month
    FROM fold_places AS places
    INNER JOIN fold_events AS events
        ON places.stream_no = events.stream_no AND places.stream_version = events.stream_version
    WHERE places.role IN ('agent', 'model')
    GROUP BY places.stream_no, places.group_no
    HAVING bool_or(places.role = 'agent')
) AS groups;
