-- Let refold_eraser rewrite a table (VACUUM FULL, see scrub), where PostgreSQL has a right for that: MAINTAIN, from 17 on. It changes no row.
-- Before 17 only owners may: a superuser, the owner of the database, members of refold_owner.
CREATE OR REPLACE FUNCTION refold.let_scrub(target regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 AND to_regrole('refold_eraser') IS NOT NULL THEN
        EXECUTE format('GRANT MAINTAIN ON %s TO refold_eraser', target);
    END IF;
END
$$;
