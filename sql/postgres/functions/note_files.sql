-- Note which files of the lake hold a sealed month, the first time or again: they may be written anew, the manifest stays.
-- Answers the place in the home log.
--
-- files      canonical JSON text of the list, kept byte for byte; it must be of this month and its generation
-- signature  Ed25519 signature over the text's bytes; NULL for none
CREATE OR REPLACE FUNCTION refold.note_files(month text, files text, signature bytea DEFAULT null)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    the_generation integer;
BEGIN
    SELECT m.generation INTO the_generation FROM refold.months AS m
    WHERE m.month = note_files.month AND m.state = 'sealed' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'month % is not sealed', coalesce(note_files.month, 'null') USING ERRCODE = 'RF005';
    END IF;
    PERFORM refold.assert_speaks_of(note_files.files, note_files.month, the_generation);
    RETURN refold.note('files', note_files.month, the_generation, note_files.files, note_files.signature);
END
$$;
