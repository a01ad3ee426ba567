-- Functions of schema refold. Grain: one function.
SELECT
    p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
    pg_get_function_result(p.oid) AS result,
    l.lanname::text AS language,
    CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
    CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END AS security,
    CASE WHEN p.proowner = to_regrole('refold_owner') THEN 'refold_owner' ELSE 'who migrates' END AS owner,
    array_to_string(p.proconfig, '; ') AS settings
FROM pg_proc AS p
INNER JOIN pg_language AS l ON p.prolang = l.oid
WHERE p.pronamespace = 'refold'::regnamespace
ORDER BY p.proname
