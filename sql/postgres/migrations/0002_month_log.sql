-- What happened to each month: closed, sealed with which manifest, unsealed for which reason. Manifests of all generations stay.

CREATE TABLE refold.month_log (
    log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    month text NOT NULL REFERENCES refold.months (month),
    generation integer NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'closing', 'sealed')),
    reason text,
    manifest jsonb,
    changed_by text NOT NULL DEFAULT session_user,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'sealed') = (manifest IS NOT NULL)),
    CHECK (state <> 'open' OR reason <> '')
);
COMMENT ON TABLE refold.month_log IS 'One row per change of a month''s state: into which state, by whom, why, and the manifest it was sealed with.';
