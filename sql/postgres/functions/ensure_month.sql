-- Make the partition of a UTC month, YYYY-MM, when there is none; true when it was made.
--
-- Usually CREATE + CHECK + ATTACH: appends to other months go on meanwhile. When events of the month already lie in the
-- DEFAULT partition, they are moved in this transaction: DEFAULT is detached, the month and a new DEFAULT are made, the rows
-- are inserted again as they are (position, xid, hash), both sides are compared, the old table is dropped.
CREATE OR REPLACE FUNCTION refold.ensure_month(month text)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    the_month CONSTANT text := ensure_month.month;
    month_from timestamptz;
    month_to timestamptz;
    table_name text;
    has_strays boolean;
BEGIN
    IF the_month IS NULL OR the_month !~ '^[0-9]{4}-(0[1-9]|1[0-2])$' OR the_month < '0001-01' THEN
        RAISE EXCEPTION 'month is %; write YYYY-MM, from 0001-01 to 9999-12', coalesce(the_month, 'null') USING ERRCODE = 'RF005';
    END IF;
    IF EXISTS (SELECT FROM refold.months AS m WHERE m.month = the_month) THEN
        RETURN false;
    END IF;
    PERFORM refold.assert_current();
    PERFORM pg_advisory_xact_lock(hashtextextended('refold.months', 0));
    IF EXISTS (SELECT FROM refold.months AS m WHERE m.month = the_month) THEN
        RETURN false;
    END IF;

    month_from := make_timestamptz(left(the_month, 4)::integer, right(the_month, 2)::integer, 1, 0, 0, 0);
    month_to := month_from + interval '1 month';
    table_name := 'events_' || replace(the_month, '-', '_');
    INSERT INTO refold.months (month) VALUES (the_month);

    -- Writers lock the parent, then the partition. To move strays both are locked in that order, or a writer between the two
    -- would be waited for in a circle. Without strays the parent stays open, and only DEFAULT is closed to writes, so that
    -- nobody puts one there between looking and attaching. One that comes before that is the rare case of a lock too late.
    IF EXISTS (SELECT FROM ONLY refold.events_default AS e WHERE e.created_at >= month_from AND e.created_at < month_to) THEN
        LOCK TABLE refold.events IN ACCESS EXCLUSIVE MODE;
    END IF;
    LOCK TABLE ONLY refold.events_default IN SHARE MODE;
    has_strays := EXISTS (SELECT FROM ONLY refold.events_default AS e WHERE e.created_at >= month_from AND e.created_at < month_to);
    IF has_strays THEN
        LOCK TABLE refold.events IN ACCESS EXCLUSIVE MODE;
        ALTER TABLE refold.events DETACH PARTITION refold.events_default;
        ALTER TABLE refold.events_default RENAME TO events_default_old;
    END IF;
    EXECUTE format(
        'CREATE TABLE refold.%I (LIKE refold.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS, '
        'CONSTRAINT %I CHECK (created_at >= %L AND created_at < %L))',
        table_name, table_name || '_month', month_from, month_to
    );
    EXECUTE format('ALTER TABLE refold.events ATTACH PARTITION refold.%I FOR VALUES FROM (%L) TO (%L)', table_name, month_from, month_to);
    EXECUTE format('COMMENT ON TABLE refold.%I IS %L', table_name, 'Events of the UTC month ' || the_month || '.');
    PERFORM refold.protect_table(format('refold.%I', table_name)::regclass);
    PERFORM refold.let_scrub(format('refold.%I', table_name)::regclass);
    IF has_strays THEN
        PERFORM refold.move_strays(table_name);
    END IF;
    PERFORM refold.assert_guarded();
    PERFORM refold.note_month('opened', the_month, 1);
    RETURN true;
END
$$;
