-- Record an access as a stream of its own, with the role that logged in as its witness: whoever runs this cannot name another.
--
-- access    the stream
-- payloads  of access.recorded.v1, one for each event
CREATE OR REPLACE FUNCTION refold.record_access(access uuid, payloads jsonb[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM refold.append_events(
        record_access.access, 'access', 'no_stream',
        array_fill('access.recorded.v1'::text, ARRAY[cardinality(record_access.payloads)]),
        ARRAY(
            SELECT p.payload || jsonb_build_object('database_role', session_user)
            FROM unnest(record_access.payloads) WITH ORDINALITY AS p (payload, place)
            ORDER BY p.place
        ),
        array_fill('{"actor": "system"}'::jsonb, ARRAY[cardinality(record_access.payloads)])
    );
END
$$;
