-- Event trigger: refuses at their start the commands whose end comes too late. DETACH ... CONCURRENTLY commits in the
-- middle; dropping or renaming the schema, or all that its owner owns, takes the guard itself along.
-- Only the text of the client's statement is known here; one that hides these commands in dynamic SQL is refused too.
CREATE OR REPLACE FUNCTION refold.guard_ddl_start()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement CONSTANT text := current_query();
    is_hidden CONSTANT boolean := statement !~* ('\m' || replace(tg_tag, ' ', '\s+') || '\M');
BEGIN
    IF tg_tag = 'ALTER TABLE' AND statement ~* '\mdetach\M.*\m(concurrently|finalize)\M' AND statement ~* '\mevents' THEN
        RAISE EXCEPTION 'DETACH PARTITION ... CONCURRENTLY of events is refused: it is append-only' USING ERRCODE = 'RF007';
    END IF;
    IF tg_tag IN ('DROP SCHEMA', 'ALTER SCHEMA') AND (is_hidden OR statement ~* '\mrefold\M') THEN
        RAISE EXCEPTION '% of refold is refused: it holds an append-only log', tg_tag USING ERRCODE = 'RF007';
    END IF;
    IF tg_tag = 'DROP OWNED' AND (
        is_hidden
        OR EXISTS (
            SELECT FROM pg_roles AS r
            WHERE (
                r.oid IN (SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'refold')
                OR r.oid IN (SELECT c.relowner FROM pg_class AS c WHERE c.relnamespace = to_regnamespace('refold'))
                OR r.oid IN (SELECT t.evtowner FROM pg_event_trigger AS t WHERE t.evtname LIKE 'refold\_guard\_%')
            ) AND (
                strpos(lower(statement), lower(r.rolname)) > 0
                OR (r.rolname IN (current_user, session_user) AND statement ~* '\m(current_user|current_role|session_user)\M')
            )
        )
    ) THEN
        RAISE EXCEPTION 'DROP OWNED of an owner of the event store is refused: it is append-only' USING ERRCODE = 'RF007';
    END IF;
END
$$;
