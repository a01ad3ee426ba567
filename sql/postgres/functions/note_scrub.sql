-- Note a scrub: what was rewritten so that nothing of erased events is left in it, and what could not be reached. Answers the entry's place.
--
-- document   canonical JSON text of the scrub, kept byte for byte
-- signature  Ed25519 signature over the text's bytes; NULL for none
CREATE OR REPLACE FUNCTION refold.note_scrub(document text, signature bytea DEFAULT null)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said CONSTANT jsonb := note_scrub.document::jsonb;
BEGIN
    IF said ->> 'format' IS DISTINCT FROM 'refold-scrub/1' OR NOT said ? 'covers' THEN
        RAISE EXCEPTION 'this is no record of a scrub' USING ERRCODE = 'RF005';
    END IF;
    IF (said ->> 'covers')::bigint > (SELECT max(l.entry) FROM refold.home_log AS l) THEN
        RAISE EXCEPTION 'a scrub cannot cover entry % of the home log, which is not there', said ->> 'covers' USING ERRCODE = 'RF005';
    END IF;
    RETURN refold.note('scrubbed', null, null, note_scrub.document, note_scrub.signature);
END
$$;
