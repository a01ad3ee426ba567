-- purpose: The state of each of these streams at the time: the left fold of its history up to there, from its first event or
--          from where it stood before the month.
-- parameters: $states, the monthly states
--          Costs are summed as decimals (12 places), so that the sum does not depend on the order of addition.
-- grain: one stream with an event up to the time
-- key: aggregate_id
WITH history AS (
    SELECT events.*
    FROM as_of_events AS events
),

counted AS (
    SELECT
        history.stream_no,
        arg_max(history.payload, history.stream_version)
        FILTER (WHERE history.event_name = 'conversation.started') AS started,
        arg_max(
            {'outcome': json_extract(history.payload, '$.outcome'), 'at': history.created_at},
            history.stream_version
        ) FILTER (WHERE history.event_name = 'conversation.ended') AS ended,
        arg_min(history.created_at, history.stream_version) AS started_at,
        arg_max(history.created_at, history.stream_version) AS last_at,
        max(history.stream_version) AS last_version,
        arg_max(history.position, history.stream_version) AS last_position,
        count(*)::INTEGER AS event_count,
        (count(*) FILTER (WHERE history.event_name = 'tool.result'))::INTEGER AS tool_result_count,
        (count(*) FILTER (WHERE history.event_name IS NULL))::INTEGER AS skipped_events
    FROM history
    GROUP BY history.stream_no
),

placed AS (
    SELECT
        places.stream_no,
        count_if(places.is_user_message_start)::INTEGER AS user_messages,
        count_if(places.is_turn_start)::INTEGER AS turns
    FROM as_of_places AS places
    GROUP BY places.stream_no
),

messages AS (
    SELECT
        written.stream_no,
        count(*)::INTEGER AS agent_messages,
        count_if(written.has_text)::INTEGER AS agent_text_messages
    FROM as_of_messages AS written
    GROUP BY written.stream_no
),

spoken AS (
    SELECT
        history.stream_no,
        list_sort(
            list({
                'stream_version': history.stream_version,
                'role': CASE history.event_name WHEN 'user.utterance' THEN 'user' ELSE 'agent' END,
                'text': history.text,
                'created_at': history.created_at
            })
        ) AS transcript,
        arg_max(history.text, history.stream_version) FILTER (WHERE history.event_name = 'agent.utterance' AND history.is_said)
            AS final_text
    FROM history
    WHERE history.text IS NOT NULL AND history.event_name IN ('user.utterance', 'agent.utterance')
    GROUP BY history.stream_no
),

called AS (
    SELECT
        calls.stream_no,
        count_if(calls.is_new)::INTEGER AS tool_call_count,
        (count_if(calls.is_new) - count(calls.result_version))::INTEGER AS unanswered_tool_calls,
        list(calls.stream_version) FILTER (WHERE NOT calls.is_new) AS stated_again,
        count_if(coalesce(calls.error <> 'false', FALSE))::INTEGER AS failed_tool_calls,
        list_sort(
            list({
                'stream_version': calls.stream_version,
                'actor': calls.actor,
                'call_id': calls.call_id,
                'name': calls.name,
                'arguments': calls.arguments,
                'result_version': calls.result_version,
                'output': calls.output,
                'error': calls.error
            })
        ) AS tool_calls
    FROM as_of_calls AS calls
    GROUP BY calls.stream_no
),

hidden AS (
    SELECT
        read.stream_no,
        list_sort(
            list({
                'stream_version': read.stream_version,
                'target_version': read.told.target.stream_version,
                'path': coalesce(read.told.path, read.told.span.path),
                'method': read.told.method,
                'reason': read.told.reason
            })
        ) AS redactions
    FROM (
        SELECT
            history.stream_no,
            history.stream_version,
            json_transform(
                history.payload,
                '{"target": {"stream_version": "INTEGER"}, "path": "VARCHAR", "span": {"path": "VARCHAR"}, '
                || '"method": "VARCHAR", "reason": "VARCHAR"}'
            ) AS told
        FROM history
        WHERE history.event_name = 'redaction.applied'
    ) AS read
    GROUP BY read.stream_no
),

spent AS (
    SELECT
        read.stream_no,
        sum(read.told.usage.input_tokens)::BIGINT AS input_tokens,
        sum(read.told.usage.output_tokens)::BIGINT AS output_tokens,
        sum(try_cast(read.told.cost_usd AS DECIMAL(38, 12))) AS cost_usd
    FROM (
        SELECT
            history.stream_no,
            json_transform(
                history.payload,
                '{"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, "cost_usd": "VARCHAR"}'
            ) AS told
        FROM history
        WHERE history.event_name = 'model.decision'
    ) AS read
    GROUP BY read.stream_no
),

