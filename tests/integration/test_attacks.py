"""The table of docs/proof.md: each row is done to a home that first passes, and found as the table says, no more and no less."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines.audit.checkpoints import Against, make_checkpoint, origin_of
from pipelines.audit.findings import Audit
from pipelines.audit.places import write_checkpoint
from pipelines.audit.verify import verify
from pipelines.erasure.record import record
from pipelines.erasure.selection import select_streams
from pipelines.export.home_log import copy_home_log, finish_erasures
from pipelines.export.listing import list_files_again
from pipelines.export.month import export_month
from pipelines.export.seal import seal_month
from pipelines.folds.run import fold_month
from pipelines.lake.datasets import COMMITS, EVENTS, HOME_LOG, MERKLE_NODES, STREAM_MONTHS, UTTERANCES
from pipelines.lake.lake import Lake
from pipelines.proof.signing import key_id
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Registry, Store, migrate
from tests.support.databases import filled_template

ROOT = Path(__file__).resolve().parents[2]
JANUARY, MARCH = "2026-01", "2026-03"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STREAMS = [UUID(int=n << 96 | 4 << 76 | 8 << 60) for n in range(1, 4)]
VICTIM = STREAMS[1]
_ROW = re.compile(r"^\| (writes|is|does) .*\|$", re.MULTILINE)


@dataclass
class Home:
    """A store and a lake, January sealed and signed, March open; and a checkpoint that was kept elsewhere."""

    store: Store
    lake: Lake
    key_file: Path
    kept: Against

    def check(self, *, key: bool = True, checkpoint: bool = False, deep: bool = False) -> Audit:
        keys = {key_id(KEY.public_key()): KEY.public_key()} if key else {}
        return verify(
            Lake(self.lake.root),
            self.store,
            public_keys=keys,
            must_be_signed=key,
            deep=deep,
            at=datetime(2026, 2, 15, tzinfo=UTC),
            against=[self.kept] if checkpoint else [],
        )

    def found(self, **options: bool) -> set[str]:
        return {each.code for each in self.check(**options).all_findings}

    def as_superuser(self, *statements: str) -> None:
        """Every guard off, and on again afterwards."""
        conn = self.store.conn
        conn.execute("SET event_triggers = off")
        for table in ("events", "home_log"):
            conn.execute(f"ALTER TABLE refold.{table} DISABLE TRIGGER ALL".encode())
        for statement in statements:
            conn.execute(statement.encode())
        for table in ("events", "home_log"):
            for trigger in ("refold_append_only", "refold_append_only_row"):
                conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER {trigger}".encode())
        conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_sealed")
        conn.execute("RESET event_triggers")

    def as_exporter(self, month: str, changed: str) -> None:
        """Commit a month with a changed payload of the victim, provenance and hash included; the chain is made to fit."""
        lake = Lake(self.lake.root)
        commits = {name: lake.last_commit(name, {"month": month}) for name in (EVENTS.name, STREAM_MONTHS.name)}
        with lake.connect() as connection:
            rows = f"SELECT * REPLACE ({changed} AS payload) FROM events WHERE month = '{month}'"
            connection.execute(f"CREATE TEMP TABLE forged AS {rows}")
            commit = commits[EVENTS.name]
            assert commit is not None
            given = {"input_hash": commit.input_hash, "provenance": commit.provenance}
            lake.write_partition(EVENTS, {"month": month}, connection, "SELECT * FROM forged", **given)

    def write_anew(self, text: str, key_file: Path | None) -> None:
        """Another history in the place of this one: schema and lake dropped, and made as the first ones were."""
        opened = [each.month for each in self.store.home_log() if each.kind == "opened"]
        self.store.conn.execute("SET event_triggers = off")
        self.store.conn.execute("DROP SCHEMA refold CASCADE")
        self.store.conn.execute("RESET event_triggers")
        migrate(self.store.conn)
        Registry.shipped().register(self.store.conn)
        for month in opened:
            self.store.make_month(str(month))
        shutil.rmtree(self.lake.root)
        build(self.store, Lake(self.lake.root), text, key_file)


def build(store: Store, lake: Lake, text: str, key_file: Path | None) -> None:
    def say(month: int, count: int) -> None:
        start = datetime(2026, month, 10, tzinfo=UTC)
        store.ensure_months([start])
        for stream in STREAMS:
            events = [
                NewEvent("user.utterance.v1", {"text": f"{text} {n}"}, {"actor": "user"}, start + timedelta(minutes=n))
                for n in range(count)
            ]
            store.append(stream, "conversation", events, "any")

    say(1, 5)
    seal_month(store, lake, JANUARY, signing_key=key_file)
    say(3, 4)
    export_month(store.dsn, lake, MARCH)
    copy_home_log(store, lake)
    fold_month(lake, MARCH, [UTTERANCES.name])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key, a lake to copy and a checkpoint."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def template(server: EmbeddedServer, template: str, kept: Path) -> Iterator[str]:
    """A database to copy with that lake: a home that passes, with and without the checkpoint, shallow and deep."""

    def fill(store: Store, lake: Lake) -> None:
        key_file = kept / "key.pem"
        key_file.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        build(store, lake, "said", key_file)
        note, _ = make_checkpoint(store, origin_of(store, None), KEY, 10**9)
        write_checkpoint(kept / "kept.txt", note.write())
        made = Home(store, lake, key_file, Against.read(kept / "kept.txt"))
        assert made.check(checkpoint=True, deep=True).all_findings == []
        assert made.check().all_findings == []

    with filled_template(server, template, kept / "lake", fill) as name:
        yield name


@pytest.fixture
def home(store: Store, settings: Settings, kept: Path) -> Home:
    """A copy of it."""
    shutil.copytree(kept / "lake", settings.lake)
    return Home(store, Lake(settings.lake), kept / "key.pem", Against.read(kept / "kept.txt"))


def payload_of_an_open_month(home: Home) -> None:
    home.as_exporter(
        MARCH, f"if(aggregate_id = '{VICTIM}' AND stream_version = 7, '{{\"text\": \"forged\"}}', payload)"
    )
    assert "broken_link" in home.found()


def payload_of_a_sealed_month(home: Home) -> None:
    home.as_exporter(
        JANUARY, f"if(aggregate_id = '{VICTIM}' AND stream_version = 3, '{{\"text\": \"forged\"}}', payload)"
    )
    assert {"broken_link", "file_foreign"} <= home.found()


def end_of_the_lakes_log(home: Home) -> None:
    _rewrite(home, HOME_LOG.name, "SELECT * FROM home_log WHERE kind NOT IN ('sealed', 'files')")
    assert "entry_missing" in home.found()


def payload_in_the_store(home: Home) -> None:
    home.as_superuser(
        f"UPDATE refold.events SET payload = '{{\"text\": \"forged\"}}' WHERE aggregate_id = '{VICTIM}' AND stream_version = 3"
    )
    assert home.found() == set()
    assert home.found(deep=True) == {"event_differs"}


def quiet_unseal(home: Home) -> None:
    home.as_superuser("UPDATE refold.months SET state = 'open', generation = 2 WHERE month = '2026-01'")
    assert "state_differs" in home.found()


def content_emptied(home: Home) -> None:
    home.as_superuser(
        "UPDATE refold.events SET digest = sha256(salt || convert_to(payload::text || E'\\n' || metadata::text, 'UTF8')), "
        f"salt = '', payload = '{{}}', metadata = '{{}}' WHERE aggregate_id = '{VICTIM}' AND stream_version = 7"
    )
    assert home.found() == {"content_missing"}


def erased_home(home: Home) -> list[tuple]:
    """The victim's stream erased as it should be, and written anew everywhere; its rows as they were."""
    saved = home.store.conn.execute(
        f"SELECT stream_version, payload::text, metadata::text, salt FROM refold.events WHERE aggregate_id = '{VICTIM}'"
    ).fetchall()
    record(home.store, select_streams(home.store, [VICTIM]), "ticket 4711", home.key_file)
    write_anew(home)
    assert home.found(deep=True, checkpoint=True) == set()
    return saved


