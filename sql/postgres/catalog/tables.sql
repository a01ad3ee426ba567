-- Tables of schema refold. Grain: one table.
SELECT
    c.relname::text AS name,
    obj_description(c.oid, 'pg_class') AS comment,
    CASE
        WHEN c.relkind = 'p' THEN 'Partitioned by ' || pg_get_partkeydef(c.oid) || '.'
        WHEN c.relispartition THEN 'Partition of `events` ' || pg_get_expr(c.relpartbound, c.oid) || ', with its columns.'
    END AS partitioning
FROM pg_class AS c
WHERE c.relnamespace = 'refold'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relispartition, c.relname
