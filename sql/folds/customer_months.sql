-- purpose: Where every customer whom the month touches stands at the end of the month, over all streams about them.
--          Across streams the newest change of a row is the last by created_at, then position.
--          Money is summed as decimals (12 places), so that the sum does not depend on the order of addition.
-- parameters: none; the steps hold the month
-- grain: one customer with an event about them in the month
-- key: subject_id
-- steps: subjects
WITH changes AS (
    SELECT
        events.subject_id,
        events.said.table AS table_name,
        coalesce(events.said.key, 'null')::VARCHAR AS row_key,
        coalesce(events.said.after, 'null')::VARCHAR AS after,
        coalesce(events.said.before, 'null') = 'null' AND coalesce(events.said.after, 'null') <> 'null' AS is_insert,
        events.created_at,
        events.position
    FROM fold_subjects AS events
    WHERE events.event_name = 'row.changed'
),

states AS (
    SELECT
        changes.subject_id,
        changes.table_name,
        changes.row_key,
        bool_or(changes.is_insert) AS came_into_being,
        arg_max(changes.after, (changes.created_at, changes.position)) AS newest
    FROM changes
    GROUP BY changes.subject_id, changes.table_name, changes.row_key
),

owned AS (
    SELECT
        states.subject_id,
        count_if(states.table_name = 'refunds' AND states.came_into_being)::INTEGER AS refunds_asked,
        count_if(
            states.table_name = 'refunds' AND coalesce(json_extract_string(states.newest, '$.status') = 'paid', FALSE)
        )::INTEGER AS refunds_paid,
        sum(try_cast(json_extract_string(states.newest, '$.amount_usd') AS DECIMAL(38, 12))) FILTER (
            WHERE states.table_name = 'refunds' AND json_extract_string(states.newest, '$.status') = 'paid'
        )::DOUBLE AS refunds_paid_usd,
        list_sort(
            list({'table': states.table_name, 'key': states.row_key, 'row': states.newest})
            FILTER (WHERE states.newest <> 'null')
        ) AS kept
    FROM states
    GROUP BY states.subject_id
),

counted AS (
    SELECT
        events.subject_id,
        min(events.created_at) AS first_at,
        max(events.created_at) AS last_at,
        count(*)::INTEGER AS event_count,
        (count(DISTINCT events.aggregate_id) FILTER (WHERE events.aggregate_type = 'conversation'))::INTEGER
            AS conversations,
        (count(DISTINCT events.aggregate_id) FILTER (WHERE events.aggregate_type = 'call'))::INTEGER AS calls,
        (
            count(DISTINCT {'stream': events.aggregate_id, 'message': events.message_key})
            FILTER (WHERE events.event_name = 'user.utterance' AND events.said.text <> '')
        )::INTEGER AS user_messages,
        (count(*) FILTER (WHERE events.event_name = 'tool.call'))::INTEGER AS tool_call_count,
        sum(events.said.usage.input_tokens)::BIGINT AS input_tokens,
        sum(events.said.usage.output_tokens)::BIGINT AS output_tokens,
        sum(try_cast(events.said.cost_usd AS DECIMAL(38, 12)))::DOUBLE AS cost_usd
    FROM fold_subjects AS events
    GROUP BY events.subject_id
)

SELECT
    counted.subject_id,
    counted.first_at,
    counted.last_at,
    counted.event_count,
    counted.conversations,
    counted.calls,
    counted.user_messages,
    counted.tool_call_count,
    coalesce(owned.refunds_asked, 0) AS refunds_asked,
    coalesce(owned.refunds_paid, 0) AS refunds_paid,
    coalesce(owned.refunds_paid_usd, 0) AS refunds_paid_usd,
    counted.input_tokens,
    counted.output_tokens,
    counted.cost_usd,
    coalesce(owned.kept, []) AS rows
FROM counted
LEFT JOIN owned ON counted.subject_id = owned.subject_id
ORDER BY counted.subject_id
