-- Seal a closing month with the manifest of its export: closing -> sealed. Answers the generation.
CREATE OR REPLACE FUNCTION refold.seal_month(month text, manifest jsonb)
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT refold.change_month(seal_month.month, ARRAY['closing'], 'sealed', null, seal_month.manifest)
$$;