def write_anew(home: Home) -> None:
    lake = Lake(home.lake.root)
    finish_erasures(home.store, lake)
    for month in (JANUARY, MARCH):
        export_month(home.store.dsn, lake, month)
        list_files_again(home.store, lake, month, home.key_file)
    copy_home_log(home.store, lake)


def content_back_in_the_store(home: Home) -> None:
    saved = erased_home(home)
    for version, payload, metadata, salt in saved:
        home.as_superuser(
            f"UPDATE refold.events SET payload = '{payload}', metadata = '{metadata}', salt = '\\x{salt.hex()}', digest = '' "
            f"WHERE aggregate_id = '{VICTIM}' AND stream_version = {version}"
        )
    assert home.found() == {"erasure_unfinished"}


def content_back_in_the_lake(home: Home) -> None:
    kept = home.lake.root.with_name("kept")
    shutil.copytree(home.lake.root / EVENTS.name, kept)
    erased_home(home)
    lake = Lake(home.lake.root)
    commit = lake.last_commit(EVENTS.name, {"month": MARCH})
    assert commit is not None
    with lake.connect() as connection:
        connection.execute(
            f"CREATE TEMP TABLE forged AS FROM read_parquet('{kept}/month={MARCH}/*.parquet', hive_partitioning = true)"
        )
        given = {"input_hash": commit.input_hash, "provenance": commit.provenance}
        lake.write_partition(EVENTS, {"month": MARCH}, connection, "SELECT * FROM forged", **given)
    assert {"erasure_unfinished", "head_differs"} <= home.found()


