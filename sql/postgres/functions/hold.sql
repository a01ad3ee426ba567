-- Place a hold: what it names is not erased until it is lifted. Answers its id.
--
-- customer  everything about this person, or NULL
-- stream    everything in this stream, or NULL; one of the two
CREATE OR REPLACE FUNCTION refold.hold(customer text, stream uuid, reason text)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    placed uuid;
BEGIN
    IF coalesce(btrim(hold.reason), '') = '' OR num_nonnulls(hold.customer, hold.stream) <> 1 THEN
        RAISE EXCEPTION 'a hold needs a reason, and a customer or a stream' USING ERRCODE = 'RF005';
    END IF;
    INSERT INTO refold.holds (customer, aggregate_id, reason) VALUES (hold.customer, hold.stream, hold.reason) RETURNING holds.hold INTO placed;
    RETURN placed;
END
$$;
