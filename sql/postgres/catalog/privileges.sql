-- What roles other than the owner may do in schema refold. Grain: one role and object. MAINTAIN, which only PostgreSQL 17 and newer
-- have, is left out: see functions/let_scrub.sql.
WITH objects AS (
    SELECT
        'schema ' || n.nspname AS name,
        n.nspacl AS acl,
        n.nspowner AS owner
    FROM pg_namespace AS n WHERE n.nspname = 'refold'
    UNION ALL
    SELECT
        'table ' || c.relname AS name,
        c.relacl AS acl,
        c.relowner AS owner
    FROM pg_class AS c WHERE c.relnamespace = 'refold'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    UNION ALL
    SELECT
        'function ' || p.proname AS name,
        coalesce(p.proacl, acldefault('f', p.proowner)) AS acl,
        p.proowner AS owner
    FROM pg_proc AS p WHERE p.pronamespace = 'refold'::regnamespace
)

SELECT
    coalesce(r.rolname::text, 'public') AS role,
    o.name AS object,
    string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS privileges
FROM objects AS o
CROSS JOIN LATERAL aclexplode(o.acl) AS a
LEFT JOIN pg_roles AS r ON a.grantee = r.oid
WHERE a.grantee <> o.owner AND a.privilege_type <> 'MAINTAIN'
GROUP BY 1, 2
ORDER BY 1, 2
