-- purpose: What each decision of the month did: its tool calls in order, and their signature (names and arguments alone),
--          by which equal lists of calls are recognised before they are hashed.
-- grain: one decision of the month that called a tool
-- key: stream_no, decision
CREATE OR REPLACE TEMP TABLE fold_actions AS
SELECT
    listed.stream_no,
    listed.decision,
    listed.tool_calls,
    list_transform(
        listed.tool_calls, LAMBDA call: {'name': call.name, 'arguments': call.arguments}
    ) AS signature
FROM (
    SELECT
        messages.stream_no,
        messages.decision,
        list_sort(
            list({
                'stream_version': calls.stream_version,
                'call_id': calls.call_id,
                'name': calls.name,
                'arguments': calls.arguments
            })
        ) AS tool_calls
    FROM fold_messages AS messages
    INNER JOIN fold_calls AS calls
        ON messages.stream_no = calls.stream_no AND messages.group_no = calls.group_no
    WHERE messages.is_in_month AND calls.actor = 'agent'
    GROUP BY messages.stream_no, messages.decision
) AS listed;
