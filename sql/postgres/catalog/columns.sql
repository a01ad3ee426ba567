-- Columns of the tables of schema refold. Grain: one column. Partitions have their parent's.
SELECT
    c.relname::text AS table_name,
    a.attname::text AS column_name,
    format_type(a.atttypid, a.atttypmod) AS type,
    CASE WHEN a.attnotnull THEN '' ELSE 'null' END AS nullable,
    CASE WHEN a.attidentity = 'a' THEN 'identity' ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), '') END AS default_value
FROM pg_class AS c
INNER JOIN pg_attribute AS a ON c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE c.relnamespace = 'refold'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attnum
