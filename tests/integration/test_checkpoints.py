"""Checkpoints kept elsewhere: what was changed before them is found, by whoever, and places that keep them."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import metamorphic_log
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from psycopg.conninfo import conninfo_to_dict

from pipelines.audit.checkpoints import Against, make_checkpoint, origin_of
from pipelines.audit.findings import Audit
from pipelines.audit.places import file_name, keep, shown, write_checkpoint
from pipelines.audit.verify import verify
from pipelines.errors import BadInputError
from pipelines.export.home_log import copy_home_log, row_of
from pipelines.export.month import export_month
from pipelines.export.seal import seal_month
from pipelines.lake.datasets import HOME_LOG
from pipelines.lake.lake import Lake
from pipelines.proof.signing import key_id, read_private_key, read_public_keys
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store

JANUARY, MARCH = "2026-01", "2026-03"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {key_id(KEY.public_key()): KEY.public_key()}
STREAM = UUID("00000000-0000-4000-8000-000000000001")


def say(store: Store, stream: UUID, at: datetime, count: int) -> None:
    events = [NewEvent("user.utterance.v1", {"text": f"n {n}"}, {}, at + timedelta(minutes=n)) for n in range(count)]
    store.ensure_months([at])
    store.append(stream, "conversation", events, "any")


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(settings.lake)


@pytest.fixture
def log(store: Store, lake: Lake) -> Store:
    """January sealed, March open and exported."""
    say(store, STREAM, datetime(2026, 1, 10, tzinfo=UTC), 5)
    seal_month(store, lake, JANUARY)
    for stream in (STREAM, uuid4(), uuid4()):
        say(store, stream, datetime(2026, 3, 10, tzinfo=UTC), 4)
    export_month(store.dsn, lake, MARCH)
    return store


def kept(store: Store, path: Path) -> Against:
    note, _ = make_checkpoint(store, origin_of(store, None), KEY, 10**9)
    write_checkpoint(path, note.write())
    return Against.read(path)


def check(store: Store, lake: Lake, *against: Against, **options: object) -> Audit:
    given = {"public_keys": KEYS, "at": datetime(2026, 2, 1, tzinfo=UTC)} | options
    return verify(Lake(lake.root), store, against=against, **given)  # type: ignore[arg-type]


def unguarded(store: Store, *statements: str) -> None:
    """What only a superuser can do, with every trigger back in its place afterwards."""
    store.conn.execute("SET event_triggers = off")
    for table in ("events", "home_log"):
        store.conn.execute(f"ALTER TABLE refold.{table} DISABLE TRIGGER ALL".encode())
    for statement in statements:
        store.conn.execute(statement.encode())
    for table in ("events", "home_log"):
        for trigger in ("refold_append_only", "refold_append_only_row"):
            store.conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER {trigger}".encode())
    store.conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_sealed")
    store.conn.execute("RESET event_triggers")


def found(audit: Audit) -> set[tuple[str, str | None, str]]:
    return {(each.code, each.month, each.place) for each in audit.all_findings}


def test_a_log_that_went_on_is_the_one_that_was_kept(log: Store, lake: Lake, tmp_path: Path) -> None:
    """Appended to, exported, unsealed and sealed again: nothing before the checkpoint changed, and nothing is found."""
    first = kept(log, tmp_path / "first.txt")
    assert (first.checkpoint.size, [each.month for each in first.checkpoint.heads]) == (len(log.home_log()), [MARCH])
    assert found(check(log, lake, first)) == set()
    say(log, STREAM, datetime(2026, 3, 20, tzinfo=UTC), 3)
    log.unseal_month(JANUARY, "a late call")
    say(log, uuid4(), datetime(2026, 1, 20, tzinfo=UTC), 2)
    seal_month(log, lake, JANUARY)
    export_month(log.dsn, lake, MARCH)
    second = kept(log, tmp_path / "second.txt")
    audit = check(log, lake, first, second)
    assert (found(audit), audit.not_checked) == (set(), [])
    third = kept(log, tmp_path / "third.txt").checkpoint  # nothing happened here; transactions of other databases did
    assert (third.size, third.root) == (second.checkpoint.size, second.checkpoint.root)
    assert [(e.month, e.streams, e.root) for e in third.heads] == [
        (e.month, e.streams, e.root) for e in second.checkpoint.heads
    ]


def test_a_tail_cut_in_an_open_month_everywhere(log: Store, lake: Lake, tmp_path: Path) -> None:
    """Last events, their head and their export gone, by who can write all of it: only the checkpoint tells."""
    checkpoint = kept(log, tmp_path / "kept.txt")
    unguarded(
        log,
        f"DELETE FROM refold.events WHERE aggregate_id = '{STREAM}' AND stream_version = 9",
        f"UPDATE refold.streams AS s SET (stream_version, hash, created_at, order_xid) = (SELECT e.stream_version, e.hash, e.created_at, "
        f"e.order_xid FROM refold.events AS e WHERE e.aggregate_id = s.aggregate_id AND e.stream_version = 8) WHERE aggregate_id = '{STREAM}'",
    )
    again = Lake(lake.root.with_name("again"))
    export_month(log.dsn, again, JANUARY, full=True)
    export_month(log.dsn, again, MARCH)
    for name in ("home_log", "merkle_nodes"):
        (lake.root / name).rename(again.root / name)
    without = {each for each in found(check(log, again)) if each[1] == MARCH}
    assert without == set()
    assert ("tail_missing", MARCH, "store") in found(check(log, again, checkpoint))


def test_a_home_log_written_anew(log: Store, lake: Lake, tmp_path: Path) -> None:
    """An unseal taken out of the log of store and lake alike, with the state it left: only the checkpoint tells."""
    log.unseal_month(JANUARY, "quietly")
    seal_month(log, lake, JANUARY)
    checkpoint = kept(log, tmp_path / "kept.txt")
    gone = [each.entry for each in log.home_log() if each.month == JANUARY][4:]
    unguarded(
        log,
        f"DELETE FROM refold.home_log WHERE entry = ANY ('{{{','.join(map(str, gone))}}}')",
        "UPDATE refold.months SET generation = 1 WHERE month = '2026-01'",
    )
    entries = log.home_log()
    unguarded(
        log,
        *(
            f"UPDATE refold.home_log SET entry = {place} WHERE entry = {each.entry}"
            for place, each in enumerate(entries)
        ),
    )
    fresh = Lake(lake.root)
    rows = [row_of(each) for each in log.home_log()]
    (fresh.root / HOME_LOG.name).rename(tmp_path / "old")
    Lake(lake.root).append(HOME_LOG, rows)
    without = found(check(log, lake, public_keys={}))
    assert not {code for code, _, _ in without} & {"entry_missing", "entry_differs", "state_differs"}
    assert {"entry_missing", "checkpoint_differs"} & {code for code, _, _ in found(check(log, lake, checkpoint))}


def test_whose_checkpoint_it_is(log: Store, lake: Lake, tmp_path: Path) -> None:
    """Signed by another key, or changed: a finding; without a key, what was not checked is told; of another log: found."""
    checkpoint = kept(log, tmp_path / "kept.txt")
    other = Ed25519PrivateKey.generate().public_key()
    assert ("signature_missing", None, "manifest") in found(
        check(log, lake, checkpoint, public_keys={key_id(other): other})
    )
    audit = check(log, lake, checkpoint, public_keys={})
    assert audit.all_findings == []
    assert "whose key" in audit.not_checked[-1]
    forged = tmp_path / "forged.txt"
    forged.write_bytes((tmp_path / "kept.txt").read_bytes().replace(b"refold/", b"refold-"))
    assert found(check(log, lake, Against.read(forged)))
    with pytest.raises(BadInputError, match="is no checkpoint: it is not a signed note"):
        Against.read(Path(__file__))
    endless = tmp_path / "endless"
    endless.symlink_to("/dev/zero")
    with pytest.raises(BadInputError, match="more than 1,048,576 bytes"):
        Against.read(endless)
    for read in (read_private_key, lambda path: read_public_keys([path])):
        with pytest.raises(BadInputError, match="endless is"):
            read(endless)
    copy_home_log(log, lake)
    alone = check(None, lake, checkpoint)  # type: ignore[arg-type]
    assert found(alone) == set()
    assert any("heads of 2026-03" in note for note in alone.not_checked)


def test_places_that_keep_checkpoints(log: Store, tmp_path: Path, store_settings: Settings) -> None:
    """A folder, a git remote and a database get it once, byte for byte; one that cannot be reached is named, without its password."""
    note, checkpoint = make_checkpoint(log, "logs.example.org/refold", KEY, 10**9)
    remote = tmp_path / "remote.git"
    for command in (["init", "--quiet", "--bare", "--initial-branch", "log", str(remote)],):
        subprocess.run(["git", *command], check=True)
    seed = tmp_path / "seed"
    subprocess.run(["git", "clone", "--quiet", str(remote), str(seed)], check=True, capture_output=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=seed, check=True)
    subprocess.run(["git", "push", "--quiet", "origin", "HEAD:log"], cwd=seed, check=True)
    nowhere = "postgresql://ada:secret@127.0.0.1:1/none"
    places = [
        str(tmp_path / "folder"),
        f"git+file://{remote}#log",
        address_of(log.dsn),
        nowhere,
        "s3://bucket/x",
        "git+file:///nowhere",
    ]
    for _ in range(2):
        told = keep(places, checkpoint, note.write())
        assert [each.error is None for each in told] == [True, True, True, False, False, False]
        assert "secret" not in json.dumps([[each.place, each.error] for each in told])
    name = file_name(checkpoint)
    assert (tmp_path / "folder" / name).read_bytes() == note.write()
    assert (tmp_path / "folder" / name).stat().st_mode & 0o777 == 0o600
    shown_there = subprocess.run(["git", "show", f"log:{name}"], cwd=remote, check=True, capture_output=True).stdout
    assert shown_there == note.write()
    count = subprocess.run(["git", "rev-list", "--count", "log"], cwd=remote, check=True, capture_output=True).stdout
    assert int(count) == 2
    with psycopg.connect(log.dsn) as connection:
        rows = connection.execute("SELECT origin, size, note FROM refold_checkpoints").fetchall()
    assert rows == [("logs.example.org/refold", checkpoint.size, note.write())]
    (tmp_path / "folder" / name).write_bytes(b"another")
    assert "holds something else" in str(keep(places[:1], checkpoint, note.write())[0].error)


def address_of(dsn: str) -> str:
    """The connection string as an address."""
    parts = conninfo_to_dict(dsn)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={quote(str(parts['host']), safe='')}&port={parts.get('port', 5432)}"


def test_a_place_is_told_without_its_secrets() -> None:
    """User, password and parameters are left out."""
    assert (
        shown("postgresql://ada:secret@db.example.org:5433/log?password=secret")
        == "postgresql://db.example.org:5433/log"
    )
    assert shown("git+https://ada:secret@git.example.org/log.git#main") == "git+https://git.example.org/log.git#main"
    assert shown("/mnt/evidence") == "/mnt/evidence"


def test_the_verb(refold, log: Store, tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person types it: without a key it says how to make one; with one, file and places; verify takes the file."""
    code, _, told = refold("checkpoint")
    assert (code, "openssl genpkey" in told) == (2, True)
    monkeypatch.setenv("REFOLD_SIGNING_KEY", str(key_file))
    monkeypatch.setenv("REFOLD_ORIGIN", "logs.example.org/refold")
    monkeypatch.setenv("REFOLD_CHECKPOINTS", f"{tmp_path / 'evidence'} git+file:///nowhere")
    code, out, _ = refold("checkpoint", "--json")
    made = json.loads(out)
    assert (code, made["origin"], [place["error"] is None for place in made["places"]]) == (
        1,
        "logs.example.org/refold",
        [True, False],
    )
    monkeypatch.setenv("REFOLD_CHECKPOINTS", str(tmp_path / "evidence"))
    code, out, _ = refold("checkpoint", "-o", str(tmp_path / "mine.txt"))
    assert (code, "heads of months that are not sealed: 2026-03" in out) == (0, True)
    assert metamorphic_log.checkpoint_verify((tmp_path / "mine.txt").read_text(), [made["key"]]).size == made["size"]
    monkeypatch.delenv("REFOLD_SIGNING_KEY")
    for file in (made["file"], tmp_path / "mine.txt", *(tmp_path / "evidence").iterdir()):
        assert refold("verify", "--against", str(file))[0] == 0
    assert refold("verify", "--against", str(tmp_path / "none.txt"))[0] == 2
    assert refold("verify", "--witness", "x")[0] == 2
    unguarded(log, f"DELETE FROM refold.events WHERE aggregate_id = '{STREAM}' AND stream_version = 9")
    code, out, _ = refold("verify", "--against", made["file"])
    assert (code, "tail_missing" in out) == (3, True)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The private key as a PEM file."""
    path = tmp_path / "key.pem"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path
