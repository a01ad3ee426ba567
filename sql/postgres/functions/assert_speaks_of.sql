-- Raise unless a document, JSON text, names this month and generation.
CREATE OR REPLACE FUNCTION refold.assert_speaks_of(document text, month text, generation integer)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    content CONSTANT jsonb := assert_speaks_of.document::jsonb;
BEGIN
    IF (content ->> 'month', content ->> 'generation') IS DISTINCT FROM (assert_speaks_of.month, assert_speaks_of.generation::text) THEN
        RAISE EXCEPTION 'the document is of month % generation %, not of % generation %',
            coalesce(content ->> 'month', 'null'), coalesce(content ->> 'generation', 'null'),
            assert_speaks_of.month, assert_speaks_of.generation USING ERRCODE = 'RF005';
    END IF;
END
$$;