def erasure_that_nobody_signed(home: Home) -> None:
    record(home.store, select_streams(home.store, [VICTIM]), "ticket 4711", None)
    write_anew(home)
    assert home.found(key=False) == set()
    assert {"signature_missing", "content_missing"} <= home.found()


def record_without_an_erasure(home: Home) -> None:
    record(home.store, select_streams(home.store, [VICTIM]), "ticket 4711", home.key_file)
    home.as_superuser("UPDATE refold.erasures SET is_done = true")
    copy_home_log(home.store, Lake(home.lake.root))
    assert "erasure_unfinished" in home.found()


def erased_stream_opened(home: Home) -> None:
    erased_home(home)
    home.store.conn.execute(f"UPDATE refold.streams SET is_erased = false WHERE aggregate_id = '{VICTIM}'")
    assert home.found() == {"erasure_undone"}


def erasure_granted(home: Home) -> None:
    home.store.conn.execute(f"INSERT INTO refold.erasures VALUES (gen_random_uuid(), '{VICTIM}', '2026-03', 6, 9)")
    assert home.found() == {"erasure_undone"}


def end_of_the_stores_log(home: Home) -> None:
    last = home.store.home_log()[-1].entry
    home.as_superuser(
        f"DELETE FROM refold.home_log WHERE entry = {last}",
    )
    assert "entry_missing" in home.found()


def tail_of_an_open_month(home: Home) -> None:
    where = f"WHERE aggregate_id = '{VICTIM}'"
    home.as_superuser(
        f"DELETE FROM refold.events {where} AND stream_version = 9",
        "UPDATE refold.streams AS s SET (stream_version, hash, created_at, order_xid) = (SELECT e.stream_version, e.hash, "
        "e.created_at, e.order_xid FROM refold.events AS e WHERE e.aggregate_id = s.aggregate_id AND e.stream_version = 8) "
        + where,
    )
    kept = home.lake.root.with_name("kept")
    home.lake.root.rename(kept)
    for month in (JANUARY, MARCH):
        export_month(home.store.dsn, Lake(home.lake.root), month)
    for name in (HOME_LOG.name, MERKLE_NODES.name):
        shutil.copytree(kept / name, home.lake.root / name)
    of_march = {each.code for each in home.check().all_findings if each.month == MARCH}
    assert of_march == set()
    of_march = {each.code for each in home.check(checkpoint=True).all_findings if each.month == MARCH}
    assert of_march == {"tail_missing"}


def whole_log_unsigned(home: Home) -> None:
    home.write_anew("forged", None)
    assert home.found(key=False) == set()
    assert "signature_missing" in home.found()
    assert "checkpoint_differs" in home.found(key=False, checkpoint=True)


def whole_log_signed(home: Home) -> None:
    home.write_anew("forged", home.key_file)
    assert home.found(deep=True) == set()
    assert "checkpoint_differs" in home.found(checkpoint=True)


