-- Write the next entry of the home log; answers its place. The lock, held to the end of the transaction, keeps entries in the
-- order of their commits and without a gap.
--
-- kind, month, generation  what happened to which month; month and generation are NULL for what is of no month
-- document                 JSON text; kept byte for byte, and what the log's tree is made of
-- signature                Ed25519 signature over the text's bytes; NULL for none
CREATE OR REPLACE FUNCTION refold.note(kind text, month text, generation integer, document text, signature bytea DEFAULT null)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    noted bigint;
BEGIN
    LOCK TABLE refold.home_log IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO refold.home_log (entry, kind, month, generation, document, signature)
    SELECT coalesce(max(l.entry) + 1, 0), note.kind, note.month, note.generation, note.document, note.signature
    FROM refold.home_log AS l
    RETURNING entry INTO noted;
    RETURN noted;
END
$$;
