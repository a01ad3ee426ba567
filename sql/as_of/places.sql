-- purpose: Where each event stands in its conversation: which message of the agent or the user it is part of, in which turn,
--          and after how many rendered inputs. The rules are those of the context that an agent sees:
--          a message of the agent is a maximal run of its outputs and model decisions that share a message id, not broken by
--          an utterance of the user, a user's tool call, a tool's result or supplied context;
--          a turn begins with a user's utterance that has text, a picture or the like, unless it continues the message of the
--          utterance before it.
-- grain: one event that speaks, calls, answers or informs
-- key: stream_no, stream_version
-- columns: role (start, input, result, user, agent, model); group_no (agent messages and model calls without output share the
--          numbering); is_turn_start, turn (turns up to and including this event); is_user_message_start;
--          inputs_before (messages that are not the agent's, rendered before this event, all tool results included)
WITH roles AS (
    SELECT
        events.stream_no,
        events.stream_version,
        events.message_key,
        events.event_name,
        events.opens_turn,
        CASE
            WHEN events.event_name = 'tool.call' AND events.is_by_user THEN 'user'
            WHEN events.event_name = 'tool.call' THEN 'agent'
            WHEN events.event_name = 'agent.utterance' THEN 'agent'
            WHEN events.event_name = 'user.utterance' THEN 'user'
            WHEN events.event_name = 'tool.result' THEN 'result'
            WHEN events.event_name = 'model.decision' THEN 'model'
            WHEN events.event_name = 'context.supplied' THEN 'input'
            WHEN events.event_name = 'conversation.started' THEN 'start'
        END AS role,
        CASE events.event_name
            WHEN 'user.utterance' THEN 1
            WHEN 'tool.result' THEN 1
            WHEN 'context.supplied' THEN 1
            WHEN 'conversation.started' THEN coalesce(json_array_length(events.payload, '$.messages'), 0)
            ELSE 0
        END AS rendered_inputs
    FROM as_of_events AS events
    WHERE
        events.event_name IN (
            'user.utterance', 'agent.utterance', 'tool.call', 'tool.result',
            'model.decision', 'context.supplied', 'conversation.started'
        )
),

neighbours AS (
    SELECT
        roles.*,
        -- an empty marker closes the agent's message; the start of a conversation neither closes nor opens one
        last_value(
            CASE
                WHEN roles.role IN ('agent', 'model') THEN roles.message_key
                WHEN roles.role <> 'start' THEN ''
            END IGNORE NULLS
        ) OVER before_this AS previous_marker,
        last_value(CASE WHEN roles.event_name = 'user.utterance' THEN roles.message_key END IGNORE NULLS)
            OVER before_this AS previous_utterance_key,
        last_value(CASE WHEN roles.role = 'user' THEN roles.message_key END IGNORE NULLS)
            OVER before_this AS previous_user_key,
        last_value(CASE WHEN roles.role NOT IN ('start', 'model') THEN roles.role END IGNORE NULLS)
            OVER before_this AS previous_role
    FROM roles
    WINDOW before_this AS (
        PARTITION BY roles.stream_no ORDER BY roles.stream_version
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

-- where nothing of these events comes before, what the stream brings along does
known AS (
    SELECT
        neighbours.* REPLACE (
            coalesce(neighbours.previous_marker, before.open_message) AS previous_marker,
            coalesce(neighbours.previous_utterance_key, before.said_in) AS previous_utterance_key,
            coalesce(neighbours.previous_user_key, before.user_message) AS previous_user_key,
            coalesce(neighbours.previous_role, before.last_role) AS previous_role
        ),
        coalesce(before.groups, 0) AS groups_before,
        coalesce(before.turns, 0) AS turns_before,
        coalesce(before.inputs, 0) AS rendered_before
    FROM neighbours
    LEFT JOIN as_of_resumed AS before ON neighbours.stream_no = before.stream_no
),

starts AS (
    SELECT
        known.*,
        known.role IN ('agent', 'model')
        AND (known.previous_marker IS DISTINCT FROM known.message_key) AS is_group_start,
        known.event_name = 'user.utterance' AND known.opens_turn AND (
            known.message_key = '-'
            OR (known.previous_utterance_key IS DISTINCT FROM known.message_key)
        ) AS is_turn_start,
        known.role = 'user' AND NOT coalesce(
            known.previous_user_key = known.message_key AND (
                known.message_key <> '-'
                OR (known.event_name = 'tool.call' AND known.previous_role = 'user')
            ),
            FALSE
        ) AS is_user_message_start
    FROM known
)

SELECT
    starts.stream_no,
    starts.stream_version,
    starts.role,
    starts.is_turn_start,
    starts.is_user_message_start,
    (sum(starts.is_group_start::INTEGER) OVER up_to_this + starts.groups_before)::INTEGER AS group_no,
    (sum(starts.is_turn_start::INTEGER) OVER up_to_this + starts.turns_before)::INTEGER AS turn,
    (sum(starts.rendered_inputs) OVER up_to_this - starts.rendered_inputs + starts.rendered_before)::INTEGER
        AS inputs_before
FROM starts
WINDOW up_to_this AS (
    PARTITION BY starts.stream_no ORDER BY starts.stream_version
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
)
