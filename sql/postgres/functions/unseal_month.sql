-- Open a closing or sealed month again, as a new generation: -> open. Answers the generation.
CREATE OR REPLACE FUNCTION refold.unseal_month(month text, reason text)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    generation integer;
BEGIN
    IF coalesce(btrim(unseal_month.reason), '') = '' THEN
        RAISE EXCEPTION 'unsealing month % needs a reason', unseal_month.month USING ERRCODE = 'RF005';
    END IF;
    generation := refold.change_month(unseal_month.month, ARRAY['closing', 'sealed'], 'open');
    EXECUTE format('DROP TRIGGER refold_sealed ON refold.%I', 'events_' || replace(unseal_month.month, '-', '_'));
    PERFORM refold.assert_guarded();
    PERFORM refold.note_month('unsealed', unseal_month.month, generation, unseal_month.reason);
    RETURN generation;
END
$$;
