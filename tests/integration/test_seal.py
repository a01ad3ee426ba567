"""Sealing: nothing of a closed month is lost, nothing enters a sealed one, and any interruption is made good."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pipelines.audit.home_log import lake_entries
from pipelines.audit.verify import verify
from pipelines.export import seal as sealing
from pipelines.export import snapshot
from pipelines.export.errors import NotSealableError, SealRefusedError
from pipelines.export.month import export_month
from pipelines.export.seal import month_bounds_us, seal_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import read_file_list, read_manifest
from pipelines.settings import Settings
from pipelines.store import Entry, InvalidEvent, MonthSealed, NewEvent, Signed, Store, StoreBusy
from tests.oracles.merkle import tree
from tests.support.waiting import PATIENCE

MAY = "2026-05"
AT = datetime(2026, 5, 31, 23, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
# Without Dagster, whose start would be nearly all of the time in which a kill can strike.
_SEAL = f"""
from pipelines.export.seal import seal_month
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store

settings = Settings.from_env()
with Store.open(settings) as store:
    print("begun", flush=True)
    seal_month(store, Lake.from_settings(settings), {MAY!r})
"""
ROWS = """
SELECT hash, epoch, xid::text::bigint, position FROM refold.events
WHERE to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') = '2026-05' ORDER BY aggregate_id, stream_version
"""


def say(store: Store, stream: UUID, *texts: str, at: datetime = AT) -> None:
    events = [NewEvent("user.utterance.v1", {"text": text}, {"actor": "user"}, at) for text in texts]
    store.append(stream, "conversation", events, "any")


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(settings.lake)


@pytest.fixture
def may(store: Store) -> Store:
    """A store with three streams in May 2026."""
    store.ensure_months([AT])
    for _ in range(3):
        say(store, uuid4(), "a", "b", "c")
    return store


def state(store: Store) -> tuple[str, int] | None:
    return store.month_state(MAY)


def sealed(entries: list[Entry], kind: str = "sealed") -> list[Signed]:
    return [each.signed for each in entries if each.kind == kind]


def manifests(store: Store) -> list:
    return [read_manifest(signed.text) for signed in sealed(store.home_log())]


def in_lake(lake: Lake) -> int:
    with lake.connect() as connection:
        return connection.sql("SELECT count(*) FROM events WHERE month = '2026-05'").fetchall()[0][0]


@pytest.mark.quick
def test_the_manifest_says_what_the_store_holds(may: Store, lake: Lake) -> None:
    """Rows, streams, order, files and root are those computed anew from the store and the files, by other means."""
    result = seal_month(may, lake, MAY)
    rows = may.conn.execute(ROWS).fetchall()
    leaves = [hashlib.sha256(b"\x00" + row[0] + struct.pack(">iqq", *row[1:])).digest() for row in rows]
    (manifest,) = manifests(may)
    assert (manifest.rows, manifest.streams, manifest.merkle_root) == (9, 3, tree(leaves).hex())
    assert (manifest.first, manifest.last) == (min(row[1:] for row in rows), max(row[1:] for row in rows))
    assert (manifest.month, manifest.generation, manifest.supersedes, manifest.public_key_id) == (MAY, 1, None, None)
    commit = lake.last_commit("events", {"month": MAY})
    text = sealed(may.home_log())[0].text
    (listed,) = [read_file_list(signed.text) for signed in sealed(may.home_log(), "files")]
    assert (listed.delta_version, listed.commit_number) == (commit.delta_version, commit.number)
    assert (listed.number, listed.manifest_sha256) == (1, hashlib.sha256(text.encode()).hexdigest())
    for file in listed.files:
        content = (lake.root / "events" / file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size_bytes)
    assert sum(file.row_count for file in listed.files) == 9
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text
    assert lake_entries(lake) == may.home_log()
    assert [each.kind for each in may.home_log() if each.month == MAY] == ["opened", "closing", "sealed", "files"]
    assert (result.is_written, result.manifest_sha256) == (True, hashlib.sha256(text.encode()).hexdigest())


def test_sealing_again_changes_nothing(may: Store, lake: Lake) -> None:
    """A sealed month is found to be sealed; neither side gets a second manifest."""
    first = seal_month(may, lake, MAY)
    again = seal_month(may, Lake(lake.root), MAY)
    assert (first.is_written, again.is_written) == (True, False)
    assert again.manifest_sha256 == first.manifest_sha256
    assert len(sealed(may.home_log())) == len(sealed(lake_entries(lake))) == 1


def test_other_rules_leave_a_sealed_month_alone(may: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of the export writes open months anew; what a manifest proves stays, file by file."""
    june = datetime(2026, 6, 1, tzinfo=UTC)
    may.ensure_months([june])
    say(may, uuid4(), "a", at=june)
    seal_month(may, lake, MAY)
    export_month(may.dsn, lake, "2026-06")
    files = lake.files("events", {"month": MAY})
    monkeypatch.setattr(snapshot, "_RULES", "export/another")
    assert export_month(may.dsn, lake, "2026-06").is_written
    assert not export_month(may.dsn, lake, MAY, full=True).is_written
    assert lake.files("events", {"month": MAY}) == files
    may.unseal_month(MAY, "to write it anew")
    assert export_month(may.dsn, lake, MAY).is_written


