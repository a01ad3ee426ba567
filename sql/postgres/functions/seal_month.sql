-- Seal a closing month with the manifest of its export: closing -> sealed. Answers the generation.
--
-- manifest   canonical JSON text, kept byte for byte; it must be of this month and generation
-- signature  Ed25519 signature over the text's bytes; NULL for none
CREATE OR REPLACE FUNCTION refold.seal_month(month text, manifest text, signature bytea DEFAULT null)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    content CONSTANT jsonb := seal_month.manifest::jsonb;
    generation CONSTANT integer := refold.change_month(seal_month.month, ARRAY['closing'], 'sealed', null);
BEGIN
    IF (content ->> 'month', content ->> 'generation') IS DISTINCT FROM (seal_month.month, generation::text) THEN
        RAISE EXCEPTION 'the manifest is of month % generation %, not of % generation %',
            coalesce(content ->> 'month', 'null'), coalesce(content ->> 'generation', 'null'), seal_month.month, generation
            USING ERRCODE = 'RF005';
    END IF;
    INSERT INTO refold.manifests (month, generation, manifest, signature)
    VALUES (seal_month.month, generation, seal_month.manifest, seal_month.signature);
    RETURN generation;
END
$$;
