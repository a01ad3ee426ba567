-- Indexes of the tables of schema refold that are no primary key's. Grain: one index.
SELECT
    c.relname::text AS table_name,
    x.relname::text AS name,
    regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .* USING (.*)$', '\1\2') AS definition
FROM pg_index AS i
INNER JOIN pg_class AS c ON i.indrelid = c.oid
INNER JOIN pg_class AS x ON i.indexrelid = x.oid
WHERE c.relnamespace = 'refold'::regnamespace AND NOT i.indisprimary
ORDER BY c.relname, x.relname