def test_killed_seals_go_on(may: Store, lake: Lake, store_settings: Settings) -> None:
    """`kill -9` at random moments: a month is sealed with a manifest or not at all, and the same verb ends what was begun.

    `REFOLD_TEST_KILLS` sets how often.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "REFOLD_DSN": may.dsn, "REFOLD_LAKE": str(lake.root)}
    environment["REFOLD_HOME"] = str(store_settings.home)
    begun = time.monotonic()
    for kill in range(int(os.environ.get("REFOLD_TEST_KILLS", "2"))):
        with subprocess.Popen(
            [sys.executable, "-c", _SEAL], env=environment, cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"begun\n"
            time.sleep(random.uniform(0, 0.5))
            process.kill()
        is_sealed = state(may) == ("sealed", kill + 1)
        assert len(sealed(may.home_log())) == kill + is_sealed
        result = seal_month(may, Lake(lake.root), MAY)
        assert (result.is_written, result.generation) == (not is_sealed, kill + 1)
        assert len(sealed(may.home_log())) == len(sealed(lake_entries(Lake(lake.root)))) == kill + 1
        assert verify(Lake(lake.root), may).all_findings == []
        may.unseal_month(MAY, "once more")
        say(may, uuid4(), "another")
        print(f"{kill + 1} kills, {time.monotonic() - begun:.0f} s, sealed already: {is_sealed}", flush=True)


@pytest.mark.parametrize("step", ["export_month", "scan_month", "sign", "copy_home_log"])
def test_an_interrupted_seal_goes_on(may: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Stopped after any step, the month takes no event, and the same verb ends what was begun, once."""

    def stop(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealing, step, stop)
        with pytest.raises(KeyboardInterrupt):
            seal_month(may, lake, MAY)
    assert state(may) == ("sealed" if step == "copy_home_log" else "closing", 1)
    with pytest.raises(MonthSealed):
        say(may, uuid4(), "late")
    seal_month(may, Lake(lake.root), MAY)
    assert state(may) == ("sealed", 1)
    assert len(sealed(may.home_log())) == len(sealed(lake_entries(lake))) == 1
    assert in_lake(lake) == 9


def test_unsealed_amended_and_sealed_again(may: Store, lake: Lake) -> None:
    """A late event after an unseal is in the second generation; both manifests stay and the second names the first."""
    seal_month(may, lake, MAY)
    with pytest.raises(InvalidEvent, match="needs a reason"):
        may.unseal_month(MAY, "")
    assert may.unseal_month(MAY, "a late call") == 2
    say(may, uuid4(), "late")
    assert seal_month(may, lake, MAY).generation == 2
    first, second = manifests(may)
    assert (first.rows, second.rows, in_lake(lake)) == (9, 10, 10)
    assert second.supersedes == sealed(may.home_log())[0].sha256
    assert [each.generation for each in lake_entries(lake) if each.kind == "sealed"] == [1, 2]


