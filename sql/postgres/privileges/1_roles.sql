-- Group roles, without login; grant them to the roles that log in. Where roles may not be made, everything stays with the
-- user that migrates, and grants to missing roles are skipped.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['refold_owner', 'refold_writer', 'refold_reader', 'refold_exporter', 'refold_eraser'] LOOP
        IF to_regrole(role_name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN insufficient_privilege THEN RAISE NOTICE 'role % was not made: this user may not', role_name;
                WHEN duplicate_object OR unique_violation THEN NULL; -- another database's migration made it now
            END;
        END IF;
    END LOOP;
END
$$;
