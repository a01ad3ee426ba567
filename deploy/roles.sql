-- The role that the services log in as: it appends, exports and seals, and owns nothing. Run by psql after `refold db migrate`, as often as
-- one likes; the password is in the environment, as REFOLD_DB_PASSWORD. Retention erases: GRANT refold_eraser TO refold_app, if it is wanted.
\set ON_ERROR_STOP on
\getenv password REFOLD_DB_PASSWORD
SELECT 'CREATE ROLE refold_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION' WHERE to_regrole('refold_app') IS NULL \gexec
SELECT format('ALTER ROLE refold_app PASSWORD %L CONNECTION LIMIT 50', :'password') \gexec
GRANT refold_writer, refold_exporter TO refold_app;
SELECT format('REVOKE ALL ON DATABASE %I FROM public', current_database()) \gexec
SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO refold_app', current_database()) \gexec
