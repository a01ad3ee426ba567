-- purpose: The state of every stream of a batch, without its lists, out of what was counted and what rare events say.
--          Costs are summed as decimals (12 places), so that the sum does not depend on the order of addition.
-- parameters: none
-- grain: one stream
-- key: stream_no
WITH told AS (
    SELECT
        events.stream_no,
        max(events.stream_version) FILTER (WHERE events.event_name = 'conversation.started') AS start_version,
        arg_max(events.payload, events.stream_version) FILTER (WHERE events.event_name = 'conversation.started')
            AS started,
        arg_max(
            {'outcome': json_extract(events.payload, '$.outcome'), 'at': events.created_at},
            events.stream_version
        ) FILTER (WHERE events.event_name = 'conversation.ended') AS ended
    FROM fold_events AS events
    WHERE events.event_name IN ('conversation.started', 'conversation.ended')
    GROUP BY events.stream_no
),

described AS (
    SELECT
        told.*,
        json_transform(
            told.started,
            '{"agent": "VARCHAR", "variant": "VARCHAR", "task": "VARCHAR", "channel": "VARCHAR", "vertical": "VARCHAR"}'
        ) AS said
    FROM told
),

spent AS (
    SELECT
        read.stream_no,
        sum(read.told.usage.input_tokens)::BIGINT AS input_tokens,
        sum(read.told.usage.output_tokens)::BIGINT AS output_tokens,
        sum(try_cast(read.told.cost_usd AS DECIMAL(38, 12))) AS cost_usd
    FROM (
        SELECT
            events.stream_no,
            json_transform(
                events.payload,
                '{"usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, "cost_usd": "VARCHAR"}'
            ) AS told
        FROM fold_events AS events
        WHERE events.event_name = 'model.decision'
    ) AS read
    GROUP BY read.stream_no
)

SELECT
    counted.*,
    sources.source,
    sources.source_id,
    sources.source_ordinal,
    sources.subject_id,
    CASE WHEN described.start_version IS NULL THEN before.agent ELSE described.said.agent END AS agent,
    CASE WHEN described.start_version IS NULL THEN before.variant ELSE described.said.variant END AS variant,
    CASE WHEN described.start_version IS NULL THEN before.task ELSE described.said.task END AS task,
    CASE WHEN described.start_version IS NULL THEN before.channel ELSE described.said.channel END AS channel,
    CASE WHEN described.start_version IS NULL THEN before.vertical ELSE described.said.vertical END AS vertical,
    CASE WHEN coalesce(described.ended.at, before.ended_at) IS NULL THEN 'open' ELSE 'ended' END AS status,
    CASE
        WHEN described.ended IS NULL THEN before.outcome ELSE nullif(described.ended.outcome, 'null')::VARCHAR
    END AS outcome,
    coalesce(described.ended.at, before.ended_at) AS ended_at,
    (epoch_us(counted.last_at) - epoch_us(counted.started_at)) / 1e6 AS duration_seconds,
    coalesce(spent.input_tokens + before.input_tokens, spent.input_tokens, before.input_tokens) AS input_tokens,
    coalesce(spent.output_tokens + before.output_tokens, spent.output_tokens, before.output_tokens) AS output_tokens,
    coalesce(spent.cost_usd + before.cost_usd, spent.cost_usd, before.cost_usd)::DECIMAL(38, 12) AS cost_usd
FROM fold_counted AS counted
INNER JOIN fold_sources AS sources ON counted.stream_no = sources.stream_no
LEFT JOIN described ON counted.stream_no = described.stream_no
LEFT JOIN spent ON counted.stream_no = spent.stream_no
LEFT JOIN fold_before AS before ON counted.stream_no = before.stream_no
ORDER BY counted.stream_no;
