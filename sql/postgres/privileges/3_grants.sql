-- Least privilege. Everybody may see which schema and event types there are (the client checks both).
--   refold_writer    appends, and records its own accesses, which exporter and eraser may, too; nothing else
--   refold_reader    reads everything, and asks what weakens append-only
--   refold_exporter  reads everything; makes, closes and seals months, and opens them again; finishes recorded erasures
--   refold_eraser    reads everything; records erasures and does them, places and lifts holds; rewrites tables of events and of holds
REVOKE ALL ON SCHEMA refold FROM public;
REVOKE ALL ON ALL TABLES IN SCHEMA refold FROM public;
REVOKE ALL ON ALL ROUTINES IN SCHEMA refold FROM public;

DO $$
DECLARE
    role_name text;
    command text;
BEGIN
    FOR role_name, command IN
        SELECT g.role_name, g.command FROM (VALUES
            ('refold_writer', 'GRANT USAGE ON SCHEMA refold TO refold_writer'),
            ('refold_writer', 'GRANT SELECT ON refold.migrations, refold.event_types TO refold_writer'),
            ('refold_writer', 'GRANT EXECUTE ON FUNCTION refold.append_events, refold.record_access, refold.check_cluster TO refold_writer'),
            ('refold_reader', 'GRANT USAGE ON SCHEMA refold TO refold_reader'),
            ('refold_reader', 'GRANT SELECT ON ALL TABLES IN SCHEMA refold TO refold_reader'),
            ('refold_reader', 'GRANT EXECUTE ON FUNCTION refold.guard_problems TO refold_reader'),
            ('refold_exporter', 'GRANT USAGE ON SCHEMA refold TO refold_exporter'),
            ('refold_exporter', 'GRANT SELECT ON ALL TABLES IN SCHEMA refold TO refold_exporter'),
            ('refold_exporter', 'GRANT EXECUTE ON FUNCTION refold.ensure_month, refold.guard_problems TO refold_exporter'),
            ('refold_exporter', 'GRANT EXECUTE ON FUNCTION refold.close_month, refold.seal_month, refold.note_files, refold.unseal_month TO refold_exporter'),
            ('refold_exporter', 'GRANT EXECUTE ON FUNCTION refold.erase_events, refold.record_access TO refold_exporter'),
            ('refold_eraser', 'GRANT USAGE ON SCHEMA refold TO refold_eraser'),
            ('refold_eraser', 'GRANT SELECT ON ALL TABLES IN SCHEMA refold TO refold_eraser'),
            ('refold_eraser', 'GRANT EXECUTE ON FUNCTION refold.record_erasure, refold.erase_events, refold.hold, refold.lift, refold.note_files TO refold_eraser'),
            ('refold_eraser', 'GRANT EXECUTE ON FUNCTION refold.guard_problems, refold.note_scrub, refold.record_access TO refold_eraser')
        ) AS g (role_name, command)
        WHERE to_regrole(g.role_name) IS NOT NULL
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

SELECT refold.let_scrub(p.relid) FROM pg_partition_tree('refold.events') AS p WHERE p.isleaf ORDER BY p.relid::text;
SELECT refold.let_scrub('refold.holds');
