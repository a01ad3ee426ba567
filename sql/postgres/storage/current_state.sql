-- purpose: The current state as an agent without a log would keep it: a row store that is updated in place. Made in a
--          transaction that is rolled back, to be measured.
-- grain: one table for each kind of thing, with its primary key
CREATE TEMP TABLE crud_conversations (
    aggregate_id uuid PRIMARY KEY, aggregate_type text, source text, source_id text, source_ordinal bigint, agent text,
    variant text, task text, channel text, vertical text, subject_id text, status text, outcome jsonb,
    started_at timestamptz, ended_at timestamptz, last_at timestamptz
) ON COMMIT DROP;

CREATE TEMP TABLE crud_messages (
    aggregate_id uuid, place integer, role text, text text, created_at timestamptz, PRIMARY KEY (aggregate_id, place)
) ON COMMIT DROP;

CREATE TEMP TABLE crud_tool_calls (
    aggregate_id uuid, place integer, actor text, call_id text, name text, arguments jsonb, output jsonb, error jsonb,
    PRIMARY KEY (aggregate_id, place)
) ON COMMIT DROP;

CREATE TEMP TABLE crud_rows (
    subject_id text, table_name text, row_key text, row_value jsonb, PRIMARY KEY (table_name, row_key, subject_id)
) ON COMMIT DROP;