def derived_table(home: Home) -> None:
    lake = Lake(home.lake.root)
    with lake.connect() as connection:
        connection.execute(
            f"CREATE TEMP TABLE forged AS SELECT * REPLACE ('forged' AS text) FROM utterances WHERE month = '{MARCH}'"
        )
        lake.write_partition(UTTERANCES, {"month": MARCH}, connection, "SELECT * FROM forged", input_hash="forged")
    audit = home.check(deep=True)
    assert audit.all_findings == []
    assert UTTERANCES.name in {each.table for each in audit.unread if each.place == "lake"}


def commits(home: Home) -> None:
    forged = "list_transform(files, lambda file: struct_update(file, sha256 := repeat('0', 64)))"
    _rewrite(home, COMMITS.name, f"SELECT * REPLACE ({forged} AS files) FROM commits")
    assert "file_changed" in home.found()


def registry(home: Home) -> None:
    home.store.conn.execute("SET event_triggers = off")
    home.store.conn.execute("ALTER TABLE refold.event_types DISABLE TRIGGER ALL")
    home.store.conn.execute("UPDATE refold.event_types SET description = 'forged'")
    for trigger in ("refold_append_only", "refold_append_only_row"):
        home.store.conn.execute(f"ALTER TABLE refold.event_types ENABLE ALWAYS TRIGGER {trigger}".encode())
    home.store.conn.execute("RESET event_triggers")
    audit = home.check(deep=True)
    assert audit.all_findings == []
    assert "event_types" in {each.table for each in audit.unread if each.place == "store"}


def _rewrite(home: Home, name: str, query: str) -> None:
    """Put other rows in the place of a table without partitions, as one that looks untouched."""
    lake = Lake(home.lake.root)
    with lake.connect() as connection:
        rows = connection.sql(query).to_arrow_table().to_pylist()
    shutil.rmtree(home.lake.root / name)
    dataset = {HOME_LOG.name: HOME_LOG, COMMITS.name: COMMITS}[name]
    Lake(home.lake.root).append(dataset, rows)


ATTACKS: dict[tuple[str, str], Callable[[Home], None]] = {
    ("writes the lake", "changes a payload of an open month, as an exporter would"): payload_of_an_open_month,
    ("writes the lake", "changes a payload of a sealed month, as an exporter would"): payload_of_a_sealed_month,
    ("writes the lake", "takes the home log's last entries away"): end_of_the_lakes_log,
    ("is superuser of the store", "changes a payload of a sealed month"): payload_in_the_store,
    ("is superuser of the store", "opens a sealed month without a trace"): quiet_unseal,
    ("is superuser of the store", "empties an event and keeps its digest"): content_emptied,
    ("is superuser of the store", "puts erased content back"): content_back_in_the_store,
    ("writes the lake", "puts erased content back, as an exporter would"): content_back_in_the_lake,
    ("is superuser of the store", "records an erasure and keeps the content"): record_without_an_erasure,
    ("is superuser of the store", "erases and signs nothing"): erasure_that_nobody_signed,
    ("is superuser of the store", "lets an erased stream take events again"): erased_stream_opened,
    ("is superuser of the store", "lets events lose their content without a record"): erasure_granted,
    ("is superuser of the store", "takes the home log's last entries away"): end_of_the_stores_log,
    ("does both", "cuts the tail of an open month"): tail_of_an_open_month,
    ("does both", "writes the whole log anew, unsigned"): whole_log_unsigned,
    ("does both and has the key", "writes the whole log anew, signed"): whole_log_signed,
    ("writes the lake", "changes a table made from events"): derived_table,
    ("writes the lake", "changes what `commits` remembers of a month's files"): commits,
    ("is superuser of the store", "changes the registry of event types"): registry,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=lambda attack: attack.__name__)
def test_an_attack(home: Home, attack: Callable[[Home], None]) -> None:
    """Found as the table says."""
    attack(home)


def test_every_row_of_the_table_is_a_test() -> None:
    """The document claims what is tried here, and nothing else."""
    text = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in row.group().strip("|").split("|")[:2]) for row in _ROW.finditer(text)]
    assert rows == list(ATTACKS)
