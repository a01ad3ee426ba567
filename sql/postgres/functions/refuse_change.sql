-- Trigger: a table is append-only. With the argument 'erasure' one update passes, while a recorded erasure waits: of an event that an
-- erasure names, content and salt emptied, the digest that they had put in their place, everything else as it was.
CREATE OR REPLACE FUNCTION refold.refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tg_op = 'UPDATE' AND tg_nargs = 1 AND tg_level = 'STATEMENT' THEN
        IF EXISTS (SELECT FROM refold.erasures AS x WHERE NOT x.is_done) THEN
            RETURN null;
        END IF;
    ELSIF tg_op = 'UPDATE' AND tg_nargs = 1 THEN
        IF (new.position, new.created_at, new.xid, new.order_xid, new.epoch, new.stream_version, new.event_version, new.aggregate_id, new.aggregate_type, new.event_type, new.hash)
            IS NOT DISTINCT FROM
            (old.position, old.created_at, old.xid, old.order_xid, old.epoch, old.stream_version, old.event_version, old.aggregate_id, old.aggregate_type, old.event_type, old.hash)
            AND (new.payload, new.metadata, new.salt) = ('{}'::jsonb, '{}'::jsonb, ''::bytea)
            AND octet_length(old.digest) = 0
            AND new.digest = refold.content_digest(old.salt, old.payload, old.metadata)
            AND EXISTS (
                SELECT FROM refold.erasures AS x
                WHERE x.aggregate_id = old.aggregate_id AND old.stream_version BETWEEN x.first_version AND x.last_version
            )
        THEN
            RETURN new;
        END IF;
    END IF;
    RAISE EXCEPTION '% on %.% is refused: it is append-only', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'RF007', HINT = 'Record a correction as a new event.';
END
$$;
