-- Second half of ensure_month: put the rows of the detached events_default_old back through the parent, compare, drop it.
-- Not for callers of its own: without a detached events_default_old it fails.
CREATE OR REPLACE FUNCTION refold.move_strays(month_table text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost bigint;
    gained bigint;
BEGIN
    CREATE TABLE refold.events_default PARTITION OF refold.events DEFAULT;
    COMMENT ON TABLE refold.events_default IS 'Events of months without a partition (strays); ensure_month moves them.';
    PERFORM refold.protect_table('refold.events_default'::regclass);
    PERFORM refold.let_scrub('refold.events_default'::regclass);

    INSERT INTO refold.events (
        position, aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, xid, order_xid, hash, salt, digest
    ) OVERRIDING SYSTEM VALUE
    SELECT o.position, o.aggregate_id, o.aggregate_type, o.stream_version, o.event_type, o.event_version, o.payload, o.metadata,
        o.created_at, o.epoch, o.xid, o.order_xid, o.hash, o.salt, o.digest
    FROM refold.events_default_old AS o;

    SELECT count(*) INTO lost FROM refold.events_default_old AS o
    WHERE NOT EXISTS (
        SELECT FROM refold.events AS e
        WHERE e.aggregate_id = o.aggregate_id AND e.stream_version = o.stream_version AND e.created_at = o.created_at
            AND (e.position, e.aggregate_type, e.event_type, e.event_version, e.payload::text, e.metadata::text, e.epoch, e.xid, e.order_xid, e.hash, e.salt, e.digest)
            = (o.position, o.aggregate_type, o.event_type, o.event_version, o.payload::text, o.metadata::text, o.epoch, o.xid, o.order_xid, o.hash, o.salt, o.digest)
    );
    -- Month and new DEFAULT were empty before: as many rows as before, and none of the old ones missing, is equality.
    EXECUTE format('SELECT count(*) FROM refold.%I', month_table) INTO gained;
    gained := gained + (SELECT count(*) FROM refold.events_default) - (SELECT count(*) FROM refold.events_default_old);
    IF lost <> 0 OR gained <> 0 THEN
        RAISE EXCEPTION 'moving strays: % events lost, % gained; nothing was changed', lost, gained USING ERRCODE = 'RF000';
    END IF;
    DROP TABLE refold.events_default_old;
END
$$;
