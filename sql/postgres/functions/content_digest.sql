-- The digest of an event's content, which stands for it in the link and stays when the content is erased.
CREATE OR REPLACE FUNCTION refold.content_digest(salt bytea, payload jsonb, metadata jsonb)
RETURNS bytea
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(content_digest.salt || convert_to(concat(content_digest.payload, E'\n', content_digest.metadata), 'UTF8'))
$$;
