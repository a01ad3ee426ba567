-- What is erased, and what may not be. Neither table is a record: that is in the home log, from which erasures can be made again.

ALTER TABLE refold.home_log DROP CONSTRAINT home_log_kind_check;
ALTER TABLE refold.home_log ADD CONSTRAINT home_log_kind_check
CHECK (kind IN ('opened', 'closing', 'sealed', 'files', 'unsealed', 'redacted', 'erased', 'scrubbed'));

ALTER TABLE refold.streams ADD COLUMN is_erased boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN refold.streams.is_erased IS 'All that it had was erased: it takes no more events.';

CREATE TABLE refold.erasures (
    erasure uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    month text NOT NULL CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    first_version integer NOT NULL CHECK (first_version > 0),
    last_version integer NOT NULL CHECK (last_version >= first_version),
    noted_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    is_done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (aggregate_id, first_version, erasure, month)
);
CREATE INDEX erasures_month ON refold.erasures (month) WHERE is_done;
CREATE INDEX erasures_waiting ON refold.erasures (month) WHERE NOT is_done;
COMMENT ON TABLE refold.erasures IS 'One row per run of events of a stream and a month that an erasure names; only events in it lose their content.';
COMMENT ON COLUMN refold.erasures.erasure IS 'Id of the erasure: its documents are in home_log, its events in the stream of this id.';
COMMENT ON COLUMN refold.erasures.noted_xid IS 'Transaction that recorded it; only in it may the events of the erasure itself be appended.';
COMMENT ON COLUMN refold.erasures.is_done IS 'Whether the events have lost their content.';

CREATE TABLE refold.holds (
    hold uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    customer text,
    aggregate_id uuid,
    reason text NOT NULL,
    placed_by text NOT NULL DEFAULT session_user,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT holds_one_object CHECK (num_nonnulls(customer, aggregate_id) = 1)
);
COMMENT ON TABLE refold.holds IS 'One row per hold: what may not be erased until it is lifted, which deletes the row.';
COMMENT ON COLUMN refold.holds.customer IS 'Every event about this person (metadata.subject_id), also those to come.';
COMMENT ON COLUMN refold.holds.aggregate_id IS 'Every event of this stream.';
-- As of events: ANALYZE would keep values in clear, which outlive the row.
ALTER TABLE refold.holds ALTER COLUMN customer SET STATISTICS 0, ALTER COLUMN reason SET STATISTICS 0;

-- The row trigger of events takes an argument from here on; triggers/events.sql makes it again. A trigger of the parent goes with those of all months.
DROP TRIGGER IF EXISTS refold_append_only_row ON refold.events;
