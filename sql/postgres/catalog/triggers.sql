-- Triggers of the tables of schema refold. Grain: one trigger.
SELECT
    c.relname::text AS table_name,
    t.tgname::text AS name,
    regexp_replace(pg_get_triggerdef(t.oid), '^CREATE TRIGGER \S+ (.*) ON \S+ (.*)$', '\1 \2')
    || CASE t.tgenabled WHEN 'A' THEN ', always' WHEN 'D' THEN ', disabled' ELSE '' END AS definition
FROM pg_trigger AS t
INNER JOIN pg_class AS c ON t.tgrelid = c.oid
WHERE c.relnamespace = 'refold'::regnamespace AND NOT t.tgisinternal
ORDER BY c.relname, t.tgname
