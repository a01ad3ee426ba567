-- Close an open month to writes: open -> closing. Answers the generation. From its commit on, no event of the month can
-- appear, so an export that starts afterwards is whole.
--
-- The lock waits for writers that hold events of the month, also prepared ones, and gives up after lock_timeout (the caller
-- sets it; an error says that the lock was not available). DEFAULT is locked too: a stray of the month must not slip in.
CREATE OR REPLACE FUNCTION refold.close_month(month text)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    the_month CONSTANT text := close_month.month;
    table_name CONSTANT text := 'events_' || replace(the_month, '-', '_');
    month_from timestamptz;
    generation integer;
BEGIN
    IF NOT EXISTS (SELECT FROM refold.months AS m WHERE m.month = the_month) THEN
        RAISE EXCEPTION 'month % has no partition', coalesce(the_month, 'null') USING ERRCODE = 'RF005';
    END IF;
    PERFORM refold.assert_current();
    EXECUTE format('LOCK TABLE ONLY refold.%I, ONLY refold.events_default IN SHARE MODE', table_name);
    month_from := (the_month || '-01')::timestamp AT TIME ZONE 'UTC';
    IF EXISTS (
        SELECT FROM ONLY refold.events_default AS e WHERE e.created_at >= month_from AND e.created_at < month_from + interval '1 month'
    ) THEN
        RAISE EXCEPTION 'events of % lie in the DEFAULT partition; they must be moved first', the_month USING ERRCODE = 'RF005';
    END IF;
    generation := refold.change_month(the_month, ARRAY['open'], 'closing');
    EXECUTE format(
        'CREATE TRIGGER refold_sealed BEFORE INSERT ON refold.%I FOR EACH ROW EXECUTE FUNCTION refold.refuse_sealed()', table_name
    );
    EXECUTE format('ALTER TABLE ONLY refold.%I ENABLE ALWAYS TRIGGER refold_sealed', table_name);
    PERFORM refold.note_month('closing', the_month, generation);
    RETURN generation;
END
$$;