@pytest.mark.parametrize("prepared", [False, True])
def test_a_writer_that_commits_late_is_waited_for(
    may: Store, store_settings: Settings, lake: Lake, prepared: bool
) -> None:
    """Events of a transaction, running or prepared, that was there before the seal are in the sealed month."""
    gid = f"late in {may.conn.info.dbname}"
    with Store.open(store_settings) as writer:
        writer.conn.execute("BEGIN")
        say(writer, uuid4(), "late", "later")
        if prepared:
            writer.conn.execute(f"PREPARE TRANSACTION '{gid}'")
        with pytest.raises(StoreBusy, match=gid if prepared else f"pid {writer.conn.info.backend_pid}"):
            seal_month(may, lake, MAY, wait_seconds=0.1)
        assert state(may) == ("open", 1)
        sealed = []
        sealer = threading.Thread(target=lambda: sealed.append(seal_month(may, lake, MAY, wait_seconds=60)))
        sealer.start()
        time.sleep(0.2)
        writer.conn.execute(f"COMMIT PREPARED '{gid}'" if prepared else "COMMIT")
        sealer.join()
    assert (sealed[0].rows, in_lake(lake), state(may)) == (11, 11, ("sealed", 1))


def test_writers_while_a_month_is_sealed(may: Store, store_settings: Settings, lake: Lake) -> None:
    """Every append that was acknowledged is in the sealed month; every other was refused as MonthSealed."""
    acknowledged, refused, stop = [], [], threading.Event()

    def write() -> None:
        with Store.open(store_settings) as writer:
            while not stop.is_set():
                stream = uuid4()
                try:
                    say(writer, stream, "x")
                    acknowledged.append(str(stream))
                except MonthSealed:
                    refused.append(stream)
                    return

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 20:
        time.sleep(0.01)
    result = seal_month(may, lake, MAY, wait_seconds=60)
    for writer in writers:
        writer.join(PATIENCE)
    stop.set()
    assert len(refused) == 2
    assert result.rows == in_lake(lake) == 9 + len(acknowledged)
    with lake.connect() as connection:
        found = {row[0] for row in connection.sql("SELECT aggregate_id FROM events").fetchall()}
    assert set(acknowledged) <= found


def test_an_import_into_a_sealed_month_is_refused(may: Store, lake: Lake, tmp_path) -> None:
    """Imported history dated into a sealed month is refused, whole; dated elsewhere it comes in; the seal stays true."""
    seal_month(may, lake, MAY)
    path = tmp_path / "late.jsonl"

    def line(started: str) -> None:
        told = {"source": "s", "conversation_id": started, "started_at": started}
        path.write_text(json.dumps(told | {"messages": [{"role": "user", "content": "x"}]}) + "\n", encoding="utf-8")

    line("2026-05-10T10:00:00Z")
    with pytest.raises(MonthSealed, match="2026-05 is sealed"):
        import_chat(may, [path])
    assert len(may.conn.execute(ROWS).fetchall()) == 9
    line("2026-06-10T10:00:00Z")
    assert import_chat(may, [path]).conversations == 1
    stream = may.conn.execute("SELECT aggregate_id FROM refold.events LIMIT 1").fetchone()[0]
    with pytest.raises(MonthSealed):  # a fact of May for a stream of May
        say(may, stream, "late")
    now = datetime.now(UTC)
    may.append(
        stream,
        "conversation",
        [NewEvent("user.utterance.v1", {"text": "late"}, {"occurred_at": "2026-05-31"}, now)],
        "any",
    )
    assert len(may.conn.execute(ROWS).fetchall()) == 9


def test_what_cannot_be_sealed_says_what_to_do(store: Store, lake: Lake) -> None:
    """A month that runs, one whose events are strays, and one that does not exist; strays can be moved and then sealed."""
    now = datetime.now(UTC)
    say(store, uuid4(), "now", at=now)
    with pytest.raises(NotSealableError, match=r"has not ended.*can be sealed from"):
        seal_month(store, lake, f"{now:%Y-%m}")
    with pytest.raises(NotSealableError, match="there is no month '2020-01'"):
        seal_month(store, lake, "2020-01")
    say(store, uuid4(), "stray", at=datetime(1999, 7, 1, tzinfo=UTC))
    with pytest.raises(NotSealableError, match="refold db months --make 1999-07"):
        seal_month(store, lake, "1999-07")
    assert store.make_month("1999-07")
    assert seal_month(store, lake, "1999-07").rows == 1


