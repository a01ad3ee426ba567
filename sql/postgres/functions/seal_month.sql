-- Seal a closing month with the manifest of its export and the list of its files: closing -> sealed. Answers the generation.
--
-- manifest, files  canonical JSON texts, kept byte for byte; they must be of this month and generation
-- signatures       Ed25519 signatures over the bytes of the two; NULL for none
CREATE OR REPLACE FUNCTION refold.seal_month(
    month text, manifest text, files text, manifest_signature bytea DEFAULT null, files_signature bytea DEFAULT null
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    generation CONSTANT integer := refold.change_month(seal_month.month, ARRAY['closing'], 'sealed');
BEGIN
    PERFORM refold.assert_speaks_of(seal_month.manifest, seal_month.month, generation);
    PERFORM refold.note('sealed', seal_month.month, generation, seal_month.manifest, seal_month.manifest_signature);
    PERFORM refold.note_files(seal_month.month, seal_month.files, seal_month.files_signature);
    RETURN generation;
END
$$;
