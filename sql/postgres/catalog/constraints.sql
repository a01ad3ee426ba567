-- Constraints of the tables of schema refold, but NOT NULL, which is the column's. Grain: one constraint.
SELECT
    c.relname::text AS table_name,
    n.conname::text AS name,
    pg_get_constraintdef(n.oid) AS definition
FROM pg_constraint AS n
INNER JOIN pg_class AS c ON n.conrelid = c.oid
WHERE c.relnamespace = 'refold'::regnamespace AND n.contype NOT IN ('n', 't')
ORDER BY c.relname ASC, n.contype DESC, n.conname ASC
