-- Manifests in a table of their own, as the text that was signed: jsonb would change its bytes.

CREATE TABLE refold.manifests (
    month text NOT NULL REFERENCES refold.months (month),
    generation integer NOT NULL CHECK (generation > 0),
    manifest text NOT NULL,
    signature bytea CHECK (octet_length(signature) = 64),
    sealed_by text NOT NULL DEFAULT session_user,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (month, generation)
);
COMMENT ON TABLE refold.manifests IS 'One row per sealed month and generation: its manifest as canonical JSON text, and the Ed25519 signature over it, if any. All generations stay.';

INSERT INTO refold.manifests (month, generation, manifest, sealed_by, sealed_at)
SELECT
    l.month,
    l.generation,
    l.manifest::text,
    l.changed_by,
    l.changed_at
FROM refold.month_log AS l WHERE l.state = 'sealed'
ORDER BY l.log_id;

ALTER TABLE refold.month_log DROP COLUMN manifest;
COMMENT ON TABLE refold.month_log IS 'One row per change of a month''s state: into which state, by whom, and why.';

-- Both take other parameters now; replacing them would leave the old ones beside the new.
DROP FUNCTION IF EXISTS refold.seal_month(text, jsonb);
DROP FUNCTION IF EXISTS refold.change_month(text, text[], text, text, jsonb);
