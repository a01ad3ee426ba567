-- order_xid: what followers order by. A writer that waited for a stream's head may have an older xid than the event it goes
-- on from; with the running maximum of xid along the stream, a stream's events are followed in the order of their versions.

ALTER TABLE refold.events ADD COLUMN order_xid xid8;
-- What is there gets its xid without an update, then the running maximum where that is more, which only contention makes.
ALTER TABLE refold.events ALTER COLUMN order_xid TYPE xid8 USING xid;
DO $$
DECLARE
    guarded record;
BEGIN
    CREATE TEMPORARY TABLE raised ON COMMIT DROP AS
    SELECT r.aggregate_id, r.stream_version, r.created_at, r.running::text::xid8 AS order_xid
    FROM (
        SELECT
            e.aggregate_id, e.stream_version, e.created_at, e.xid,
            max(e.xid::text::bigint) OVER (PARTITION BY e.aggregate_id, e.epoch ORDER BY e.stream_version) AS running
        FROM refold.events AS e
    ) AS r
    WHERE r.running > r.xid::text::bigint;
    IF EXISTS (SELECT FROM raised) THEN
        FOR guarded IN SELECT p.relid::regclass AS name FROM pg_partition_tree('refold.events') AS p LOOP
            EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER USER', guarded.name);
        END LOOP;
        UPDATE refold.events AS e SET order_xid = r.order_xid FROM raised AS r
        WHERE e.aggregate_id = r.aggregate_id AND e.stream_version = r.stream_version AND e.created_at = r.created_at;
        FOR guarded IN
            SELECT t.tgrelid::regclass AS name, t.tgname FROM pg_trigger AS t INNER JOIN pg_partition_tree('refold.events') AS p ON t.tgrelid = p.relid
            WHERE NOT t.tgisinternal
        LOOP
            EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', guarded.name, guarded.tgname);
        END LOOP;
    END IF;
END
$$;
ALTER TABLE refold.events ALTER COLUMN order_xid SET DEFAULT pg_current_xact_id();
ALTER TABLE refold.events ALTER COLUMN order_xid SET NOT NULL;

DROP INDEX refold.events_order;
-- What a follower orders and checkpoints by.
CREATE INDEX events_order ON refold.events (epoch, order_xid, position);

ALTER TABLE refold.streams ADD COLUMN epoch integer NOT NULL DEFAULT 1, ADD COLUMN order_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
UPDATE refold.streams AS s SET epoch = e.epoch, order_xid = e.order_xid
FROM refold.events AS e WHERE e.aggregate_id = s.aggregate_id AND e.stream_version = s.stream_version;
COMMENT ON TABLE refold.streams IS 'Head of each stream: last version, last hash, last time, and where followers have it. Locked by append; derived from events.';
