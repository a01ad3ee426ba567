"""The store: server, rights, schema, guard, cluster, months, what holds followers back, clocks. Reads alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from pipelines.console import counted, duration, on_one_line
from pipelines.doctor.finding import Finding, ask
from pipelines.export.health import count_strays
from pipelines.settings import Settings
from pipelines.store import PermissionDenied, Store, StoreReadOnly, month_of, pending
from pipelines.store.sqlstate import typed_errors

OLDEST_SERVER = 140_000
"""PostgreSQL 14, as `server_version_num` says it."""
STALL_SECONDS = 60.0
"""How long a transaction may hold followers back before it is worth a word."""
LONG_STALL_SECONDS = 3_600.0
CLOCK_SECONDS, WRONG_CLOCK_SECONDS = 5.0, 60.0
"""How far the server's clock may be from this machine's: before it is worth a word, and before times are wrong."""
FUTURE = timedelta(hours=1)
_SHOWN = 5
_ROLE: LiteralString = """
SELECT
    current_user::text,
    (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user),
    coalesce(pg_has_role(to_regrole('refold_owner'), 'MEMBER'), false),
    coalesce((
        SELECT array_agg(g.rolname::text ORDER BY g.rolname) FROM pg_roles AS g
        WHERE g.rolname = ANY(ARRAY['refold_writer', 'refold_reader', 'refold_exporter', 'refold_eraser']) AND pg_has_role(g.oid, 'USAGE')
    ), '{}')
