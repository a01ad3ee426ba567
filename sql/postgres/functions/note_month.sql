-- Note a change of a month's state in the home log, with who made it, when and why.
CREATE OR REPLACE FUNCTION refold.note_month(kind text, month text, generation integer, reason text DEFAULT null)
RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT refold.note(note_month.kind, note_month.month, note_month.generation, jsonb_build_object(
        'format', 'refold-month/1', 'kind', note_month.kind, 'month', note_month.month, 'generation', note_month.generation,
        'reason', note_month.reason, 'by', session_user, 'at', refold.utc_text(clock_timestamp())
    )::text)
$$;
