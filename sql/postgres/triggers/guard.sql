-- Event triggers that guard the structure of the event store. Only a superuser may make them; without them the store works
-- and reports that DDL is not guarded. Migrations disable them inside their own transaction.
DO $$
DECLARE
    guard record;
BEGIN
    FOR guard IN
        SELECT * FROM (VALUES
            ('refold_guard_ddl_start', 'ddl_command_start', 'refold.guard_ddl_start'),
            ('refold_guard_ddl_end', 'ddl_command_end', 'refold.guard_ddl_end'),
            ('refold_guard_drop', 'sql_drop', 'refold.guard_drop'),
            ('refold_guard_rewrite', 'table_rewrite', 'refold.guard_rewrite')
        ) AS g (name, event, function)
        WHERE NOT EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = g.name)
    LOOP
        EXECUTE format('CREATE EVENT TRIGGER %I ON %s EXECUTE FUNCTION %s()', guard.name, guard.event, guard.function);
        -- Migrations enable it again when they end.
        EXECUTE format('ALTER EVENT TRIGGER %I DISABLE', guard.name);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'DDL is not guarded: event triggers need a superuser';
END
$$;