"""
_DURABILITY: LiteralString = "SELECT name, setting FROM pg_settings WHERE name = ANY(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) AND setting = 'off' ORDER BY 1"
_FUTURE: LiteralString = (
    "SELECT count(*), max(s.created_at) FROM refold.streams AS s WHERE s.created_at > clock_timestamp() + %s"
)
_SEALED: LiteralString = "SELECT m.month FROM refold.months AS m WHERE m.state = 'sealed' ORDER BY 1"
_MONTHS: LiteralString = "SELECT m.month, m.state FROM refold.months AS m ORDER BY 1"


def examine_store(store: Store, settings: Settings) -> Iterator[Finding]:
    """Everything about a store that answers; what needs the schema only where it is up to date."""
    is_embedded = settings.dsn is None
    yield from ask("PostgreSQL", lambda: _server(store))
    yield from ask("role", lambda: _role(store, is_embedded=is_embedded))
    schema = ask("schema", lambda: _schema(store, is_embedded=is_embedded))
    yield from schema
    yield from ask("clock", lambda: _clock(store))
    yield from ask("stalls", lambda: _stalls(store))
    if any(finding.state != "ok" for finding in schema):
        return
    yield from ask("guards", lambda: _guards(store))
    yield from ask("cluster", lambda: _cluster(store))
    yield from ask("months", lambda: _months(store, is_embedded=is_embedded))
    yield from ask("future", lambda: _future(store))
    yield from ask("signatures", lambda: _signatures(store, settings))


def _server(store: Store) -> Iterator[Finding]:
    version = store.conn.info.server_version
    seen = f"PostgreSQL {version // 10_000}.{version % 10_000} answers"
    if version < OLDEST_SERVER:
        yield Finding("PostgreSQL", "fail", f"{seen}, which is too old", "upgrade it to 14 or newer")
        return
    yield Finding("PostgreSQL", "ok", seen)
    with typed_errors():
        off = [f"{name} = {setting}" for name, setting in store.conn.execute(_DURABILITY).fetchall()]
    if off:
        yield Finding(
            "durability",
            "warn",
            f"the server runs with {', '.join(off)}: what was committed may be lost when the machine stops",
            "set it to on in postgresql.conf, but for stores that are to be thrown away",
        )


def _role(store: Store, *, is_embedded: bool) -> Iterator[Finding]:
    with typed_errors():
        row = store.conn.execute(_ROLE).fetchone()
    assert row is not None
    name, is_superuser, is_owner, groups = row
    who = f"the role {on_one_line(name)}"
    if is_embedded:
        yield Finding("role", "ok", f"{who} of the embedded server, which only this home's account reaches")
    elif is_superuser or is_owner:
        what = "is a superuser" if is_superuser else "is a member of refold_owner"
        yield Finding(
            "role",
            "warn",
            f"{who} {what}: it could switch off what keeps the log append-only",
            "let REFOLD_DSN name a role that is a member of refold_writer and refold_exporter, and migrate as another one",
        )
    elif not groups:
        yield Finding(
            "role",
            "fail",
            f"{who} is a member of no role of Refold's, so it may neither read nor append",
            "as an administrator: GRANT refold_writer, refold_exporter TO it",
        )
    else:
        yield from _memberships(who, groups)


def _memberships(who: str, groups: list[str]) -> Iterator[Finding]:
    seen = f"{who} is a member of {', '.join(groups)}"
    if "refold_exporter" in groups:
        yield Finding("role", "ok", seen)
    else:
        yield Finding(
            "role",
            "warn",
            f"{seen}, and not of refold_exporter: it can neither make months nor export and seal them",
            "as an administrator: GRANT refold_exporter TO it, or run Dagster as one that is",
        )


def _schema(store: Store, *, is_embedded: bool) -> Iterator[Finding]:
    todo = pending(store.conn)
    if not todo:
        yield Finding("schema", "ok", "the schema is up to date")
        return
    seen = f"{counted(len(todo), 'file')} of the schema are not applied, first {todo[0].name}"
    if is_embedded:
        yield Finding("schema", "warn", seen, "nothing: the next command that uses the store applies them")
    else:
        yield Finding("schema", "fail", seen, "run `refold db migrate` as the role that owns the schema")


def _guards(store: Store) -> Iterator[Finding]:
    problems = store.guard_problems()
    if not problems:
        yield Finding("guards", "ok", "append-only: triggers and the guard on DDL are in place")
    for problem in problems:
        if problem.startswith("DDL is not guarded"):
            todo = "run `refold db migrate` as a role that may make event triggers; without them only the chain tells of a change"
            yield Finding("guards", "warn", problem, todo)
        else:
            todo = "find out who changed it, run `refold verify`, and put it back with `refold db migrate`"
            yield Finding("guards", "fail", f"append-only is broken: {problem}", todo)


def _cluster(store: Store) -> Iterator[Finding]:
    try:
        with typed_errors():
            store.conn.execute("SELECT refold.writable_epoch()")
    except StoreReadOnly as error:
        seen, _, todo = str(error).partition(" Run ")
        yield Finding("cluster", "fail", seen, f"run {todo.removesuffix('.')}" if todo else "use the primary server")
    except PermissionDenied:
        yield Finding("cluster", "ok", "not looked at: this role may not ask whether the database was moved")
    else:
        yield Finding("cluster", "ok", "the database is in the cluster that it was made in")


def _months(store: Store, *, is_embedded: bool) -> Iterator[Finding]:
    with typed_errors():
        states: dict[str, str] = dict(store.conn.execute(_MONTHS).fetchall())
    strays = count_strays(store.conn)
    now = datetime.now(UTC)
    missing = [month for month in (month_of(now), month_of(now + timedelta(days=31))) if month not in states]
    closing = [month for month, state in states.items() if state == "closing"]
    if missing and not is_embedded:
        made = " ".join(f"--make {month}" for month in missing)
        seen = f"no partition for {', '.join(missing)}: its events will lie in DEFAULT"
        yield Finding("months", "warn", seen, f"run `refold db months {made}`; Dagster's daemon makes them nightly")
    elif missing:
        yield Finding("months", "ok", f"the next command that uses the store makes {', '.join(missing)}")
    if strays:
        shown = ", ".join(f"{month} ({events:,})" for month, events in list(strays.items())[:_SHOWN])
        made = " ".join(f"--make {month}" for month in list(strays)[:_SHOWN])
        seen = f"{counted(sum(strays.values()), 'event')} in the DEFAULT partition, of {counted(len(strays), 'month')}: {shown}"
        yield Finding("months", "warn", seen, f"run `refold db months {made}`, which moves them")
    if closing:
        seen = f"{', '.join(closing)} closed to writes and not sealed: a seal was stopped half-way"
        yield Finding(
            "months", "fail", seen, f"run `refold seal {closing[0]}`, or `refold unseal` to let it take events"
        )
    if not (missing or strays or closing):
        yield Finding("months", "ok", f"{counted(len(states), 'month')}, up to {max(states)}; none in DEFAULT")


def _stalls(store: Store) -> Iterator[Finding]:
    held = [stall for stall in store.stalls() if stall.age_seconds is None or stall.age_seconds >= STALL_SECONDS]
    for stall in held[:_SHOWN]:
        age = "of unknown age" if stall.age_seconds is None else f"{duration(stall.age_seconds)} old"
        where = f"of {on_one_line(stall.role)} in the database {on_one_line(stall.database)}, {age}"
        what, todo = f"transaction of process {stall.pid}", f"end it: SELECT pg_terminate_backend({stall.pid})"
        if stall.gid is not None:
            what = f"prepared transaction {on_one_line(stall.gid)}"
            todo = "end it in its database: COMMIT PREPARED or ROLLBACK PREPARED"
        is_long = stall.age_seconds is not None and stall.age_seconds >= LONG_STALL_SECONDS
        seen = f"a {what} {where} holds back exports and followers"
        yield Finding("stalls", "fail" if is_long else "warn", seen, todo)
    if not held:
        yield Finding("stalls", "ok", f"no transaction of more than {duration(STALL_SECONDS)} holds followers back")


def _clock(store: Store) -> Iterator[Finding]:
    before = datetime.now(UTC)
    with typed_errors():
        row = store.conn.execute("SELECT clock_timestamp()").fetchone()
    after = datetime.now(UTC)
    assert row is not None
    apart = max((before - row[0]).total_seconds(), (row[0] - after).total_seconds(), 0.0)
    if apart < CLOCK_SECONDS:
        yield Finding("clock", "ok", "the server's clock and this machine's agree")
        return
    seen = f"the server's clock is {duration(apart)} {'behind' if row[0] < before else 'before'} this machine's"
    todo = "let both take their time from NTP: months, windows and schedules are cut by it"
    yield Finding("clock", "fail" if apart >= WRONG_CLOCK_SECONDS else "warn", seen, todo)


def _signatures(store: Store, settings: Settings) -> Iterator[Finding]:
    """Whether what was signed can go on being signed."""
    with typed_errors():
        sealed = [month for (month,) in store.conn.execute(_SEALED).fetchall()]
    if not sealed:
        return
    from pipelines.export.errors import ListRefusedError  # noqa: PLC0415 - cryptography and Arrow, only where months are sealed
    from pipelines.export.listing import require_keys  # noqa: PLC0415

    try:
        require_keys(store, sealed, settings.signing_key)
    except ListRefusedError as error:
        yield Finding("signatures", "warn", str(error), "set REFOLD_SIGNING_KEY before the next erasure")
    else:
        seen = f"{counted(len(sealed), 'month')} sealed; none needs a key that is not set"
        yield Finding("signatures", "ok", seen)


def _future(store: Store) -> Iterator[Finding]:
    with typed_errors():
        row = store.conn.execute(_FUTURE, [FUTURE]).fetchone()
    assert row is not None
    if not row[0]:
        yield Finding("future", "ok", "no stream ends in the future")
        return
    yield Finding(
        "future",
        "warn",
        f"{counted(row[0], 'stream')} with events of times to come, up to {row[1].isoformat(timespec='seconds')}",
        "see to the clock of who wrote them; what follows in these streams is given no earlier time",
    )
