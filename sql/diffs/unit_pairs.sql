-- Both sides of every unit of some streams: the baseline's beside the replayed one, and whether their tool calls can be
-- told to be the same without reading them.
-- Parameters: $unit_kind, $experiment, $version_id, $first, $last (bounds of the streams). Relations: units_a (baseline),
-- plan_streams, streams, replays_history; macros outcome_is_good, as_recorded, recorded_text.
-- A unit that side B never answered is failed, with reason not_replayed. One about which nobody could be asked is not_asked, and
-- has no number on either side: of A its text alone is shown; the reason is no_context, or erased where a part of it or of what was
-- before it is.
-- settled: 'L0' when the same tools are called with the same arguments as recorded, one after the other; 'L1' when the
-- stored hashes say that the lists are equal as JSON and no two calls of a block could be taken for each other; else null.
-- Hashes that differ leave the lists to Python, whatever they are of.
-- grain: one unit pair
WITH asked AS (
    SELECT *
    FROM units_a
    WHERE is_asked
    UNION ALL BY NAME
    SELECT
        unit_id,
        aggregate_id,
        decision,
        text,
        is_erased,
        is_asked
    FROM units_a
    WHERE NOT is_asked
),

answers AS (
    SELECT *
    FROM replays_history
    WHERE
        experiment = $experiment
        AND version_id = $version_id
        AND side = 'candidate'
        AND draw = 0
        AND aggregate_id BETWEEN $first AND $last
),

paired AS (
    SELECT
        a.unit_id,
        $unit_kind AS unit,
        a.aggregate_id,
        plan_streams.stream_row,
        plan_streams.recorded_aggregate_id,
        a.decision,
        plan_streams.cluster,
        plan_streams.source,
        plan_streams.agent,
        plan_streams.vertical,
        plan_streams.channel,
        plan_streams.task,
        CASE WHEN a.is_asked THEN coalesce(b.status, 'failed') ELSE 'not_asked' END AS status,
        CASE
            WHEN a.is_erased THEN 'erased'
            WHEN NOT a.is_asked THEN 'no_context'
            WHEN b.unit_id IS NULL THEN 'not_replayed'
            ELSE b.reason
        END AS reason,
        CASE
            WHEN b.status <> 'ok' OR b.unit_id IS NULL THEN NULL
            WHEN b.is_off_policy THEN 'off_policy'
            WHEN b.is_tainted THEN 'tainted'
            WHEN b.result_source = 'exact_unverified' THEN 'unverified'
            WHEN a.is_rebuilt THEN 'rebuilt'
            ELSE 'exact'
        END AS fidelity,
        outcome_is_good(a.outcome) AS outcome_a,
        outcome_is_good(recorded.outcome) AS outcome_b,
        plan_streams.started_at,
        plan_streams.last_version,
        plan_streams.last_hash,
        a.text AS text_a,
        coalesce(a.is_refusal, FALSE) AS is_marked_refusal_a,
        CASE WHEN b.status = 'ok' THEN b.text END AS text_b,
        coalesce(b.is_refusal, FALSE) AS is_marked_refusal_b,
        coalesce(a.tool_calls, []) AS tool_calls_a,
        coalesce(b.tool_calls, []) AS tool_calls_b,
        a.l1_hash = b.l1_hash AS is_equal_hash,
        a.cost_usd AS cost_usd_a,
        b.cost_usd AS cost_usd_b,
        a.latency_ms AS latency_ms_a,
        b.latency_ms AS latency_ms_b,
        a.output_tokens AS output_tokens_a,
        b.output_tokens AS output_tokens_b
    FROM asked AS a
    INNER JOIN plan_streams ON a.aggregate_id = plan_streams.aggregate_id
    LEFT JOIN answers AS b ON a.unit_id = b.unit_id
    LEFT JOIN streams AS recorded ON plan_streams.recorded_aggregate_id = recorded.aggregate_id
)

SELECT
    * EXCLUDE (is_equal_hash),
    CASE
        WHEN status <> 'ok' OR len(tool_calls_a) <> len(tool_calls_b) OR NOT is_equal_hash THEN NULL
        WHEN len(tool_calls_a) = 0 THEN 'L0'
        WHEN
            list_transform(tool_calls_a, LAMBDA call: call.name)
            <> list_transform(tool_calls_b, LAMBDA call: call.name)
            THEN NULL
        WHEN
            list_transform(tool_calls_a, LAMBDA call: recorded_text(call))
            = list_transform(tool_calls_b, LAMBDA call: recorded_text(call))
            THEN 'L0'
        WHEN
            list_transform(tool_calls_a, LAMBDA call: as_recorded(recorded_text(call)))
            = list_transform(tool_calls_b, LAMBDA call: as_recorded(recorded_text(call)))
            THEN 'L0'
        WHEN
            is_equal_hash
            AND CASE
                WHEN
                    len(list_distinct(list_transform(tool_calls_a, LAMBDA call: call.name))) = len(tool_calls_a)
                    THEN TRUE
                ELSE len(
                    list_distinct(list_transform(tool_calls_a, LAMBDA call: {'block': call.block, 'name': call.name}))
                ) = len(tool_calls_a)
            END
            AND len(
                list_filter(
                    list_concat(tool_calls_a, tool_calls_b),
                    LAMBDA call: recorded_text(call)[1] = '"' AND NOT json_valid(recorded_text(call))
                )
            ) = 0
            THEN 'L1'
    END AS settled
FROM paired
