-- Everything in schema refold belongs to refold_owner, who cannot log in: the functions that run with the owner's rights
-- then have no more than these, and no user that logs in owns the events.
DO $$
DECLARE
    object record;
BEGIN
    IF to_regrole('refold_owner') IS NULL THEN
        RETURN;
    END IF;
    ALTER SCHEMA refold OWNER TO refold_owner;
    FOR object IN
        SELECT format('ALTER TABLE %s OWNER TO refold_owner', c.oid::regclass) AS command
        FROM pg_class AS c
        WHERE c.relnamespace = 'refold'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relowner <> 'refold_owner'::regrole
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO refold_owner', p.oid::regprocedure)
        FROM pg_proc AS p
        WHERE p.pronamespace = 'refold'::regnamespace AND p.proowner <> 'refold_owner'::regrole
            AND p.prorettype <> 'event_trigger'::regtype
        ORDER BY 1
    LOOP
        EXECUTE object.command;
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'schema refold stays with %: it may not give it to refold_owner', current_user;
END
$$;
