-- purpose: Spans and log records of an OTLP import in the order of their conversations. A session id that one span has holds for
-- its whole trace, by the order of the attributes that name one; copies of a span stand together at the place of the one that
-- ended last, and its log records after it. A trace without a session is a conversation of its own.
-- reads: records (is_log, trace, span, parent, start_ns, end_ns, session, session_rank, position, length, is_raw, around, file,
-- line, ordinal)
-- grain: one record
-- key: position
WITH sessions AS (
    SELECT
        records.trace,
        arg_min(records.session, (records.session_rank, records.start_ns, records.span, records.session)) AS session,
        count(DISTINCT records.session_rank || ' ' || records.session) > count(DISTINCT records.session_rank) AS is_ambiguous
    FROM records
    WHERE records.session IS NOT NULL
    GROUP BY records.trace
),

placed AS (
    SELECT
        records.*,
        coalesce(
            arg_max(
                CASE WHEN NOT records.is_log AND records.span <> '' THEN coalesce(records.start_ns, records.end_ns) END,
                CASE WHEN NOT records.is_log AND records.span <> '' THEN coalesce(records.end_ns, 0) END
            ) OVER (PARTITION BY records.trace, records.span),
            records.start_ns,
            records.end_ns,
            0
        ) AS order_ns
    FROM records
),

keyed AS (
    SELECT
        placed.*,
        coalesce(sessions.session, placed.trace) AS conversation_key,
        sessions.session IS NOT NULL AS has_session,
        coalesce(sessions.is_ambiguous, FALSE) AS is_ambiguous
    FROM placed
    LEFT JOIN sessions ON placed.trace = sessions.trace
)

SELECT
    keyed.conversation_key,
    keyed.has_session,
    keyed.is_ambiguous,
    keyed.order_ns,
    keyed.trace,
    keyed.span,
    keyed.parent,
    keyed.is_log,
    keyed.end_ns,
    keyed.position,
    keyed.length,
    keyed.is_raw,
    keyed.around,
    keyed.file,
    keyed.line,
    keyed.ordinal
FROM keyed
ORDER BY
    min(keyed.order_ns) OVER (PARTITION BY keyed.conversation_key, keyed.has_session) ASC,
    keyed.conversation_key ASC,
    keyed.has_session ASC,
    keyed.order_ns ASC,
    keyed.trace ASC,
    keyed.span ASC,
    keyed.is_log ASC,
    CASE WHEN keyed.is_log THEN keyed.end_ns END ASC,
    keyed.end_ns DESC NULLS LAST,
    keyed.start_ns ASC,
    keyed.parent ASC,
    keyed.position ASC
