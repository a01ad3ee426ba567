"""Scrub: after it no file of the server holds what was erased, or the record says where it still may be.

Values are random hexadecimal digits, which compression leaves as they are, so that a search of bytes finds them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines.audit.verify import verify
from pipelines.erasure.scrub import ALWAYS, ScrubReport, scrub
from pipelines.export.home_log import copy_home_log, last_scrub, unscrubbed
from pipelines.export.month import export_month
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import Erasure, Target
from pipelines.proof.scrub import Scrub, read_scrub
from pipelines.proof.signing import key_id
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, InvalidEvent, NewEvent, Store, StoreBusy, StoreUnavailable, connect, sign
from pipelines.store.erasures import erase_events, lift_hold, note_scrub, place_hold, record_erasure
from tests.support.servers import crash

MARCH, MAY = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 5, 5, tzinfo=UTC)
YEARS_AGO = datetime(2019, 7, 1, tzinfo=UTC)
LONG = 20_000
"""Characters of a value that PostgreSQL keeps out of line."""
MAINTAIN = 170000
"""The version since which writing a table anew can be granted."""


def value(length: int = 64) -> str:
    return secrets.token_hex(length // 2)


@dataclass
class Log:
    """A store, the files of its server, and conversations with values in them."""

    store: Store
    server: EmbeddedServer
    kept: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def say(self, at: datetime, *, is_kept: bool = False) -> UUID:
        """A conversation with a short value, a long one, and one in the metadata."""
        stream = uuid4()
        short, long, person = value(), value(LONG), value()
        (self.kept if is_kept else self.gone).extend([short, long, person])
        events = [
            NewEvent("user.utterance.v1", {"text": text}, {"subject_id": person}, at) for text in (f"hi {short}", long)
        ]
        self.store.append(stream, "conversation", events, "no_stream")
        return stream

    def erase(self, *streams: UUID) -> str:
        erasure = str(uuid4())
        targets = tuple(Target(str(stream), 1, 2, True) for stream in streams)
        document = Erasure(erasure, "request", targets, "1", datetime.now(UTC).isoformat(), None)
        record_erasure(self.store.conn, sign(document.text(), None))
        assert sum(erase_events(self.store.conn)) == len(streams)
        return erasure

    def flush(self) -> None:
        self.store.conn.execute("CHECKPOINT")

    def places(self, texts: list[str]) -> dict[str, set[str]]:
        """Folders of the data directory by the values found in their files; of long ones a part counts."""
        found: dict[str, set[str]] = {text: set() for text in texts}
        for path in self.server.data.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    content = path.read_bytes()
                    for text in texts:
                        # of a long value the pieces that it is stored in, and of these any
                        if any(text[at : at + 32].encode() in content for at in range(0, len(text), 5_000)):
                            found[text].add(str(path.relative_to(self.server.data)).split("/", 1)[0])
        return found

    def left(self) -> dict[str, set[str]]:
        """Of the values that are erased, those found, by folder."""
        self.flush()
        return {text: folders for text, folders in self.places(self.gone).items() if folders}

    def filenodes(self) -> dict[str, tuple[int, int]]:
        query = (
            "SELECT relname, pg_relation_filenode(oid), pg_relation_filenode(reltoastrelid) FROM pg_class "
            "WHERE relnamespace = 'refold'::regnamespace AND (relispartition OR relname = 'holds') AND relkind = 'r'"
        )
        return {name: (heap, toast) for name, heap, toast in self.store.conn.execute(query.encode()).fetchall()}

    def recorded(self) -> list[Scrub]:
        return [read_scrub(each.signed.text) for each in self.store.home_log() if each.kind == "scrubbed"]


@pytest.fixture
def log(store: Store, server: EmbeddedServer) -> Log:
    """March and May of a store on the tests' server, which has other databases too."""
    store.ensure_months([MARCH, MAY])
    return Log(store, server)


