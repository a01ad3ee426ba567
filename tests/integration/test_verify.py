"""`verify` on a real store and a real lake: silent while all is whole, and right about every kind of tampering."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from uuid import UUID

import duckdb
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipelines.audit.findings import Audit
from pipelines.audit.page import render_audit
from pipelines.audit.verify import verify
from pipelines.errors import BadInputError
from pipelines.export.home_log import copy_home_log
from pipelines.export.month import export_month
from pipelines.export.seal import seal_month
from pipelines.folds.run import fold_month
from pipelines.lake.datasets import EVENTS, EXPERIMENTS, HOME_LOG, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import read_file_list
from pipelines.proof.signing import read_private_key, read_public_keys
from pipelines.store import EmbeddedServer, Entry, NewEvent, Store, connect

JANUARY, FEBRUARY, MARCH = "2026-01", "2026-02", "2026-03"
STREAMS = [UUID(int=n << 96 | 0x4000 << 64 | 0x8000 << 48 | n) for n in range(1, 9)]
VICTIM = str(STREAMS[3])
MARCH_15 = datetime(2026, 3, 15, tzinfo=UTC)
_numbers = count(1)


def say(store: Store, stream: UUID, at: datetime, texts: int) -> None:
    events = [
        NewEvent("user.utterance.v1", {"text": f"é {n} " + "x" * n}, {"actor": "user"}, at + timedelta(minutes=n))
        for n in range(texts)
    ]
    store.ensure_months([event.created_at for event in events])
    store.append(stream, "conversation", events, "any")


@dataclass
class Case:
    """A store and a lake with January and February sealed (January twice) and March open; all of one test's own."""

    store: Store
    lake: Lake
    keys: Path

    def verify(self, *months: str, **options) -> Audit:
        expected = {"public_keys": read_public_keys([self.keys / "public.pem"]), "must_be_signed": True, "at": MARCH_15}
        options = expected | options
        store = None if options.pop("lake_only", False) else self.store
        return verify(Lake(self.lake.root), store, months or None, **options)

    def file(self, month: str = JANUARY, name: str = "events") -> Path:
        (file,) = self.lake.files(name, {"month": month})
        return Path(file)

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self.lake.root))

    def rewrite(self, query: str, month: str = JANUARY) -> str:
        """Change a data file under the same name: `query` reads from `f`, rows in their order in the file."""
        path = self.file(month)
        target = path.with_suffix(".new")
        with duckdb.connect() as connection:
            connection.execute(
                f"CREATE VIEW f AS SELECT * FROM read_parquet('{path}', file_row_number = true, hive_partitioning = false)"
            )
            rows = f"SELECT * EXCLUDE (file_row_number) FROM ({query}) ORDER BY file_row_number"
            connection.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        target.replace(path)
        return self.shown(path)

    def forge(self, query: str, month: str = JANUARY) -> None:
        """Change a month as an exporter would, provenance included: the lake by itself is consistent."""
        lake = Lake(self.lake.root)
        commits = {name: lake.last_commit(name, {"month": month}) for name in ("events", "stream_months")}
        heads = (
            "SELECT old.* REPLACE (n.first_version AS first_version, n.last_version AS last_version, "
            "n.event_count AS event_count, n.last_hash AS last_hash) FROM stream_months AS old JOIN (SELECT aggregate_id, "
            "min(stream_version) AS first_version, max(stream_version) AS last_version, count(*) AS event_count, "
            f"arg_max(hash, stream_version) AS last_hash FROM ({query}) WHERE month = '{month}' GROUP BY 1) AS n "
            f"USING (aggregate_id) WHERE month = '{month}'"
        )
        with lake.connect() as connection:
            for dataset, rows in ((EVENTS, f"SELECT * FROM ({query}) WHERE month = '{month}'"), (STREAM_MONTHS, heads)):
                connection.execute(f"CREATE TEMP TABLE forged_{dataset.name} AS {rows}")
            for dataset in (EVENTS, STREAM_MONTHS):
                commit = commits[dataset.name]
                lake.write_partition(
                    dataset,
                    {"month": month},
                    connection,
                    f"SELECT * FROM forged_{dataset.name}",
                    input_hash=commit.input_hash,
                    provenance=commit.provenance,
                )

    def unguarded(self, statement: str) -> None:
        """Do what only a superuser can: every guard off, and on again afterwards."""
        conn = self.store.conn
        conn.execute("SET event_triggers = off")
        for table in ("events", "home_log"):
            conn.execute(f"ALTER TABLE refold.{table} DISABLE TRIGGER ALL")
        conn.execute(statement)
        for table in ("events", "home_log"):
            conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER refold_append_only")
            conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER refold_append_only_row")
        for table in ("events_2026_01", "events_2026_02"):
            conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER refold_sealed")
        conn.execute("RESET event_triggers")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key pair as PEM files."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("", "other-"):
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}private.pem").write_bytes(private)
        (folder / f"{name}public.pem").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def sealed(
    server: EmbeddedServer, template: str, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A database and a lake to copy."""
    name, root = "refold_sealed", tmp_path_factory.mktemp("sealed") / "lake"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            dsn = server.dsn_of(name)
            with connect(dsn) as conn:
                store, lake = Store(conn, dsn), Lake(root)
                for stream in STREAMS[:6]:
                    say(store, stream, datetime(2026, 1, 10, tzinfo=UTC), 8)
                seal_month(store, lake, JANUARY, signing_key=keys / "private.pem")
                store.unseal_month(JANUARY, "a late call")
                say(store, STREAMS[6], datetime(2026, 1, 20, tzinfo=UTC), 5)
                seal_month(store, lake, JANUARY, signing_key=keys / "private.pem")
                for month in (2, 3):
                    for stream in STREAMS[2:]:
                        say(store, stream, datetime(2026, month, 10, tzinfo=UTC), 4)
                seal_month(store, lake, FEBRUARY, signing_key=keys / "private.pem")
                export_month(dsn, lake, MARCH)
            yield name, root
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def case(server: EmbeddedServer, sealed: tuple[str, Path], keys: Path, tmp_path: Path) -> Iterator[Case]:
    """A copy of the sealed store and lake, in which verify finds nothing: `test_a_whole_log_passes` says so."""
    template, root = sealed
    name = f"refold_case_{next(_numbers)}"
    shutil.copytree(root, tmp_path / "lake")
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        strategy = "STRATEGY wal_log" if admin.info.server_version >= 150000 else ""
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')
        try:
            dsn = server.dsn_of(name)
            with connect(dsn) as conn:
                yield Case(Store(conn, dsn), Lake(tmp_path / "lake"), keys)
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def codes(audit: Audit) -> set[tuple[str, str | None, str]]:
    """(Code, month, place) of all findings."""
    return {(f.code, f.month, f.place) for f in audit.all_findings}


def one(audit: Audit, code: str, **values):
    """The finding of this kind with these values; there must be one."""
    found = [f for f in audit.all_findings if f.code == code and all(getattr(f, k) == v for k, v in values.items())]
    assert len(found) == 1, audit.all_findings
    return found[0]


def verdicts(audit: Audit, month: str = JANUARY) -> tuple[str, str]:
    return next((m.integrity, m.completeness) for m in audit.months if m.month == month)


@pytest.mark.quick
def test_a_whole_log_passes(case: Case) -> None:
    """All months, shallow and deep: states, generations, rows; nothing is found and nothing left unchecked."""
    for deep in (False, True):
        audit = case.verify(deep=deep)
        assert [(m.month, m.state, m.generation, m.rows, m.streams) for m in audit.months] == [
            (JANUARY, "sealed", 2, 53, 7),
            (FEBRUARY, "sealed", 1, 24, 6),
            (MARCH, "open", 1, 24, 6),
        ]
        assert (audit.all_findings, audit.guard_problems, audit.not_checked) == ([], [], [])
        assert (audit.integrity, audit.completeness) == ("holds", "holds")
        assert [m.not_checked for m in audit.months] == [[], [], []]


def test_the_lake_alone(case: Case) -> None:
    """Without the store sealed months are measured by their manifests; an open month's completeness is not claimed."""
    audit = case.verify(lake_only=True)
    assert audit.all_findings == []
    assert verdicts(audit) == verdicts(audit, FEBRUARY) == ("holds", "holds")
    assert verdicts(audit, MARCH) == ("holds", "not checked")
    assert audit.not_checked[0].startswith("the store: ")
    case.forge("SELECT * FROM events WHERE stream_version < 8", JANUARY)
    broken = case.verify(JANUARY, lake_only=True)
    assert verdicts(broken) == ("broken", "broken")
    assert {"count_differs", "merkle_root_differs", "manifest_outdated"} <= {f.code for f in broken.all_findings}
    with pytest.raises(BadInputError, match="--lake-only"):
        case.verify(lake_only=True, deep=True)


def test_a_flipped_byte_that_still_reads(case: Case) -> None:
    """A changed hash: the file's own hash, the chain at that event and the root say so, by month, file and stream."""
    path = case.file()
    with duckdb.connect() as connection:
        wanted = connection.sql(
            f"SELECT hash FROM read_parquet('{path}') WHERE aggregate_id = '{VICTIM}' AND stream_version = 5"
        ).fetchall()[0][0]
    content = bytearray(path.read_bytes())
    at = content.find(wanted)
    if at < 0:  # hashes do not compress, but they may be stored otherwise
        pytest.fail("the hash is not found in the file's bytes")
    content[at + 3] ^= 1
    path.write_bytes(content)
    audit = case.verify()
    assert verdicts(audit) == ("broken", "holds")
    assert one(audit, "file_changed").file == case.shown(path)
    broken = [f for f in audit.all_findings if f.code == "broken_link"]
    assert [(f.month, f.file, f.stream, f.version) for f in broken] == [
        (JANUARY, case.shown(path), VICTIM, 5),
        (JANUARY, case.shown(path), VICTIM, 6),
    ]
    assert ("merkle_root_differs", JANUARY, "lake") in codes(audit)
    assert verdicts(audit, FEBRUARY) == ("holds", "holds")


def test_a_flipped_byte_that_makes_a_file_unreadable(case: Case) -> None:
    """A file that cannot be read is named with its month, and what it would have told is said to be unchecked."""
    path = case.file()
    content = bytearray(path.read_bytes())
    content[len(content) - 20] ^= 0xFF  # in the footer
    path.write_bytes(content)
    audit = case.verify()
    assert one(audit, "file_unreadable").file == one(audit, "file_changed").file == case.shown(path)
    assert verdicts(audit)[0] == "broken"
    january = audit.months[0]
    assert any("7 streams cannot be read at all, first " in note for note in january.not_checked)
    assert verdicts(audit, MARCH) == ("holds", "holds")


def test_a_changed_payload(case: Case) -> None:
    """One character of one payload: exactly that event's link is broken."""
    changed = f"if(aggregate_id = '{VICTIM}' AND stream_version = 5, replace(payload, 'é', 'e'), payload)"
    file = case.rewrite(f"SELECT * REPLACE ({changed} AS payload) FROM f")
    audit = case.verify()
    found = one(audit, "broken_link")
    assert (found.month, found.file, found.stream, found.version) == (JANUARY, file, VICTIM, 5)
    assert verdicts(audit) == ("broken", "holds")


def test_a_dropped_row(case: Case) -> None:
    """An event out of the middle of a stream is missed by version, count and root; the next one is named."""
    file = case.rewrite(f"SELECT * FROM f WHERE NOT (aggregate_id = '{VICTIM}' AND stream_version = 5)")
    audit = case.verify()
    gap = one(audit, "missing_version")
    assert (gap.month, gap.file, gap.stream, gap.version) == (JANUARY, file, VICTIM, 6)
    assert one(audit, "events_missing", detail="7 events in the lake, 8 in the store").stream == VICTIM
    assert "52 events" in next(f.detail for f in audit.all_findings if f.code == "count_differs")
    assert "broken_link" not in {f.code for f in audit.all_findings}
    assert verdicts(audit) == ("broken", "broken")


def test_a_doubled_row(case: Case) -> None:
    """An event that is there twice is counted and named."""
    file = case.rewrite(f"FROM f UNION ALL FROM f WHERE aggregate_id = '{VICTIM}' AND stream_version = 5")
    audit = case.verify()
    double = one(audit, "repeated_version")
    assert (double.month, double.file, double.stream, double.version) == (JANUARY, file, VICTIM, 5)
    assert one(audit, "events_missing", place="store").stream == VICTIM
    assert verdicts(audit) == ("broken", "broken")


def test_two_swapped_events(case: Case) -> None:
    """Rows in another order, all there: out of order and another root, and nothing is called missing."""
    swap = f"if(aggregate_id = '{VICTIM}' AND stream_version IN (5, 6), 11 - stream_version, stream_version)"
    place = f"file_row_number + if(aggregate_id = '{VICTIM}', {swap} - stream_version, 0)"
    file = case.rewrite(f"SELECT * REPLACE ({place} AS file_row_number) FROM f")
    audit = case.verify()
    swapped = one(audit, "out_of_order")
    assert (swapped.month, swapped.file, swapped.stream, swapped.version) == (JANUARY, file, VICTIM, 5)
    assert ("merkle_root_differs", JANUARY, "lake") in codes(audit)
    assert verdicts(audit) == ("broken", "holds")


def test_two_events_that_swapped_their_versions(case: Case) -> None:
    """What two events say, exchanged under their versions: both links are broken."""
    other = f"SELECT payload FROM f WHERE aggregate_id = '{VICTIM}' AND stream_version = 11 - a.stream_version"
    payload = f"if(aggregate_id = '{VICTIM}' AND stream_version IN (5, 6), ({other}), payload)"
    case.rewrite(f"SELECT * REPLACE ({payload} AS payload) FROM f AS a")
    audit = case.verify()
    broken = [(f.stream, f.version) for f in audit.all_findings if f.code == "broken_link"]
    assert broken == [(VICTIM, 5), (VICTIM, 6)]


def test_files_swapped_between_months(case: Case) -> None:
    """Two months' files, each under the other's name: both are named, with whose bytes they have."""
    january, february = case.file(JANUARY), case.file(FEBRUARY)
    there = january.read_bytes()
    january.write_bytes(february.read_bytes())
    february.write_bytes(there)
    audit = case.verify()
    for month, path, other in ((JANUARY, january, february), (FEBRUARY, february, january)):
        found = one(audit, "file_changed", month=month)
        assert found.file == case.shown(path)
        assert f"its bytes are those of {case.shown(other)}" in found.detail
        assert ("wrong_month", month, "lake") in codes(audit)
        assert verdicts(audit, month)[0] == "broken"


def test_a_file_swapped_with_an_older_one(case: Case) -> None:
    """The month as its first generation held it: right by itself, and not what the second manifest says."""
    first, _ = entries(case, "files", JANUARY)
    old = case.lake.root / "events" / read_file_list(first.signed.text).files[0].path
    path = case.file()
    assert old != path
    path.write_bytes(old.read_bytes())
    audit = case.verify()
    assert f"its bytes are those of {case.shown(old)}" in one(audit, "file_changed").detail
    lost = one(
        audit, "stream_missing", stream=str(STREAMS[6]), detail="the store has it up to version 5, the files do not"
    )
    assert lost.month == JANUARY
    assert verdicts(audit) == ("broken", "broken")


@pytest.mark.parametrize("month", [JANUARY, MARCH])
def test_a_truncated_tail_in_the_lake(case: Case, month: str) -> None:
    """A stream's last events gone, by a commit that leaves the lake consistent with itself: the store knows better."""
    last = {JANUARY: 8, MARCH: 16}[month]
    case.forge(f"SELECT * FROM events WHERE NOT (aggregate_id = '{VICTIM}' AND stream_version > {last - 2})", month)
    audit = case.verify(month)
    found = one(audit, "tail_missing", place="lake", detail=f"the lake ends at version {last - 2}, the store at {last}")
    assert (found.month, found.stream, found.version) == (month, VICTIM, last - 1)
    assert found.file == case.shown(case.file(month))
    assert verdicts(audit, month)[1] == "broken"
    assert verdicts(audit, month)[0] == ("broken" if month == JANUARY else "holds")


def test_a_truncated_tail_shows_in_the_month_after(case: Case) -> None:
    """Without store and manifest, the stream's own later events tell that something before them is gone."""
    case.forge(f"SELECT * FROM events WHERE NOT (aggregate_id = '{VICTIM}' AND stream_version = 12)", FEBRUARY)
    audit = case.verify(MARCH, lake_only=True)
    found = one(audit, "tail_missing")
    assert (found.month, found.stream, found.version) == (MARCH, VICTIM, 12)


@pytest.mark.parametrize(("month", "last"), [(JANUARY, 8), (MARCH, 16)])
def test_a_truncated_tail_in_the_store(case: Case, month: str, last: int) -> None:
    """Events deleted behind disabled triggers: the lake has them, the store and its heads tell that it lacks them."""
    case.unguarded(f"DELETE FROM refold.events WHERE aggregate_id = '{VICTIM}' AND stream_version = {last}")
    audit = case.verify(month)
    found = [f for f in audit.all_findings if f.code == "tail_missing"]
    assert {(f.place, f.month, f.stream, f.version) for f in found} == {("store", month, VICTIM, last)}
    assert verdicts(audit, month)[1] == "broken"


def test_a_tail_that_was_never_exported(case: Case) -> None:
    """Events deleted before any export saw them: the stream's head in the store remembers them."""
    say(case.store, STREAMS[3], datetime(2026, 3, 20, tzinfo=UTC), 2)
    audit = case.verify(MARCH)
    assert (audit.all_findings, audit.months[0].not_checked) == ([], ["2 events are newer than the export"])
    case.unguarded(f"DELETE FROM refold.events WHERE aggregate_id = '{VICTIM}' AND stream_version > 16")
    found = one(case.verify(MARCH), "tail_missing")
    assert (found.place, found.stream, found.version) == ("store", VICTIM, 17)


def test_a_deleted_delta_commit(case: Case) -> None:
    """A commit out of a table's Delta log, at its end or inside, or the whole log: found and named."""
    kept = case.lake.root.with_name("kept")
    shutil.copytree(case.lake.root, kept)
    for name, which in product(("events", "stream_months", "commits", "home_log"), ("last", "middle", "all")):
        log = sorted((case.lake.root / name / "_delta_log").glob("*.json"))
        gone = {"last": log[-1:], "middle": log[-2:-1], "all": log}[which]
        for path in gone:
            path.unlink()
        audit = case.verify()
        assert audit.completeness == "broken", (name, which)
        missing = {f.file for f in audit.all_findings if f.code == "delta_commit_missing"}
        if which == "last" and name == "home_log":
            assert ("entry_missing", FEBRUARY, "lake") in codes(audit)  # nothing in the lake speaks of it
        elif which == "last" and name == "commits":
            assert missing == {"commits"}
        else:
            assert case.shown(gone[0]) in missing, (name, which)
        if which == "last" and name == "events":
            assert one(audit, "delta_commit_missing", file=case.shown(gone[0])).month == MARCH
        shutil.rmtree(case.lake.root)
        shutil.copytree(kept, case.lake.root)
    assert case.verify().all_findings == []


def test_updates_in_the_store(case: Case) -> None:
    """Events changed behind disabled triggers: `deep` names stream, version and columns, and not what they hold."""
    changes = {
        1: ("payload", '\'{"text": "forged"}\''),
        2: ("metadata", 'metadata || \'{"actor": "agent"}\''),
        3: ("created_at", "created_at + interval '1 microsecond'"),
        4: ("xid", "'1'"),
        5: ("epoch", "2"),
        6: ("event_type", "'agent.utterance.v1'"),
        7: ("hash", "sha256('forged')"),
        8: ("salt", "uuid_send(gen_random_uuid())"),
        9: ("digest", "sha256('forged')"),
    }
    case.unguarded(
        "; ".join(
            f"UPDATE refold.events SET {column} = {value} WHERE aggregate_id = '{VICTIM}' AND stream_version = {version}"
            for version, (column, value) in changes.items()
        )
    )
    audit = case.verify(deep=True)
    found = [(f.month, f.place, f.stream, f.version, f.detail) for f in audit.all_findings if f.code == "event_differs"]
    assert found == [
        (JANUARY if version < 9 else FEBRUARY, "store", VICTIM, version, f"lake and store differ in {column}")
        for version, (column, _) in changes.items()
    ]
    assert "forged" not in render_audit(audit)
    assert verdicts(audit) == ("broken", "holds")


def test_a_changed_head_in_the_store(case: Case) -> None:
    """The hash of a stream's last event of a month, changed in the store, is found without `deep`."""
    case.unguarded(
        f"UPDATE refold.events SET hash = decode(repeat('ab', 32), 'hex') WHERE aggregate_id = '{VICTIM}' AND stream_version = 8"
    )
    found = one(case.verify(), "head_differs")
    assert (found.month, found.place, found.stream, found.version) == (JANUARY, "store", VICTIM, 8)


def test_a_delete_in_the_middle_of_the_store(case: Case) -> None:
    """An event deleted inside a stream is missed by count, and by `deep` at its version."""
    case.unguarded(f"DELETE FROM refold.events WHERE aggregate_id = '{VICTIM}' AND stream_version = 5")
    found = one(case.verify(), "events_missing")
    assert (found.month, found.place, found.stream) == (JANUARY, "store", VICTIM)
    assert one(case.verify(deep=True), "events_missing", version=5).detail == "only the lake has it"


def test_an_exported_event_that_was_changed_before(case: Case) -> None:
    """A forged event in an open month that an export carried along: the chain in the lake tells, without a manifest."""
    say(case.store, STREAMS[0], datetime(2026, 3, 20, tzinfo=UTC), 3)
    case.unguarded(
        f"UPDATE refold.events SET payload = '{{}}' WHERE aggregate_id = '{STREAMS[0]}' AND created_at > '2026-03-20 00:00:30+00' "
        "AND created_at < '2026-03-20 00:01:30+00'"
    )
    lake = Lake(case.lake.root)
    export_month(case.store.dsn, lake, MARCH)
    found = one(case.verify(MARCH, deep=True), "broken_link")
    assert (found.month, found.place, found.stream, found.version) == (MARCH, "lake", str(STREAMS[0]), 10)


def forged_manifest(case: Case) -> str:
    text = entries(case, "sealed", JANUARY)[1].signed.text
    return text.replace('"rows":53', '"rows":52')


def test_a_manifest_changed_in_the_store(case: Case) -> None:
    """Another text under the same signature: the two sides differ, and the signature speaks against the store's."""
    case.unguarded(
        f"UPDATE refold.home_log SET document = '{forged_manifest(case)}' "
        f"WHERE kind = 'sealed' AND month = '{JANUARY}' AND generation = 2"
    )
    audit = case.verify()
    assert {("entry_differs", JANUARY, "manifest"), ("signature_wrong", JANUARY, "store")} <= codes(audit)
    assert verdicts(audit)[0] == "broken"


@pytest.mark.parametrize("lake_only", [False, True])
def test_a_manifest_changed_in_the_lake(case: Case, lake_only: bool) -> None:
    """Likewise in the lake; without the store the signature alone tells."""
    forged = forged_manifest(case)
    is_second = f"kind = 'sealed' AND month = '{JANUARY}' AND generation = 2"
    _rewrite_log(case, f"if({is_second}, '{forged}', document) AS document")
    audit = case.verify(lake_only=lake_only)
    assert ("signature_wrong", JANUARY, "lake") in codes(audit)
    assert (("entry_differs", JANUARY, "manifest") in codes(audit)) == (not lake_only)


def test_a_manifest_whose_signature_was_taken_away(case: Case) -> None:
    """Stripped of its signature, or signed by somebody else, a manifest is refused by who expects a signature."""
    text = entries(case, "sealed", FEBRUARY)[0].signed.text
    bare = json.loads(text) | {"public_key_id": None}
    stripped = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    for where in ("lake", "store"):
        if where == "lake":
            _rewrite_log(
                case,
                f"if(kind = 'sealed' AND month = '{FEBRUARY}', '{stripped}', document) AS document",
                f"if(kind = 'sealed' AND month = '{FEBRUARY}', NULL, signature) AS signature",
            )
        else:
            case.unguarded(
                f"UPDATE refold.home_log SET document = '{stripped}', signature = NULL WHERE kind = 'sealed' AND month = '{FEBRUARY}'"
            )
        assert ("signature_missing", FEBRUARY, where) in codes(case.verify())
    others = read_public_keys([case.keys / "other-public.pem"])
    assert ("signature_wrong", JANUARY, "store") in codes(case.verify(public_keys=others))


def test_a_manifest_that_is_gone(case: Case) -> None:
    """An entry missing on either side is missed, also where the rest closes up; the next manifest names its hash."""
    gone = entries(case, "sealed", JANUARY)[0].entry
    case.unguarded(f"DELETE FROM refold.home_log WHERE entry = {gone}")
    found = {(f.code, f.place) for f in case.verify().all_findings}
    assert {("entry_missing", "store"), ("state_differs", "store")} <= found
    _rewrite_log(
        case, "if(entry > $gone, entry - 1, entry) AS entry".replace("$gone", str(gone)), where=f"entry <> {gone}"
    )
    case.unguarded(f"UPDATE refold.home_log SET entry = entry - 1 WHERE entry > {gone}")
    assert ("manifest_missing", JANUARY, "manifest") in codes(case.verify())


def test_a_month_that_was_opened_quietly(case: Case) -> None:
    """Taken out of its state behind the guards, a month is not what the log says became of it; nor is one that nobody opened."""
    state = case.store.conn.execute(
        "SELECT state, generation FROM refold.months WHERE month = %s", [JANUARY]
    ).fetchone()
    assert state == ("sealed", 2)
    for change in ("state = 'open'", "state = 'open', generation = 3", "generation = 1"):
        case.unguarded(f"UPDATE refold.months SET {change} WHERE month = '{JANUARY}'")
        assert ("state_differs", JANUARY, "store") in codes(case.verify()), change
        case.unguarded(f"UPDATE refold.months SET state = 'sealed', generation = 2 WHERE month = '{JANUARY}'")
    case.unguarded("INSERT INTO refold.months (month) VALUES ('1999-01')")
    assert ("state_differs", "1999-01", "store") in codes(case.verify())


def test_the_end_of_the_log_cut_in_one_place(case: Case) -> None:
    """Last entries gone from the store are still in the lake; what the lake lacks is newer than it, and told."""
    case.store.make_month("2026-07")
    audit = case.verify()
    assert audit.all_findings == []
    assert audit.not_checked == ["1 entry of the home log, newer than the last export"]
    copy_home_log(case.store, Lake(case.lake.root))
    assert case.verify().not_checked == []
    case.unguarded("DELETE FROM refold.home_log WHERE month = '2026-07'")
    assert one(case.verify(), "entry_missing").place == "store"


def test_an_entry_says_what_its_document_does(case: Case) -> None:
    """Columns beside the document, which no tree covers, are held to it; so is a document that is no JSON."""
    opened = case.store.home_log()[0]
    for change in ("month = '2026-02'", "generation = 7", "kind = 'closing'", "document = 'x'"):
        case.unguarded(f"UPDATE refold.home_log SET {change} WHERE entry = 0")
        found = [f for f in case.verify().all_findings if f.code == "entry_differs" and f.place == "store"]
        assert found, change
        case.unguarded(
            "UPDATE refold.home_log SET month = '2026-01', generation = 1, kind = 'opened', "
            f"document = '{opened.signed.text}' WHERE entry = 0"
        )


def test_nodes_that_are_not_the_trees(case: Case) -> None:
    """Nodes kept of a sealed month's tree are compared with those of its events."""
    lake = Lake(case.lake.root)
    with lake.connect() as connection:
        query = "SELECT 'events' AS tree, 8 AS level, 0::BIGINT AS place, repeat('x', 32)::BLOB AS hash"
        lake.write_partition(MERKLE_NODES, {"month": JANUARY}, connection, query, input_hash="forged")
    assert one(case.verify(), "node_differs").month == JANUARY


def test_an_ended_month_that_is_not_sealed(case: Case) -> None:
    """Who expects signatures expects every ended month sealed; without keys an open month is only open."""
    assert one(case.verify(at=None), "manifest_missing").month == MARCH
    assert ("manifest_missing", MARCH, "manifest") in codes(case.verify(at=None, lake_only=True))
    assert case.verify(at=None, public_keys={}, must_be_signed=False).all_findings == []


def entries(case: Case, kind: str, month: str) -> list[Entry]:
    """The store's entries of a kind and month, in order."""
    return [each for each in case.store.home_log() if (each.kind, each.month) == (kind, month)]


def _rewrite_log(case: Case, *replaced: str, where: str = "true") -> None:
    """Replace the lake's home log by a changed one, as a table that looks untouched."""
    lake = Lake(case.lake.root)
    with lake.connect() as connection:
        star = f"* REPLACE ({', '.join(replaced)})" if replaced else "*"
        rows = connection.sql(f"SELECT {star} FROM home_log WHERE {where}").to_arrow_table().to_pylist()
    shutil.rmtree(case.lake.root / HOME_LOG.name)
    Lake(case.lake.root).append(HOME_LOG, rows)


def test_keys_that_are_not_known_are_said(case: Case) -> None:
    """Without a key signatures are not checked, and the page says so; nothing is wrong with that."""
    audit = case.verify(public_keys={}, must_be_signed=False)
    assert audit.all_findings == []
    assert [len(m.not_checked) for m in audit.months] == [1, 1, 0]
    assert "no such public key was given" in render_audit(audit)


def test_unguarded_ddl_is_said(case: Case) -> None:
    """A store without its event triggers is no finding, and is told."""
    conn = case.store.conn
    conn.execute("SET event_triggers = off")
    conn.execute("DROP EVENT TRIGGER refold_guard_drop")
    audit = case.verify(MARCH)
    assert audit.all_findings == []
    assert "DDL not guarded" in render_audit(audit)
    assert "refold_guard_drop is missing" in audit.guard_problems[0]


def test_a_file_that_is_gone_and_one_too_many(case: Case) -> None:
    """A deleted data file is missing; one that readers see and nobody recorded is foreign."""
    path = case.file(FEBRUARY)
    path.rename(path.with_suffix(".hidden"))
    audit = case.verify()
    assert one(audit, "file_missing", month=FEBRUARY).file == case.shown(path)
    assert verdicts(audit, FEBRUARY)[1] == "broken"
    path.with_suffix(".hidden").rename(path)
    case.forge("SELECT * FROM events", FEBRUARY)  # the same rows, in another file
    foreign = case.verify(FEBRUARY)
    assert {("file_foreign", FEBRUARY, "lake"), ("file_missing", FEBRUARY, "lake")} <= codes(foreign)


def test_months_that_nobody_knows_are_refused(case: Case) -> None:
    """A month that neither side has is bad input that names what there is."""
    with pytest.raises(
        BadInputError, match="2020-01: neither the store nor the lake knows it; there are 2026-01, 2026-02"
    ):
        case.verify("2020-01")


def test_a_month_that_is_not_exported_is_not_claimed(case: Case) -> None:
    """A month that only the store has is neither whole nor broken."""
    say(case.store, STREAMS[0], datetime(2026, 5, 1, tzinfo=UTC), 2)
    audit = case.verify("2026-05")
    assert verdicts(audit, "2026-05") == ("not checked", "not checked")
    assert "refold export" in audit.months[0].not_checked[0]


def test_keys_are_read_with_care(keys: Path, tmp_path: Path) -> None:
    """A file that is no Ed25519 key is refused by name; what it holds is never said."""
    secret = "MC4CAQAwBQYDK2VwBCIEI-not-a-key"
    (tmp_path / "bad.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    readers: list[Callable[[Path], object]] = [read_private_key, lambda path: read_public_keys([path])]
    for read in readers:
        for path in (tmp_path / "bad.pem", tmp_path / "absent.pem"):
            with pytest.raises(BadInputError, match=path.name) as refused:
                read(path)
            assert secret not in str(refused.value)
    with pytest.raises(BadInputError, match="none"):
        read_private_key(keys / "public.pem")


@pytest.mark.parametrize(
    ("change", "where", "version"),
    [
        ("order_xid = (order_xid::text::bigint + 1)::text::xid8", "stream_version = 3", 3),
        ("order_xid = '1'", "stream_version = 5", 5),
        ("order_xid = (order_xid::text::bigint + 1000)::text::xid8", "stream_version = 1", 1),
    ],
)
def test_a_wrong_order_of_followers_in_the_store(case: Case, change: str, where: str, version: int) -> None:
    """`order_xid` is recomputed from the stream: one that says otherwise is named, without `deep`."""
    case.unguarded(f"UPDATE refold.events SET {change} WHERE aggregate_id = '{VICTIM}' AND {where}")
    found = [f for f in case.verify().all_findings if f.code == "order_xid_differs"]
    assert (found[0].month, found[0].place, found[0].stream) == (JANUARY, "store", VICTIM)
    assert version in {f.version for f in found}


def test_a_wrong_order_across_months_and_in_the_head(case: Case) -> None:
    """The first event of a month goes on from the last of the month before; the head says where the stream stands."""
    months = case.store.conn.execute(
        "SELECT aggregate_id::text, min(stream_version) FROM refold.events WHERE created_at >= '2026-02-01' AND created_at < '2026-03-01' "
        "GROUP BY 1 HAVING min(stream_version) > 1 ORDER BY 1"
    ).fetchall()
    stream, first = months[0]
    case.unguarded(f"UPDATE refold.streams SET order_xid = '7' WHERE aggregate_id = '{stream}'")
    assert {(f.code, f.stream) for f in case.verify().all_findings} == {("head_differs", stream)}
    case.unguarded(
        "UPDATE refold.events SET order_xid = (order_xid::text::bigint + 5000)::text::xid8 "
        f"WHERE aggregate_id = '{stream}' AND stream_version = {first - 1}"
    )
    found = {(f.month, f.version) for f in case.verify().all_findings if f.code == "order_xid_differs"}
    assert found == {(JANUARY, first - 1), (FEBRUARY, first)}


def listed(audit: Audit, place: str) -> dict[str, tuple[str, ...]]:
    """Table → columns that an audit says it did not read; no columns for none at all."""
    return {each.table: each.columns for each in audit.unread if each.place == place}


def altered(name: str, kind: str) -> str:
    """Another value of a column's type."""
    if kind == "BLOB":
        return f"unhex(repeat('01', greatest(octet_length({name}), 32)))"
    if kind.startswith("TIMESTAMP"):
        return f"{name} + INTERVAL 1 MICROSECOND"
    return f"{name} || ' '" if kind == "VARCHAR" else f"{name} + 1"


def test_what_is_not_listed_as_unread_is_found(case: Case) -> None:
    """Every column of an open month is changed as an exporter would, one by one: a change is found, or the column is listed."""
    unread = listed(case.verify(), "lake")
    kept = Path(shutil.copytree(case.lake.root, case.lake.root.parent / "kept"))
    for dataset in (EVENTS, STREAM_MONTHS):
        for column in dataset.data_columns:
            shutil.rmtree(case.lake.root)
            shutil.copytree(kept, case.lake.root)
            lake = Lake(case.lake.root)
            last = lake.last_commit(dataset.name, {"month": MARCH})
            with lake.connect() as connection:
                rows = f"SELECT * REPLACE ({altered(column.name, column.type)} AS {column.name}) FROM {dataset.name} WHERE month = '{MARCH}'"
                connection.execute(f"CREATE TEMP TABLE forged AS {rows}")
                partition, again = {"month": MARCH}, {"input_hash": last.input_hash, "provenance": last.provenance}
                lake.write_partition(dataset, partition, connection, "SELECT * FROM forged", **again)
            found = bool(case.verify(MARCH).all_findings)
            assert found == (column.name not in unread.get(dataset.name, ())), (dataset.name, column.name)


def test_what_is_not_read_is_listed(case: Case) -> None:
    """Tables that no audit reads, columns outside the chain and rows of the store are on the page and in the JSON, always."""
    lake = Lake(case.lake.root)
    fold_month(lake, MARCH, ["utterances"])
    lake.append(
        EXPERIMENTS,
        [
            {
                "experiment": "e",
                "spec": "{}",
                "spec_sha256": "0",
                "folder": "/",
                "mode": "decision",
                "is_active": False,
                "registered_at": datetime(2026, 1, 1, tzinfo=UTC),
            }
        ],
    )
    audit = case.verify()
    there = {path.name for path in case.lake.root.iterdir() if (path / "_delta_log").is_dir()}
    assert {"utterances", "experiments"} <= there
    unread = listed(audit, "lake")
    assert {name for name in there if unread.get(name) == ()} == there - {
        "events",
        "stream_months",
        "commits",
        "home_log",
        "merkle_nodes",
    }
    assert unread["events"] == ("epoch", "xid", "position")
    assert unread["stream_months"] == ("aggregate_type",)
    assert {"input_hash", "committed_at"} <= set(unread["commits"])
    assert "events" not in listed(case.verify(deep=True), "lake")
    assert "events" not in listed(
        case.verify(JANUARY, FEBRUARY), "lake"
    )  # sealed: their Merkle roots hold these columns
    assert {"payload", "metadata", "created_at"} <= set(listed(audit, "store")["events"])
    assert listed(case.verify(lake_only=True), "store") == {"all of it": ()}
    assert "  lake  utterances: made from events; `refold fold` makes it again" in render_audit(audit).splitlines()
    assert "signature" in listed(case.verify(must_be_signed=False), "lake")["home_log"]
    assert "noted_at" in listed(case.verify(lake_only=True), "lake")["home_log"]


def test_a_payload_at_the_tail_of_the_store_takes_deep(case: Case) -> None:
    """The last event of a stream is changed in the store's table alone: listed as unread, and found by `deep`."""
    case.unguarded(
        'UPDATE refold.events SET payload = \'{"text": "other"}\' '
        f"WHERE aggregate_id = '{VICTIM}' AND created_at >= '2026-03-01' AND stream_version = "
        f"(SELECT max(stream_version) FROM refold.events WHERE aggregate_id = '{VICTIM}')"
    )
    shallow = case.verify(MARCH)
    assert shallow.all_findings == []
    assert "payload" in listed(shallow, "store")["events"]
    assert {f.code for f in case.verify(MARCH, deep=True).all_findings} == {"event_differs"}
