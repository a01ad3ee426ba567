-- The records of a trace store, a conversation after the other: a session is spread from any record of a trace over all of it,
-- copies of one record stand beside each other, the older first.
-- grain: one record that was read
-- order: conversation; what is said of the whole, then what happened, then what was found later; start, place
WITH known AS (
    SELECT
        s.id,
        max(s.trace) AS trace
    FROM spooled AS s
    WHERE s.rank = 1
    GROUP BY s.id
),

traced AS (
    SELECT
        s.seq,
        s.place,
        s.kind,
        s.rank,
        s.id,
        s.parent,
        s.session,
        s.hint,
        s.updated_ns,
        s.body,
        -- an update may leave out what the record that it completes said, and what was found later may name the record alone
        coalesce(max(s.trace) OVER same, k.trace, s.parent, s.id) AS trace,
        min(s.start_ns) OVER same AS start_ns,
        coalesce(max(s.order_key) OVER same, '') AS order_key,
        min(s.seq) OVER same AS first_seq
    FROM spooled AS s
    LEFT JOIN known AS k ON s.trace IS NULL AND s.parent = k.id
    WINDOW same AS (PARTITION BY s.rank, s.id)
),

named AS (
    SELECT
        t.*,
        coalesce(max(t.session) OVER of_trace, max(t.hint) OVER of_trace) AS conversation
    FROM traced AS t
    WINDOW of_trace AS (PARTITION BY t.trace)
)

SELECT
    coalesce(n.conversation, n.trace) AS conversation_key,
    n.conversation IS NOT NULL AS is_named,
    n.rank,
    n.start_ns,
    n.id,
    n.parent,
    n.place,
    n.kind,
    n.body
FROM named AS n
ORDER BY conversation_key, n.rank, n.start_ns NULLS FIRST, n.order_key, n.first_seq, n.updated_ns NULLS FIRST, n.seq