@pytest.fixture
def own(open_folder: Path, postgres_tools: Path | None) -> Iterator[Log]:
    """A store on a server of its own, as a home has it."""
    with EmbeddedServer(open_folder, postgres_tools) as server, connect(server.dsn) as conn:
        store = Store(conn, server.dsn)
        store.migrate()
        store.ensure_months([MARCH, MAY])
        yield Log(store, server)


@contextmanager
def eraser(log: Log, *, with_log: bool = False) -> Iterator[Store]:
    """The store as a role that logs in and is in refold_eraser sees it; `with_log` it may also write over the log."""
    name = f"eraser_of_{log.store.conn.info.dbname}"
    conn = log.store.conn
    conn.execute(f'CREATE ROLE "{name}" LOGIN IN ROLE refold_eraser')
    try:
        if with_log:
            conn.execute(f'GRANT pg_monitor, pg_checkpoint TO "{name}"')
            conn.execute(f'GRANT EXECUTE ON FUNCTION pg_switch_wal TO "{name}"')
        with connect(log.store.dsn.replace("refold@", f"{name}@", 1)) as other:
            yield Store(other, log.store.dsn)
    finally:
        conn.execute(f'REVOKE EXECUTE ON FUNCTION pg_switch_wal FROM "{name}"')
        conn.execute(f'DROP ROLE "{name}"')


def kinds(report: ScrubReport) -> set[str]:
    """Kinds of what was not reached, without the other databases of the tests' server."""
    return {each.kind for each in report.not_reached} - {"database"}


def test_no_file_holds_what_was_erased(own: Log) -> None:
    """Short and long values, metadata, strays that moved, appends that failed, holds that were lifted: in tables and log before,
    nowhere after. What others said is there, tables have new files, and the guard is whole.
    """
    store, conn = own.store, own.store.conn
    streams = [own.say(MARCH), own.say(MAY)]
    own.say(MARCH, is_kept=True)
    own.flush()  # after a checkpoint the log gets whole pages
    stray = own.say(YEARS_AGO)
    with suppress(ZeroDivisionError), store.transaction():
        own.say(YEARS_AGO.replace(year=2018))
        own.say(MARCH)
        raise ZeroDivisionError
    customer = value()
    own.gone.append(customer)
    lift_hold(conn, place_hold(conn, customer=customer, stream=None, reason="a suit"))
    assert {name for name, month in ((m.month, m.state) for m in store.months()) if month == "stray"} == {"2019-07"}
    store.make_month("2019-07")
    own.erase(*streams, stray)
    assert own.left().keys() == set(own.gone)
    assert {folder for folders in own.left().values() for folder in folders} == {"base", "pg_wal"}

    before = own.filenodes()
    report = scrub(store)

    assert own.left() == {}
    assert all("base" in folders for folders in own.places(own.kept).values())
    changed = {name for name, nodes in own.filenodes().items() if set(nodes) & set(before[name]) == set()}
    assert changed == {"events_2026_03", "events_2026_05", "events_2019_07", *ALWAYS}
    assert {each.table for each in report.relations} == changed
    for each in report.relations:
        assert (each.old_filenode, each.old_toast) == before[each.table]
        assert (each.new_filenode, each.new_toast) == own.filenodes()[each.table]
        assert each.is_old_gone is True
    assert report.not_reached == ()
    assert report.is_complete
    assert store.guard_problems() == []
    assert conn.execute("SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A'").fetchone() == (4,)


def test_many_erasures_are_scrubbed_once(log: Log) -> None:
    """Erasures are counted until a scrub covers them; a second run does nothing, writes nothing, and gives the record again."""
    store = log.store
    streams = [log.say(MARCH) for _ in range(3)]
    assert scrub(store) == ScrubReport(None, None, 0, 0)
    for stream in streams[:2]:
        log.erase(stream)
    assert unscrubbed(store.home_log()) == 2
    told: list[tuple[str, int, int]] = []
    first = scrub(store, on_table=lambda *said: told.append(said))
    assert told == [("events_2026_03", 1, 3), ("events_default", 2, 3), ("holds", 3, 3)]
    assert (first.erasures, first.left, unscrubbed(store.home_log())) == (2, 0, 0)
    assert first.entry == len(store.home_log()) - 1

    nodes = log.filenodes()
    again = scrub(store)
    assert (again.entry, again.scrub, again.erasures) == (None, first.scrub, 0)
    assert again.relations == ()
    assert log.filenodes() == nodes
    assert len(log.recorded()) == 1

    log.erase(streams[2])
    assert unscrubbed(store.home_log()) == 1
    assert scrub(store).erasures == 1
    assert log.left() == {}


