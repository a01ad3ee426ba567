-- Lift a hold; whether there was one.
CREATE OR REPLACE FUNCTION refold.lift(hold uuid)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM refold.holds AS h WHERE h.hold = lift.hold;
    RETURN FOUND;
END
$$;
