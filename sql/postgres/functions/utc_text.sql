-- A time as ISO 8601 text in UTC with microseconds, whatever the session's time zone and date style.
CREATE OR REPLACE FUNCTION refold.utc_text(at timestamptz)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_char(utc_text.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
