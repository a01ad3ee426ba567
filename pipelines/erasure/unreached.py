"""Where content of erased events may still be, beside the tables and the write-ahead log: looked for, told by name, never touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from pipelines.proof.scrub import Kept, Unreached
from pipelines.store import PermissionDenied
from pipelines.store.sqlstate import typed_errors


@dataclass(frozen=True, slots=True)
class _Look:
    """One place to look at: a query of names and details, and which right it takes when it is refused."""

    kind: Kept
    query: str
    right: str = ""


_TABLES = """
tables AS (
    SELECT c.oid, c.relname, c.reltablespace, regexp_replace(pg_relation_filepath(c.oid), '/[^/]*$', '') AS folder
    FROM pg_class AS c
    WHERE c.oid = to_regclass('refold.holds')
        OR c.oid IN (SELECT p.relid FROM pg_partition_tree(to_regclass('refold.events')) AS p WHERE p.isleaf)
)
"""
_LOOKS = (
    _Look(
        "replication_slot",
        """
        SELECT s.slot_name, format('%s, restart_lsn %s: the log from there on is kept, and what reads it may have copies',
            s.slot_type, coalesce(s.restart_lsn::text, 'none'))
        FROM pg_replication_slots AS s
        """,
    ),
    _Look(
        "archive",
        """
        SELECT 'archive_mode', format('is %s: the archive keeps pages from before; the last file that it has is %s',
            current_setting('archive_mode'), coalesce(a.last_archived_wal, 'none'))
        FROM pg_stat_archiver AS a WHERE current_setting('archive_mode') <> 'off'
        """,
    ),
    _Look(
        "standby",
        """
        SELECT coalesce(nullif(r.application_name, ''), 'pid ' || r.pid),
            'receives the log: it writes its tables anew as they are here; its own log and copies are its own'
        FROM pg_stat_replication AS r
        """,
    ),
    _Look(
        "statistics",
        f"""
        WITH {_TABLES}
        SELECT format('%s.%s', s.tablename, s.attname), 'ANALYZE has kept values of it in clear'
        FROM pg_stats AS s INNER JOIN tables AS t ON s.tablename = t.relname
        WHERE s.schemaname = 'refold' AND s.attname IN ('payload', 'metadata', 'customer', 'reason')
        UNION ALL
        SELECT i.indexrelid::regclass::text, 'an index of an expression: ANALYZE keeps values of it in clear; drop it'
        FROM pg_index AS i WHERE i.indrelid IN (SELECT t.oid FROM tables AS t) AND i.indexprs IS NOT NULL
        UNION ALL
        SELECT x.stxnamespace::regnamespace || '.' || x.stxname, 'extended statistics keep values in clear; drop them'
        FROM pg_statistic_ext AS x
        WHERE x.stxrelid IN (SELECT t.oid FROM tables AS t) OR x.stxrelid = to_regclass('refold.events')
        """,
    ),
    _Look(
        "unseen",
        f"""
        WITH {_TABLES}
        SELECT 'statistics of ' || t.relname, 'they show to who may read the table: GRANT SELECT on it'
        FROM tables AS t WHERE NOT has_table_privilege(t.oid, 'SELECT')
        """,
    ),
    _Look(
        "statements",
        """
        SELECT 'pg_stat_statements', 'keeps texts of statements; those of Refold hold no values, others may (pg_stat_statements_reset)'
        WHERE current_setting('pg_stat_statements.max', true) IS NOT NULL
        """,
    ),
    # Values are bound to statements, never written into them: they are logged where parameters are.
    _Look(
        "server_log",
        """
        SELECT 'parameters of statements', 'the settings let the server log them: ' || string_agg(s.name || ' = ' || s.setting, ', ' ORDER BY s.name)
        FROM pg_settings AS s
        WHERE (s.name, s.setting) IN (('log_statement', 'mod'), ('log_statement', 'all'))
            OR s.name IN ('log_min_duration_statement', 'log_min_duration_sample', 'auto_explain.log_min_duration') AND s.setting <> '-1'
            OR s.name = 'log_transaction_sample_rate' AND s.setting <> '0'
            OR s.name = 'log_parameter_max_length_on_error' AND s.setting <> '0'
            OR s.name = 'pgaudit.log' AND s.setting NOT IN ('', 'none')
        HAVING count(*) FILTER (WHERE s.name IN ('log_parameter_max_length_on_error', 'pgaudit.log', 'auto_explain.log_min_duration')) > 0
            OR count(*) > 0 AND current_setting('log_parameter_max_length') <> '0'
        """,
    ),
    _Look(
        "temporary_file",
        """
        SELECT t.spcname || '/' || f.name, format('%s bytes of a query that runs, or that a crash left', f.size)
        FROM pg_tablespace AS t CROSS JOIN LATERAL pg_ls_tmpdir(t.oid) AS f WHERE t.spcname <> 'pg_global'
        """,
        "pg_monitor",
    ),
    # A server that crashed while a table was made or written anew leaves its files for good.
    _Look(
        "file",
        f"""
        WITH {_TABLES}
        SELECT f.folder || '/' || f.name, format('%s bytes that belong to no table: left by a crash, or being written now', f.size)
        FROM (SELECT DISTINCT t.folder, t.reltablespace FROM tables AS t) AS d
        CROSS JOIN LATERAL (
            SELECT d.folder, n.name, (pg_stat_file(d.folder || '/' || n.name, true)).size
            FROM pg_ls_dir(d.folder) AS n (name) WHERE n.name ~ '^[0-9]+(\\.[0-9]+)?$'
        ) AS f
        WHERE f.size > 0 AND pg_filenode_relation(d.reltablespace, split_part(f.name, '.', 1)::oid) IS NULL
        """,
        "EXECUTE ON FUNCTION pg_ls_dir(text), pg_stat_file(text, boolean)",
    ),
    _Look(
        "database",
        """
        SELECT d.datname, 'another database of this server, which may have copies'
        FROM pg_database AS d WHERE NOT d.datistemplate AND d.datname NOT IN (current_database(), 'postgres')
        """,
    ),
)


def list_unreached(conn: psycopg.Connection) -> Iterator[Unreached]:
    """Everything that a scrub does not reach, in one order; a place that this role may not look at is told as such.

    Copies that the server does not know of (dumps, backups, disks) are not told.
    """
    for look in _LOOKS:
        try:
            with typed_errors():
                rows: Sequence[tuple[str, str]] = conn.execute(look.query.encode()).fetchall()
        except PermissionDenied as error:
            what = look.kind.replace("_", " ") + "s"
            yield Unreached("unseen", what, f"this role may not look for them: GRANT {look.right} ({error})")
            continue
        for name, detail in sorted(rows):
            yield Unreached(look.kind, name, detail)
