-- purpose: Every tool call with the result that answers it. A result answers the first unanswered call of the most recent
--          message that asked with its id; a message that asks with an id hides older calls with the same one, and the ids
--          null and '' are one. Ids of real logs repeat, so they are never keys by themselves.
-- grain: one tool call of these events, or one that waits since before
-- key: stream_no, stream_version
WITH waiting AS (
    SELECT
        unnested.stream_no,
        unnested.call.stream_version,
        unnested.call.message_id,
        unnested.call.group_no,
        unnested.call.actor,
        unnested.call.call_id,
        unnested.call.name,
        unnested.call.arguments
    FROM (
        SELECT
            before.stream_no,
            unnest(before.waiting) AS call
        FROM as_of_resumed AS before
    ) AS unnested
),

exchanges AS (
    SELECT
        places.stream_no,
        places.stream_version,
        coalesce(events.call_id, '') AS call_key,
        places.role <> 'result' AS is_call,
        CASE places.role
            WHEN 'agent' THEN places.group_no::VARCHAR
            WHEN 'user' THEN 'user' || events.message_key
        END AS asked_in
    FROM as_of_places AS places
    INNER JOIN as_of_events AS events
        ON places.stream_no = events.stream_no AND places.stream_version = events.stream_version
    WHERE events.event_name IN ('tool.call', 'tool.result')
    UNION ALL
    SELECT
        waiting.stream_no,
        waiting.stream_version,
        coalesce(waiting.call_id, '') AS call_key,
        TRUE AS is_call,
        CASE waiting.actor
            WHEN 'user' THEN 'user' || coalesce('=' || waiting.message_id, '-')
            ELSE waiting.group_no::VARCHAR
        END AS asked_in
    FROM waiting
),

before AS (
    SELECT
        exchanges.*,
        last_value(exchanges.asked_in IGNORE NULLS) OVER (
            PARTITION BY exchanges.stream_no, exchanges.call_key ORDER BY exchanges.stream_version
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS previously_asked_in
    FROM exchanges
),

blocks AS (
    SELECT
        before.*,
        sum((before.is_call AND before.previously_asked_in IS DISTINCT FROM before.asked_in)::INTEGER) OVER (
            PARTITION BY before.stream_no, before.call_key ORDER BY before.stream_version
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS block_no
    FROM before
),

counted AS (
    SELECT
        blocks.*,
        sum(blocks.is_call::INTEGER) OVER up_to_this AS calls,
        sum((NOT blocks.is_call)::INTEGER) OVER up_to_this AS results
    FROM blocks
    WINDOW up_to_this AS (
        PARTITION BY blocks.stream_no, blocks.call_key, blocks.block_no ORDER BY blocks.stream_version
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),

-- a result that comes when no call waits answers nothing, also no later call: it is left out of the count
waited AS (
    SELECT
        counted.*,
        greatest(coalesce(max(counted.results - counted.calls) OVER before_this, 0), 0) AS strays_before,
        greatest(max(counted.results - counted.calls) OVER up_to_this, 0) AS strays
    FROM counted
    WINDOW
        before_this AS (
            PARTITION BY counted.stream_no, counted.call_key, counted.block_no ORDER BY counted.stream_version
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ),
        up_to_this AS (
            PARTITION BY counted.stream_no, counted.call_key, counted.block_no ORDER BY counted.stream_version
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
),

pairs AS (
    SELECT
        calls.stream_no,
        calls.stream_version,
        answers.stream_version AS result_version
    FROM waited AS calls
    LEFT JOIN waited AS answers
        ON
            calls.stream_no = answers.stream_no
            AND calls.call_key = answers.call_key
            AND calls.block_no = answers.block_no
            AND calls.calls = answers.results - answers.strays
            AND NOT answers.is_call
            AND answers.strays = answers.strays_before
    WHERE calls.is_call
),

asked AS (
    SELECT
        calls.stream_no,
        calls.stream_version,
        CASE WHEN calls.is_by_user THEN 'user' ELSE 'agent' END AS actor,
        calls.call_id,
        calls.name,
        calls.arguments,
        TRUE AS is_new
    FROM as_of_events AS calls
    WHERE calls.event_name = 'tool.call'
    UNION ALL
    SELECT
        waiting.stream_no,
        waiting.stream_version,
        waiting.actor,
        waiting.call_id,
        waiting.name,
        waiting.arguments,
        FALSE AS is_new
    FROM waiting
)

SELECT
    calls.*,
    pairs.result_version,
    CASE WHEN pairs.result_version IS NOT NULL THEN answers.output END AS output,
    CASE WHEN pairs.result_version IS NOT NULL THEN answers.error END AS error
FROM pairs
INNER JOIN asked AS calls
    ON pairs.stream_no = calls.stream_no AND pairs.stream_version = calls.stream_version
LEFT JOIN as_of_events AS answers
    ON pairs.stream_no = answers.stream_no AND pairs.result_version = answers.stream_version
