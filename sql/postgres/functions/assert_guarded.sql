-- Raise when the events table's structure is not as it should be.
CREATE OR REPLACE FUNCTION refold.assert_guarded()
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problems text;
BEGIN
    SELECT string_agg(g.problem, '; ') INTO problems FROM refold.guard_problems() AS g;
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION 'the events table would not be append-only any more: %', problems
            USING ERRCODE = 'RF007', HINT = 'Use the functions of schema refold; record a correction as a new event.';
    END IF;
END
$$;
