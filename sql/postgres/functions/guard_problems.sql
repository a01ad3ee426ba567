-- What is wrong with the structure of the events table, and with the triggers of the other append-only tables, one row per
-- problem; no row when all is as it should be.
-- Looks at the catalog only: columns, triggers, rules, row security, and the partitions that table months promises.
CREATE OR REPLACE FUNCTION refold.guard_problems()
RETURNS TABLE (problem text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH tables AS (
        SELECT
            p.relid::oid AS relid,
            CASE WHEN n.nspname = 'refold' THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS relname
        FROM pg_partition_tree('refold.events') AS p
        INNER JOIN pg_class AS c ON p.relid = c.oid
        INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    ),

    promised AS (
        SELECT 'events_' || replace(m.month, '-', '_') AS relname FROM refold.months AS m
        UNION ALL
        VALUES ('events'), ('events_default')
    ),

    append_only AS (
        SELECT t.relid, t.relname FROM tables AS t
        UNION ALL
        SELECT c.oid, c.relname::text FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace('refold') AND c.relname IN ('event_types', 'home_log')
    ),

    triggers AS (
        SELECT
            t.relname,
            array_agg(
                concat_ws(' ', g.tgname, g.tgenabled, g.tgtype, g.tgfoid::regproc, nullif(encode(g.tgargs, 'escape'), '')) ORDER BY g.tgname
            )
                FILTER (WHERE NOT g.tgisinternal AND g.tgname <> 'refold_sealed') AS found
        FROM append_only AS t LEFT JOIN pg_trigger AS g ON t.relid = g.tgrelid
        GROUP BY t.relname
    )

    SELECT format('%s is not attached', p.relname) FROM promised AS p
    WHERE NOT EXISTS (SELECT FROM tables AS t WHERE t.relname = p.relname)
    UNION ALL
    SELECT format('%s is attached but is no month', t.relname) FROM tables AS t
    WHERE NOT EXISTS (SELECT FROM promised AS p WHERE p.relname = t.relname)
    UNION ALL
    SELECT format('triggers of %s are %s', t.relname, coalesce(t.found::text, 'missing')) FROM triggers AS t
    -- Their kinds in tgtype: 1 row, 2 before, 8 delete, 16 update, 32 truncate. Events alone let an erasure pass.
    WHERE t.found IS DISTINCT FROM CASE
        WHEN t.relname IN ('event_types', 'home_log')
            THEN ARRAY['refold_append_only A 58 refold.refuse_change', 'refold_append_only_row A 27 refold.refuse_change']
        ELSE ARRAY['refold_append_only A 58 refold.refuse_change erasure\000', 'refold_append_only_row A 27 refold.refuse_change erasure\000']
    END
    UNION ALL
    SELECT format('month %s is %s and takes events', m.month, m.state) FROM refold.months AS m
    WHERE m.state <> 'open' AND NOT EXISTS (
        SELECT FROM tables AS t INNER JOIN pg_trigger AS g ON t.relid = g.tgrelid
        WHERE t.relname = 'events_' || replace(m.month, '-', '_') AND g.tgname = 'refold_sealed' AND g.tgenabled = 'A'
            AND g.tgfoid = 'refold.refuse_sealed'::regproc
    )
    UNION ALL
    SELECT format('columns of %s are %s', t.relname, a.found)
    FROM tables AS t
    CROSS JOIN LATERAL (
        SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN '' ELSE ' null' END, ', ' ORDER BY a.attnum) AS found
        FROM pg_attribute AS a WHERE a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS a
    WHERE a.found IS DISTINCT FROM 'position bigint, created_at timestamp with time zone, xid xid8, order_xid xid8, epoch integer, stream_version integer, '
        'event_version integer, aggregate_id uuid, aggregate_type text, event_type text, payload jsonb, metadata jsonb, '
        'hash bytea, salt bytea, digest bytea'
    UNION ALL
    SELECT format('ANALYZE keeps values of %s.%s in clear', t.relname, a.attname)
    FROM tables AS t INNER JOIN pg_attribute AS a ON t.relid = a.attrelid
    WHERE a.attname IN ('payload', 'metadata') AND a.attstattarget IS DISTINCT FROM 0
    UNION ALL
    SELECT format('%s has the rule %s', t.relname, r.rulename) FROM tables AS t INNER JOIN pg_rewrite AS r ON t.relid = r.ev_class
    UNION ALL
    SELECT format('%s has row security', t.relname) FROM tables AS t INNER JOIN pg_class AS c ON t.relid = c.oid WHERE c.relrowsecurity
$$;