def test_months_without_erasures_stay_as_they_are(log: Log) -> None:
    """Only what erasures touched is written anew; all of it when that is asked for, as after appends that failed elsewhere."""
    with suppress(ZeroDivisionError), log.store.transaction():
        log.say(MAY)
        raise ZeroDivisionError
    failed = list(log.gone)
    log.erase(log.say(MARCH))
    before = log.filenodes()
    scrub(log.store)
    assert log.filenodes()["events_2026_05"] == before["events_2026_05"]
    assert log.left().keys() == set(failed)
    report = scrub(log.store, all_months=True)
    assert {each.table for each in report.relations} == log.filenodes().keys()
    assert log.left() == {}


def test_erasures_that_are_not_done_are_not_covered(log: Log) -> None:
    """A recorded erasure whose events still have their content is left for the next scrub, and so is every later one."""
    streams = [log.say(MARCH), log.say(MARCH)]
    log.erase(streams[0])
    document = Erasure(
        str(uuid4()), "request", (Target(str(streams[1]), 1, 2, True),), "1", datetime.now(UTC).isoformat(), None
    )
    record_erasure(log.store.conn, sign(document.text(), None))
    report = scrub(log.store)
    assert (report.erasures, report.left, report.is_complete) == (1, 1, False)
    assert unscrubbed(log.store.home_log()) == 1
    assert sum(erase_events(log.store.conn)) == 1
    assert scrub(log.store).erasures == 1
    assert log.left() == {}


def test_a_replication_slot_is_told(log: Log) -> None:
    """A slot keeps the log, which is then not said to be clean; without it the same verb finishes that, and no more."""
    conn = log.store.conn
    stream = log.say(MARCH)
    conn.execute("SELECT pg_create_physical_replication_slot('held', true)")
    try:
        log.erase(stream)
        report = scrub(log.store)
        assert kinds(report) == {"replication_slot", "wal"}
        assert [each.name for each in report.not_reached if each.kind == "replication_slot"] == ["held"]
        assert (report.scrub and report.scrub.wal_segments, report.erasures, report.is_complete) == (None, 1, False)
        assert {folder for folders in log.left().values() for folder in folders} == {"pg_wal"}
        assert scrub(log.store).entry is None
    finally:
        conn.execute("SELECT pg_drop_replication_slot('held')")
    report = scrub(log.store)
    assert report.entry is not None
    assert kinds(report) == set()
    assert log.left() == {}
    assert report.relations == ()
    assert scrub(log.store).entry is None


def test_log_that_is_kept_for_standbys(own: Log) -> None:
    """`wal_keep_size` keeps files that nobody asked for; the log goes on until they are out of it, within a bound."""
    conn = own.store.conn
    conn.execute("ALTER SYSTEM SET wal_keep_size = '64MB'")
    conn.execute("SELECT pg_reload_conf()")
    own.erase(own.say(MARCH))
    report = scrub(own.store, most_wal_bytes=2**20)
    assert [each.kind for each in report.not_reached] == ["wal"]
    assert {folder for folders in own.left().values() for folder in folders} == {"pg_wal"}
    report = scrub(own.store)
    assert report.is_complete
    assert own.left() == {}


@contextmanager
def reading(log: Log) -> Iterator[str]:
    """A session whose snapshot is from now on, and how it is called."""
    with psycopg.connect(log.store.dsn) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM refold.months")
        yield f"pid {other.info.backend_pid}"


@contextmanager
def elsewhere(log: Log) -> Iterator[str]:
    """A transaction with an id in another database."""
    with psycopg.connect(log.server.dsn_of("postgres")) as other:
        other.execute("SELECT pg_current_xact_id()")
        yield f"pid {other.info.backend_pid}"