described AS (
    SELECT
        counted.*,
        CASE
            WHEN counted.started IS NULL
                THEN {
                    'agent': before.agent,
                    'variant': before.variant,
                    'task': before.task,
                    'channel': before.channel,
                    'vertical': before.vertical
                }
            ELSE json_transform(
                counted.started,
                '{"agent": "VARCHAR", "variant": "VARCHAR", "task": "VARCHAR", "channel": "VARCHAR", '
                || '"vertical": "VARCHAR"}'
            )
        END AS said,
        CASE WHEN counted.ended IS NULL THEN before.outcome ELSE nullif(counted.ended.outcome, 'null')::VARCHAR END
            AS outcome,
        coalesce(counted.ended.at, before.ended_at) AS ended_at,
        coalesce(before.started_at, counted.started_at) AS began_at
    FROM counted
    LEFT JOIN as_of_resumed AS before ON counted.stream_no = before.stream_no
)

SELECT
    streams.aggregate_id,
    sources.source,
    sources.source_id,
    sources.source_ordinal,
    described.said.agent,
    described.said.variant,
    described.said.task,
    described.said.channel,
    described.said.vertical,
    sources.subject_id,
    CASE WHEN described.ended_at IS NULL THEN 'open' ELSE 'ended' END AS status,
    described.outcome,
    described.began_at AS started_at,
    described.ended_at,
    described.last_at,
    (epoch_us(described.last_at) - epoch_us(described.began_at)) / 1e6 AS duration_seconds,
    described.last_version,
    described.last_position,
    described.event_count + coalesce(before.event_count, 0) AS event_count,
    coalesce(placed.user_messages, 0) + coalesce(before.user_messages, 0) AS user_messages,
    coalesce(placed.turns, 0) + coalesce(before.turns, 0) AS turns,
    coalesce(messages.agent_messages, 0) + coalesce(before.agent_messages, 0) AS agent_messages,
    coalesce(messages.agent_text_messages, 0) + coalesce(before.agent_text_messages, 0) AS agent_text_messages,
    coalesce(called.tool_call_count, 0) + coalesce(before.tool_call_count, 0) AS tool_call_count,
    described.tool_result_count + coalesce(before.tool_result_count, 0) AS tool_result_count,
    coalesce(called.unanswered_tool_calls, 0) + coalesce(before.unanswered_tool_calls, 0) AS unanswered_tool_calls,
    coalesce(called.failed_tool_calls, 0) + coalesce(before.failed_tool_calls, 0) AS failed_tool_calls,
    coalesce(len(hidden.redactions), 0)::INTEGER + coalesce(before.redaction_count, 0) AS redaction_count,
    coalesce(spent.input_tokens + before.input_tokens, spent.input_tokens, before.input_tokens)::BIGINT AS input_tokens,
    coalesce(spent.output_tokens + before.output_tokens, spent.output_tokens, before.output_tokens)::BIGINT
        AS output_tokens,
    coalesce(spent.cost_usd + before.cost_usd, spent.cost_usd, before.cost_usd)::DOUBLE AS cost_usd,
    coalesce(spoken.final_text, before.final_text) AS final_text,
    list_concat(coalesce(listed.transcript, []), coalesce(spoken.transcript, [])) AS transcript,
    CASE
        WHEN called.stated_again IS NULL
            THEN list_concat(coalesce(listed.tool_calls, []), coalesce(called.tool_calls, []))
        ELSE list_sort(
            list_concat(
                list_filter(
                    listed.tool_calls, LAMBDA each: NOT list_contains(called.stated_again, each.stream_version)
                ),
                called.tool_calls
            )
        )
    END AS tool_calls,
    list_concat(coalesce(listed.redactions, []), coalesce(hidden.redactions, [])) AS redactions,
    described.skipped_events + coalesce(before.skipped_events, 0) AS skipped_events
FROM described
INNER JOIN as_of_streams AS streams ON described.stream_no = streams.stream_no
INNER JOIN as_of_sources AS sources ON described.stream_no = sources.stream_no
LEFT JOIN as_of_resumed AS before ON described.stream_no = before.stream_no
LEFT JOIN $states AS listed ON before.aggregate_id = listed.aggregate_id AND before.month = listed.month
LEFT JOIN placed ON described.stream_no = placed.stream_no
LEFT JOIN messages ON described.stream_no = messages.stream_no
LEFT JOIN spoken ON described.stream_no = spoken.stream_no
LEFT JOIN called ON described.stream_no = called.stream_no
LEFT JOIN hidden ON described.stream_no = hidden.stream_no
LEFT JOIN spent ON described.stream_no = spent.stream_no
