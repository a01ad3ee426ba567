-- Trigger: a closing or sealed month takes no events.
CREATE OR REPLACE FUNCTION refold.refuse_sealed()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'month % is sealed', to_char(new.created_at AT TIME ZONE 'UTC', 'YYYY-MM')
        USING ERRCODE = 'RF003', HINT = 'Append the fact now with metadata.occurred_at, or run `refold unseal MONTH --reason ...`.';
END
$$;