@contextmanager
def prepared(log: Log) -> Iterator[str]:
    """A prepared transaction."""
    with psycopg.connect(log.store.dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        other.execute("PREPARE TRANSACTION 'waits'")
        other.commit()
    try:
        yield "prepared transaction waits"
    finally:
        log.store.conn.execute("ROLLBACK PREPARED 'waits'")


@pytest.mark.parametrize("holding", [reading, elsewhere, prepared])
def test_who_can_still_see_erased_content_is_named(log: Log, holding: Callable[[Log], Iterator[str]]) -> None:
    """An older snapshot would have the old rows copied: nothing is written, and the message says who has it."""
    stream = log.say(MARCH)
    before = log.filenodes()
    with holding(log) as who:  # type: ignore[attr-defined]
        log.erase(stream)
        with pytest.raises(StoreBusy, match=f"can still be seen by {who}, after"):
            scrub(log.store, wait_seconds=0.2)
    assert log.filenodes() == before
    assert log.recorded() == []
    assert scrub(log.store).erasures == 1
    assert log.left() == {}


def test_old_rows_that_were_copied_are_found(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is known of snapshots, the server says that old rows were copied into the new file: that is no scrub."""
    stream = log.say(MARCH)
    with reading(log), monkeypatch.context() as blind:
        blind.setattr("pipelines.erasure.scrub.wait_for_snapshots", lambda *_: None)
        log.erase(stream)
        with pytest.raises(StoreBusy, match="events_2026_03 was not scrubbed: 2 old rows were kept"):
            scrub(log.store)
        assert "base" in {folder for folders in log.left().values() for folder in folders}
        assert log.recorded() == []
    assert scrub(log.store).erasures == 1
    assert log.left() == {}


def test_a_table_that_is_held(log: Log) -> None:
    """A table that somebody reads or writes is waited for so long and no longer; the message names who, and the bound is off again."""
    log.erase(log.say(MARCH))
    with psycopg.connect(log.store.dsn) as other:
        other.execute("LOCK TABLE refold.events_2026_03 IN ACCESS SHARE MODE")
        with pytest.raises(StoreBusy, match=rf"events_2026_03 was not scrubbed: .*pid {other.info.backend_pid}\)"):
            scrub(log.store, wait_seconds=0.2)
    assert log.recorded() == []
    assert log.store.conn.execute("SHOW lock_timeout").fetchone() == ("0",)
    assert scrub(log.store).erasures == 1


def test_a_scrub_that_was_cut_off_is_done_again(log: Log) -> None:
    """Cut off before any table, nothing is recorded; one more run ends as one that was not."""
    log.erase(log.say(MARCH))
    for at in (1, 2, 3):

        def stop(_table: str, number: int, _count: int, at: int = at) -> None:
            if number == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            scrub(log.store, on_table=stop)
        assert log.recorded() == []
        assert unscrubbed(log.store.home_log()) == 1
    report = scrub(log.store)
    assert (report.erasures, kinds(report), len(report.relations)) == (1, set(), 3)
    assert log.left() == {}


def test_without_rights_nothing_is_claimed(log: Log) -> None:
    """A role that may erase and not write tables anew: each table is told, no erasure is covered, files are as they were."""
    if log.store.conn.info.server_version >= MAINTAIN:
        for name in log.filenodes():
            log.store.conn.execute(f"REVOKE MAINTAIN ON refold.{name} FROM refold_eraser")
    log.erase(log.say(MARCH))
    before = log.filenodes()
    with eraser(log) as limited:
        report = scrub(limited)
        assert {each.name for each in report.not_reached if each.kind == "relation"} == {"events_2026_03", *ALWAYS}
        assert kinds(report) == {"relation", "wal", "unseen"}
        assert (report.relations, report.erasures, report.left, report.is_complete) == ((), 0, 1, False)
        assert report.scrub is not None
        assert (report.scrub.covers, report.scrub.wal_segments) == (None, None)
        assert all("GRANT" in each.detail for each in report.not_reached if each.kind in ("relation", "unseen"))
        assert scrub(limited).entry is None
    assert log.filenodes() == before
    assert log.left().keys() == set(log.gone)
    assert unscrubbed(log.store.home_log()) == 1
    assert (scrub(log.store).erasures, log.left()) == (1, {})


def test_the_eraser_may_scrub_where_that_can_be_granted(log: Log) -> None:
    """From PostgreSQL 17 on refold_eraser writes tables anew, those of months made later too; the log with rights that are granted."""
    if log.store.conn.info.server_version < MAINTAIN:
        pytest.skip("MAINTAIN is new in PostgreSQL 17")
    stray = log.say(YEARS_AGO)
    log.store.make_month("2019-07")
    log.erase(stray)
    with eraser(log) as limited:
        report = scrub(limited)
        assert kinds(report) == {"wal", "unseen"}
        assert (report.erasures, report.left, report.is_complete) == (1, 0, False)
        assert {each.is_old_gone for each in report.relations} == {None}
    assert {folder for folders in log.left().values() for folder in folders} <= {"pg_wal"}
    with eraser(log, with_log=True) as limited:
        report = scrub(limited)
        assert report.scrub is not None
        assert report.scrub.wal_segments is not None
        assert {each.name for each in report.not_reached if each.kind == "unseen"} >= {"files"}
    assert log.left() == {}


def test_what_else_may_keep_values_is_told(log: Log, server: EmbeddedServer) -> None:
    """Statistics of expressions, settings that log values, files that belong to no table, other databases."""
    conn = log.store.conn
    conn.execute("CREATE INDEX by_person ON refold.events_2026_03 ((metadata ->> 'subject_id'))")
    conn.execute("CREATE STATISTICS public.told ON event_type, created_at FROM refold.events_2026_03")
    conn.execute("SET log_statement = 'mod'")
    ((folder,),) = conn.execute("SELECT 'base/' || oid FROM pg_database WHERE datname = current_database()").fetchall()
    databases = {name for (name,) in conn.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()}
    others = databases - {conn.info.dbname, "postgres"}  # more than two where other tests keep one in the server
    orphan = server.data / folder / "99999999"
    orphan.write_bytes(b"left by a crash")
    try:
        log.erase(log.say(MARCH))
        report = scrub(log.store)
    finally:
        orphan.unlink()
        conn.execute("RESET log_statement")
    found = {(each.kind, each.name) for each in report.not_reached}
    assert found == {
        ("statistics", "refold.by_person"),
        ("statistics", "public.told"),
        ("server_log", "parameters of statements"),
        ("file", f"{folder}/99999999"),
        *(("database", name) for name in others),
    }
    assert {"refold", "refold_template"} <= others


def test_nothing_is_left_in_statistics(log: Log) -> None:
    """ANALYZE keeps no value of an event or a hold."""
    for _ in range(30):
        log.say(MARCH)
        place_hold(log.store.conn, customer=log.gone[-1], stream=None, reason=log.gone[-2])
    log.store.conn.execute("ANALYZE refold.events")
    log.store.conn.execute("ANALYZE refold.events_2026_03")
    log.store.conn.execute("ANALYZE refold.holds")
    values = log.store.conn.execute("SELECT s::text FROM pg_stats AS s WHERE schemaname = 'refold'").fetchall()
    assert values
    assert not [text for text in log.gone if any(text[:20] in row[0] for row in values)]


def test_the_record_is_signed_copied_and_verified(log: Log, settings: Settings, tmp_path: Path) -> None:
    """The record is an entry of the home log in store and lake; one that is unsigned, unreadable or covers what is after it is found."""
    key = Ed25519PrivateKey.generate()
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    lake = Lake.from_settings(settings)
    log.erase(log.say(MARCH))
    report = scrub(log.store, file)
    entry = log.store.home_log()[-1]
    assert (entry.entry, entry.kind, entry.month) == (report.entry, "scrubbed", None)
    assert entry.signed.signature is not None
    assert report.scrub == read_scrub(entry.signed.text) == last_scrub(log.store.home_log())
    for month in [each.month for each in log.store.months() if each.events]:
        export_month(log.store.dsn, lake, month)
    copy_home_log(log.store, lake)

    def found(*, must_be_signed: bool = False) -> set[tuple[str, str]]:
        keys = {key_id(key.public_key()): key.public_key()}
        audit = verify(lake, log.store, public_keys=keys, must_be_signed=must_be_signed, at=MARCH)
        return {(each.code, each.detail.split(":")[0]) for each in audit.all_findings}

    assert found() == set()
    assert report.scrub is not None
    conn = log.store.conn
    later = report.scrub.text().replace('"covers":', '"covers":1000,"was":')
    with pytest.raises(InvalidEvent, match="cannot cover entry 1000"):
        note_scrub(conn, sign(later, None))
    unsigned = report.scrub.text().replace(f'"{key_id(key.public_key())}"', "null")
    there = note_scrub(conn, sign(unsigned, None))
    assert found() == set()
    said = f"the scrub of entry {there} of the home log is not signed"
    assert ("signature_missing", said) in found(must_be_signed=True)
    broken = note_scrub(conn, sign('{"format": "refold-scrub/1", "covers": null}', None))
    assert found() == {("manifest_invalid", f"the scrub of entry {broken} of the home log")}


def test_a_server_that_crashed_meanwhile(own: Log) -> None:
    """Cut off by a crash of the server, it is done again; a file that a crash left is told, with what it is."""
    own.erase(own.say(MARCH))

    def fail(_table: str, number: int, _count: int) -> None:
        if number == 2:
            crash(own.server)

    with pytest.raises(StoreUnavailable):
        scrub(own.store, on_table=fail)
    with connect(own.server.dsn) as conn:
        own.store = Store(conn, own.server.dsn)
        assert scrub(own.store).is_complete
        assert own.left() == {}
        stream = own.say(MARCH)
        with psycopg.connect(own.server.dsn) as other:
            other.execute("CREATE TABLE copied AS SELECT payload::text FROM refold.events")
            own.flush()
            crash(own.server)
            other.close()
    with connect(own.server.dsn) as conn:
        own.store = Store(conn, own.server.dsn)
        own.erase(stream)
        report = scrub(own.store)
        assert {each.kind for each in report.not_reached} == {"file"}
        assert {folder for folders in own.left().values() for folder in folders} == {"base"}
        for each in report.not_reached:
            (own.server.data / each.name).unlink()
        assert own.left() == {}
        report = scrub(own.store)
        assert (report.is_complete, report.relations, len(own.recorded())) == (True, (), 3)


def test_appends_go_on(log: Log) -> None:
    """Who appends while tables are written anew waits for it, and nothing is lost."""
    stop = threading.Event()
    stored: list[int] = []

    def append() -> None:
        with connect(log.store.dsn) as conn:
            other, stream = Store(conn, log.store.dsn), uuid4()
            while not stop.is_set():
                event = NewEvent("user.utterance.v1", {"text": "again"}, {}, MARCH)
                stored.append(other.append(stream, "conversation", [event], "any").last_version)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(append) for _ in range(2)]
        try:
            for _ in range(3):
                log.erase(log.say(MARCH))
                assert scrub(log.store).erasures == 1
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    assert log.left() == {}
    counted = "SELECT count(*) FROM refold.events WHERE payload ->> 'text' = 'again'"
    assert log.store.conn.execute(counted).fetchone() == (len(stored),)
    assert log.store.guard_problems() == []


def test_other_months_take_events_meanwhile(log: Log) -> None:
    """A month that is written anew is closed, as under this lock; appends to others are not."""
    log.store.check_cluster()
    with psycopg.connect(log.store.dsn) as other:
        other.execute("LOCK TABLE refold.events_2026_03 IN ACCESS EXCLUSIVE MODE")
        log.store.conn.execute("SET lock_timeout = '500ms'")
        log.say(MAY)
        with pytest.raises(StoreBusy):
            log.say(MARCH)
    log.store.conn.execute("RESET lock_timeout")
