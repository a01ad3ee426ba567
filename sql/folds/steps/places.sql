-- purpose: Where each event stands in its conversation: which message of the agent or the user it is part of, in which turn,
--          and after how many rendered inputs.
-- grain: one event that speaks, calls, answers or informs
-- key: stream_no, stream_version
-- columns: role (start, input, result, user, agent, model); group_no (agent messages and model calls without output share the
--          numbering); is_turn_start, turn (turns up to and including this event); is_user_message_start;
--          inputs_before (messages that are not the agent's, rendered before this event, all tool results included)
CREATE OR REPLACE TEMP VIEW fold_places AS
SELECT
    events.stream_no,
    events.stream_version,
    events.role,
    events.is_turn_start,
    events.is_user_message_start,
    events.group_no,
    events.turn,
    events.inputs_before
FROM fold_events AS events
WHERE events.role IS NOT NULL;