def test_an_empty_month_can_be_sealed(store: Store, lake: Lake) -> None:
    """A month without events has a manifest too: that it was empty is a fact."""
    store.make_month(MAY)
    result = seal_month(store, lake, MAY)
    assert (result.rows, result.streams, result.merkle_root) == (0, 0, hashlib.sha256().hexdigest())
    assert manifests(store)[0].first is None


def test_a_damaged_month_is_not_sealed(may: Store, lake: Lake) -> None:
    """Events changed behind disabled triggers do not get a manifest; the month stays closing and can be opened."""
    victim = may.conn.execute("SELECT aggregate_id FROM refold.events LIMIT 1").fetchone()[0]
    may.conn.execute("SET event_triggers = off")
    may.conn.execute("ALTER TABLE refold.events DISABLE TRIGGER ALL")
    may.conn.execute("UPDATE refold.events SET payload = '{}' WHERE aggregate_id = %s AND stream_version = 2", [victim])
    may.conn.execute("ALTER TABLE refold.events ENABLE ALWAYS TRIGGER refold_append_only")
    may.conn.execute("ALTER TABLE refold.events ENABLE ALWAYS TRIGGER refold_append_only_row")
    may.conn.execute("RESET event_triggers")
    with pytest.raises(SealRefusedError, match=rf"first stream {victim} version 2 in .*broken link"):
        seal_month(may, lake, MAY)
    assert (state(may), sealed(may.home_log())) == (("closing", 1), [])
    may.unseal_month(MAY, "damaged")
    assert state(may) == ("open", 2)


@pytest.mark.parametrize("month", ["0001-01", "1969-12", "2024-02", "9999-12"])
def test_month_bounds_in_microseconds(month: str) -> None:
    """Bounds are whole UTC months, to the microsecond, before 1970 too."""
    start, stop = month_bounds_us(month)
    epoch, micro = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    assert f"{epoch + start * micro:%d %H:%M:%S.%f}" == "01 00:00:00.000000"
    assert (epoch + (stop - 1) * micro).strftime("%m %H:%M:%S.%f") == f"{month[5:]} 23:59:59.999999"


def test_the_verbs(refold, may: Store, store_settings: Settings) -> None:
    """seal, verify, unseal as a person types them: exit codes, one JSON object, a page, and errors that say what to do."""
    code, out, _ = refold("seal", MAY, "--json")
    made = json.loads(out)
    assert (code, made["month"], made["rows"], made["is_written"]) == (0, MAY, 9, True)
    assert refold("seal", MAY)[1].startswith("2026-05 is sealed, generation 1 (it was before)")
    code, out, _ = refold("verify", "--json")
    said = json.loads(out)
    assert (code, said["integrity"], said["completeness"]) == (0, "holds", "holds")
    assert [(m["month"], m["state"], m["integrity"]) for m in said["months"]] == [(MAY, "sealed", "holds")]
    (file,) = Lake.from_settings(store_settings).files("events")
    with open(file, "r+b") as stream:  # noqa: PTH123 - one byte in place
        stream.seek(100)
        byte = stream.read(1)[0]
        stream.seek(100)
        stream.write(bytes([byte ^ 1]))
    code, out, _ = refold("verify", "--month", MAY, "--lake-only")
    assert code == 3
    assert "against integrity" in out
    assert "file_changed" in out
    code, out, _ = refold("unseal", MAY, "--reason", "a late call")
    assert (code, out.startswith("2026-05 is open, generation 2")) == (0, True)
    for arguments, message in (
        (("seal", "2020-01"), "there is no month '2020-01'"),
        (("seal", f"{datetime.now(UTC):%Y-%m}"), "there is no month|has not ended"),
        (("unseal", MAY), "--reason is missing: why is it opened again?"),
        (("verify", "--month", "2020-01"), "neither the store nor the lake knows it"),
        (("verify", "--deep", "--lake-only"), "--deep compares with the store"),
    ):
        code, out, err = refold(*arguments)
        assert (code, out) == (2, ""), arguments
        assert __import__("re").search(message, err), err
