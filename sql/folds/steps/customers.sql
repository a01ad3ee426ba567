-- purpose: Where every touched customer stands after these events, over all streams about them, going on from where they
--          stood before. Across streams the newest change of a row is the last by created_at, then position.
--          Money is summed as decimals (12 places), so that the sum does not depend on the order of addition.
-- reads: fold_subject_events, the events, of which no payload is read; fold_subject_told, those of them whose payloads are
--        read, redacted and upcast; fold_subject_touched, the customers that are wanted; fold_subject_states, what they bring
--        along; fold_subject_streams, what the events' streams bring along; fold_subject_turns, how many turns each began
-- parameters: none
-- grain: one touched customer about whom there was an event
-- key: subject_id
WITH about AS (
    SELECT
        history.aggregate_id,
        history.aggregate_type,
        history.stream_version,
        history.created_at,
        history.event_name,
        json_extract_string(history.metadata, '$.subject_id') AS subject_id
    FROM fold_subject_events AS history
    WHERE
        json_extract_string(history.metadata, '$.subject_id') IN (
            SELECT touched.subject_id
            FROM fold_subject_touched AS touched
        )
),

told AS (
    SELECT
        history.created_at,
        history.position,
        history.event_name,
        json_extract_string(history.metadata, '$.subject_id') AS subject_id,
        json_transform(
            history.payload,
            '{"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, "cost_usd": "VARCHAR", '
            || '"table": "VARCHAR", "key": "JSON", "before": "JSON", "after": "JSON"}'
        ) AS said
    FROM fold_subject_told AS history
    WHERE
        history.event_name IN ('model.decision', 'row.changed')
        AND json_extract_string(history.metadata, '$.subject_id') IN (
            SELECT touched.subject_id
            FROM fold_subject_touched AS touched
        )
),

changed AS (
    SELECT
        changes.subject_id,
        changes.said.table AS table_name,
        coalesce(changes.said.key, 'null')::VARCHAR AS row_key,
        bool_or(
            coalesce(changes.said.before, 'null') = 'null' AND coalesce(changes.said.after, 'null') <> 'null'
        ) AS came_into_being,
        arg_max(coalesce(changes.said.after, 'null')::VARCHAR, (changes.created_at, changes.position)) AS newest
    FROM told AS changes
    WHERE changes.event_name = 'row.changed'
    GROUP BY changes.subject_id, table_name, row_key
),

brought AS (
    SELECT
        unnested.subject_id,
        unnested.kept.table AS table_name,
        unnested.kept.key AS row_key,
        unnested.kept.row AS newest
    FROM (
        SELECT
            before.subject_id,
            unnest(before.rows) AS kept
        FROM fold_subject_states AS before
    ) AS unnested
),

states AS (
    SELECT
        changed.subject_id,
        changed.table_name,
        changed.row_key,
        changed.newest
    FROM changed
    UNION ALL
    SELECT
        brought.subject_id,
        brought.table_name,
        brought.row_key,
        brought.newest
    FROM brought
    ANTI JOIN changed
        ON
            brought.subject_id = changed.subject_id
            AND brought.table_name = changed.table_name
            AND brought.row_key = changed.row_key
),

owned AS (
    SELECT
        states.subject_id,
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

asked AS (
    SELECT
        refunds.subject_id,
        list_sort(list(refunds.row_key)) AS refunds
    FROM (
        SELECT
            changed.subject_id,
            changed.row_key
        FROM changed
        WHERE changed.table_name = 'refunds' AND changed.came_into_being
        UNION
        SELECT
            before.subject_id,
            unnest(before.refunds) AS row_key
        FROM fold_subject_states AS before
    ) AS refunds
    GROUP BY refunds.subject_id
),

-- a stream that was about the customer before is not a new one
met AS (
    SELECT
        pairs.subject_id,
        count_if(pairs.aggregate_type = 'conversation')::INTEGER AS conversations,
        count_if(pairs.aggregate_type = 'call')::INTEGER AS calls
    FROM (
        SELECT DISTINCT
            about.subject_id,
            about.aggregate_id,
            about.aggregate_type
        FROM about
    ) AS pairs
    LEFT JOIN fold_subject_streams AS streams ON pairs.aggregate_id = streams.aggregate_id
    WHERE NOT coalesce(list_contains(streams.subjects, pairs.subject_id), FALSE)
    GROUP BY pairs.subject_id
),

counted AS (
    SELECT
        about.subject_id,
        min(about.created_at) AS first_at,
        max(about.created_at) AS last_at,
        count(*)::INTEGER AS event_count,
        (count(*) FILTER (WHERE about.event_name = 'tool.call'))::INTEGER AS tool_call_count
    FROM about
    GROUP BY about.subject_id
),

spent AS (
    SELECT
        told.subject_id,
        sum(told.said.usage.input_tokens)::BIGINT AS input_tokens,
        sum(told.said.usage.output_tokens)::BIGINT AS output_tokens,
        sum(try_cast(told.said.cost_usd AS DECIMAL(38, 12))) AS cost_usd
    FROM told
    GROUP BY told.subject_id
)

SELECT
    touched.subject_id,
    coalesce(least(before.first_at, counted.first_at), before.first_at, counted.first_at) AS first_at,
    coalesce(greatest(before.last_at, counted.last_at), before.last_at, counted.last_at) AS last_at,
    coalesce(before.event_count, 0) + coalesce(counted.event_count, 0) AS event_count,
    coalesce(before.conversations, 0) + coalesce(met.conversations, 0) AS conversations,
    coalesce(before.calls, 0) + coalesce(met.calls, 0) AS calls,
    coalesce(before.user_messages, 0) + coalesce(turns.turns, 0) AS user_messages,
    coalesce(before.tool_call_count, 0) + coalesce(counted.tool_call_count, 0) AS tool_call_count,
    coalesce(len(asked.refunds), 0)::INTEGER AS refunds_asked,
    coalesce(owned.refunds_paid, 0) AS refunds_paid,
    coalesce(owned.refunds_paid_usd, 0) AS refunds_paid_usd,
    coalesce(before.input_tokens + spent.input_tokens, before.input_tokens, spent.input_tokens)::BIGINT
        AS input_tokens,
    coalesce(before.output_tokens + spent.output_tokens, before.output_tokens, spent.output_tokens)::BIGINT
        AS output_tokens,
    coalesce(before.cost_usd + spent.cost_usd, before.cost_usd, spent.cost_usd)::DECIMAL(38, 12) AS cost_usd,
    coalesce(owned.kept, []) AS rows,
    coalesce(asked.refunds, []) AS refunds
FROM fold_subject_touched AS touched
LEFT JOIN fold_subject_states AS before ON touched.subject_id = before.subject_id
LEFT JOIN counted ON touched.subject_id = counted.subject_id
LEFT JOIN spent ON touched.subject_id = spent.subject_id
LEFT JOIN fold_subject_turns AS turns ON touched.subject_id = turns.subject_id
LEFT JOIN met ON touched.subject_id = met.subject_id
LEFT JOIN owned ON touched.subject_id = owned.subject_id
LEFT JOIN asked ON touched.subject_id = asked.subject_id
WHERE before.subject_id IS NOT NULL OR counted.subject_id IS NOT NULL
