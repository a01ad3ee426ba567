-- The event store in format 2 of the log (see pipelines/proof/chain.py; every database says by this file's name which it has): events by month, one head row per stream, months,
-- what happened to them and to the log, event types, the store itself.
-- Functions, triggers and privileges are in their own folders and are re-applied when they change.

CREATE TABLE refold.store (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    home uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0),
    system_identifier bigint NOT NULL,
    checked_start timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE refold.store IS 'One row: which cluster this store lives in, and how often it has moved to another (epoch).';
COMMENT ON COLUMN refold.store.home IS 'Names this log for good, whatever cluster it moves to; the origin of its checkpoints unless another is set.';
COMMENT ON COLUMN refold.store.checked_start IS 'Start time of the server process whose cluster was last found to be the right one.';

INSERT INTO refold.store (system_identifier)
SELECT system_identifier FROM pg_control_system();

CREATE TABLE refold.event_types (
    event_type text PRIMARY KEY CHECK (event_type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,4}$'),
    event_version integer NOT NULL,
    description text NOT NULL,
    schema jsonb NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE refold.event_types IS 'One row per registered event type (noun.verb.vN); never changed, a new schema is a new version.';

CREATE TABLE refold.months (
    month text PRIMARY KEY CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closing', 'sealed')),
    generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE refold.months IS 'One row per UTC month that has a partition: its state and how often it was opened (generation).';
COMMENT ON COLUMN refold.months.changed_xid IS 'Transaction of the last change of state; only in it may partitions of events be made or moved.';

CREATE TABLE refold.home_log (
    entry bigint PRIMARY KEY CHECK (entry >= 0),
    kind text NOT NULL CHECK (kind IN ('opened', 'closing', 'sealed', 'files', 'unsealed', 'redacted')),
    month text CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    generation integer CHECK (generation > 0),
    document text NOT NULL,
    signature bytea CHECK (octet_length(signature) = 64),
    noted_by text NOT NULL DEFAULT session_user,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE refold.home_log IS 'One row per thing that happened to the log as a whole, in order: months opened, closed, sealed (the manifest), their files, unsealed; redactions. Leaves of the tree that checkpoints prove.';
COMMENT ON COLUMN refold.home_log.entry IS 'Place in the log: 0, 1, 2 and so on, without a gap; written by refold.note alone.';
COMMENT ON COLUMN refold.home_log.document IS 'JSON text, kept byte for byte; SHA-256 of a zero byte and this text is the leaf (RFC 6962).';
COMMENT ON COLUMN refold.home_log.signature IS 'Ed25519 signature over the text, of manifests and file lists that are signed.';

CREATE TABLE refold.streams (
    aggregate_id uuid PRIMARY KEY,
    aggregate_type text NOT NULL,
    stream_version integer NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    epoch integer NOT NULL,
    order_xid xid8 NOT NULL
) WITH (fillfactor = 80); -- every append updates the row in place (HOT), which needs room on its page
COMMENT ON TABLE refold.streams IS 'Head of each stream: last version, last hash, last time, and where followers have it. Locked by append; derived from events.';

-- Columns of fixed width come first, widest before narrower: nothing is lost to alignment (ten bytes an event).
CREATE TABLE refold.events (
    position bigint GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    order_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    epoch integer NOT NULL,
    stream_version integer NOT NULL,
    event_version integer NOT NULL,
    aggregate_id uuid NOT NULL,
    aggregate_type text NOT NULL,
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    metadata jsonb NOT NULL,
    hash bytea NOT NULL,
    salt bytea NOT NULL,
    digest bytea NOT NULL DEFAULT ''
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE refold.events IS 'One row per event, never changed. Appended only through refold.append_events.';
COMMENT ON COLUMN refold.events.order_xid IS 'What followers order by: the running maximum of xid along the stream, since a writer that waited for the head may have an older xid than the event it goes on from.';
COMMENT ON COLUMN refold.events.salt IS 'Sixteen bytes, random but for six bits: without them nobody can tell by the digest what a payload was. Empty when the content is gone.';
COMMENT ON COLUMN refold.events.digest IS 'SHA-256 of salt, payload, line feed, metadata; kept for events whose content is gone, else empty: it is computed.';

-- The partition column must be part of a key on a partitioned table. That a version exists once per stream whatever its
-- month follows from the head row's lock in append_events.
CREATE UNIQUE INDEX events_stream ON refold.events (aggregate_id, stream_version, created_at);
-- What a follower orders and checkpoints by.
CREATE INDEX events_order ON refold.events (epoch, order_xid, position);

CREATE TABLE refold.events_default PARTITION OF refold.events DEFAULT;
COMMENT ON TABLE refold.events_default IS 'Events of months without a partition (strays); ensure_month moves them.';
