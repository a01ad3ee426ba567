"""The document sql/postgres/schema.md: what all migrations make, no more and no less."""

from __future__ import annotations

from pipelines.sqlfiles import list_sql, read_sql
from pipelines.store import connect
from pipelines.store.schema import DOCUMENT, describe_schema, make_example

CHANGES = {
    "column": "ALTER TABLE refold.streams ADD COLUMN extra integer",
    "type": "ALTER TABLE refold.home_log ALTER COLUMN noted_by TYPE varchar(99)",
    "constraint": "ALTER TABLE refold.store DROP CONSTRAINT store_epoch_check",
    "index": "CREATE INDEX ON refold.streams (created_at)",
    "trigger": "ALTER TABLE refold.event_types DISABLE TRIGGER refold_append_only",
    "function": "ALTER FUNCTION refold.new_epoch SECURITY INVOKER",
    "event trigger": "ALTER EVENT TRIGGER refold_guard_ddl_start DISABLE",
    "privilege": "GRANT EXECUTE ON FUNCTION refold.new_epoch TO public",
}


def test_the_migrations_make_the_documented_schema(empty_dsn: str) -> None:
    """All files, applied to an empty database, make what the document says, on every version of PostgreSQL.

    When the change is meant, `python -m pipelines.store.schema` writes the document anew.
    """
    with connect(empty_dsn) as conn:
        make_example(conn)
        conn.execute("SET timezone = 'Asia/Kathmandu'")
        assert describe_schema(conn) == read_sql(DOCUMENT)


def test_the_document_names_every_function() -> None:
    """Each function's file is there, and nothing else is named as one."""
    section = read_sql(DOCUMENT).split("## Functions", 1)[1].split("## ", 1)[0]
    named = [line.split("(", 1)[0].removeprefix("| ") for line in section.splitlines() if "(" in line]
    assert named == [path.stem for path in list_sql("postgres/functions")]


def test_every_kind_of_change_shows(empty_dsn: str) -> None:
    """A change of any kind of object that the document lists makes it differ."""
    with connect(empty_dsn) as conn:
        make_example(conn)
        before = describe_schema(conn)
        unseen = []
        for kind, statement in CHANGES.items():
            with conn.transaction(force_rollback=True):
                for guard in ("ddl_end", "drop", "rewrite"):
                    conn.execute(f"ALTER EVENT TRIGGER refold_guard_{guard} DISABLE".encode())
                reference = describe_schema(conn)
                conn.execute(statement.encode())
                unseen += [kind] * (describe_schema(conn) == reference)
        assert unseen == []
        assert describe_schema(conn) == before
