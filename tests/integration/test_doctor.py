"""`refold doctor` on homes that are well, and on homes of which one thing was broken: its finding, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import pipelines.doctor.store
from pipelines.doctor.examine import examine
from pipelines.doctor.finding import Finding
from pipelines.export.seal import seal_month
from pipelines.lake import commits
from pipelines.lake.datasets import STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store, connect
from tests.support.databases import copied_database, filled_template
from tests.support.lake_rows import ROWS
from tests.support.roles import logged_in
from tests.support.two_months import FEBRUARY, JANUARY, say, say_and_fold

THROWN_AWAY = {"durability"}
"""The tests' server is not durable, which is a finding."""


@pytest.fixture(scope="module")
def six(server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A database and a lake with six conversations, exported and folded, to copy together."""
    lake = tmp_path_factory.mktemp("six") / "lake"
    with filled_template(server, template, lake, say_and_fold) as name:
        yield name, lake


@pytest.fixture
def home(tmp_path: Path, server: EmbeddedServer, six: tuple[str, Path]) -> Iterator[Settings]:
    """Settings of a home with them, which nobody else may read."""
    database, lake = six
    settings = Settings(home=tmp_path / "home", dsn=None, lake=tmp_path / "home" / "lake", memory_bytes=3 * 10**9)
    shutil.copytree(lake, settings.lake)
    for path in (settings.home, settings.lake):
        path.chmod(0o700)
    with copied_database(server, database) as name:
        yield replace(settings, dsn=server.dsn_of(name))


@pytest.fixture
def opened(home: Settings) -> Iterator[Store]:
    """Its store, for the superuser that may break it."""
    assert home.dsn is not None
    with connect(home.dsn) as conn:
        yield Store(conn, home.dsn)


def wrong(settings: Settings, *, beside: set[str] = frozenset({"role"})) -> list[Finding]:
    """Findings that are not ok, but for the role, a superuser's, and what the tests' server is."""
    found = examine(settings).findings
    assert all(finding.seen and not finding.seen.endswith(".") for finding in found)
    assert all(finding.todo for finding in found if finding.state != "ok")
    return [finding for finding in found if finding.state != "ok" and finding.check not in {*THROWN_AWAY, *beside}]


def only(settings: Settings, check: str, state: str) -> str:
    """What the one finding says that is not ok."""
    (finding,) = wrong(settings)
    assert (finding.check, finding.state) == (check, state), finding
    return f"{finding.seen}: {finding.todo}"


def standing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every path with mode, bytes and time of its last change."""
    return {
        path.relative_to(folder).as_posix(): (status.st_mode, status.st_size, status.st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
        if (status := path.lstat())
    }


def test_a_home_that_is_well_and_nothing_changes(home):
    """Every check answers, none is wrong, and no path of the home is another one afterwards."""
    before = standing(home.home)
    assert wrong(home) == []
    assert standing(home.home) == before
    checks = [finding.check for finding in examine(home).findings]
    assert checks[0] == "PostgreSQL"
    assert {"guards", "months", "stalls", "clock", "future", "cluster", "schema"} <= set(checks)
    assert {"lake", "views", "folds", "leftovers", "disk", "key", "files", "packages", "versions"} <= set(checks)


@pytest.mark.quick
def test_a_home_that_is_not_there_is_not_made(settings):
    """Nothing is wrong with nothing; what to do first is said."""
    assert wrong(settings) == []
    assert not settings.home.exists()
    assert any("refold demo" in (finding.todo or "") for finding in examine(settings).findings)


def test_a_lake_that_is_a_file(settings):
    """It is told as that, and not as a lake that is yet to come."""
    settings.home.mkdir(parents=True)
    settings.lake.write_text("junk", encoding="utf-8")
    (found,) = [finding for finding in wrong(settings) if finding.check == "lake"]
    assert found.seen == f"{settings.lake} is no folder"


def test_the_verb(home, monkeypatch, refold):
    """Exit code 0 with warnings, 3 with a failure; a table, or one object; a home that others may read is left so."""
    monkeypatch.setenv("REFOLD_HOME", str(home.home))
    monkeypatch.setenv("REFOLD_DSN", home.dsn)
    home.home.chmod(0o755)
    code, out, err = refold("doctor")
    assert (code, err) == (0, "")
    assert "warn  files" in out
    assert "what to do" in out
    assert home.home.stat().st_mode & 0o777 == 0o755
    monkeypatch.setenv("REFOLD_DSN", "postgresql://nobody@127.0.0.1:1/none")
    code, out, err = refold("doctor", "--json")
    found = json.loads(out)
    assert (code, err, found["state"]) == (3, "", "fail")
    assert found["findings"][0]["check"] == "PostgreSQL"
    assert "does not answer" in found["findings"][0]["seen"]
    assert len(found["findings"]) > 8, "the rest is looked at all the same"


def test_an_embedded_server_that_does_not_start(tmp_path):
    """A data directory that is none: a finding with the server's own words, and the rest."""
    (tmp_path / "postgres").mkdir(parents=True, mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n", encoding="utf-8")
    tmp_path.chmod(0o700)
    found = wrong(Settings(home=tmp_path, dsn=None, lake=tmp_path / "lake"))
    assert (found[0].check, found[0].state) == ("PostgreSQL", "fail")
    assert {finding.state for finding in found[1:]} <= {"warn"}, "as root the server's account is let through the home"


@pytest.mark.parametrize(
    ("group", "state", "says"),
    [("refold_writer", "warn", "GRANT refold_exporter"), ("refold_exporter", "ok", "member of refold_exporter")],
)
def test_the_rights_of_a_role(group, state, says, home, opened):
    """What a role lacks is named with the grant; one with enough is no finding, and no part of the look is refused it."""
    with logged_in(opened, group) as member:
        dsn = opened.dsn.replace("refold@", f"{member.info.user}@", 1)
        found = {finding.check: finding for finding in examine(replace(home, dsn=dsn)).findings}
    assert found["role"].state == state
    assert says in f"{found['role'].seen}: {found['role'].todo}"
    if group == "refold_exporter":
        assert {finding.check for finding in found.values() if finding.state != "ok"} == THROWN_AWAY


def test_a_role_with_all_rights_and_one_with_none(home, opened):
    """A superuser is a warning; who is in no group cannot read what is asked next."""
    assert [each.state for each in examine(home).findings if each.check == "role"] == ["warn"]
    opened.conn.execute("CREATE ROLE nobody_of_refold LOGIN")
    try:
        found = examine(replace(home, dsn=opened.dsn.replace("refold@", "nobody_of_refold@", 1)))
    finally:
        opened.conn.execute("DROP ROLE nobody_of_refold")
    assert found.state == "fail"
    assert [each.state for each in found.findings if each.check == "role"] == ["fail"]


def test_guards_that_are_off(home, opened):
    """A trigger and an event trigger: each is a finding of its own, the first a failure."""
    opened.conn.execute("ALTER EVENT TRIGGER refold_guard_ddl_end DISABLE")
    assert "event trigger refold_guard_ddl_end" in only(home, "guards", "warn")
    opened.conn.execute("ALTER TABLE refold.events_2026_02 DISABLE TRIGGER refold_append_only_row")
    found = wrong(home)
    assert sorted(finding.state for finding in found) == ["fail", "warn"]
    assert any("triggers of events_2026_02" in finding.seen for finding in found)


def test_a_schema_that_lacks_files(home, opened):
    """Nothing that needs the schema is asked then."""
    opened.conn.execute("DELETE FROM refold.migrations WHERE name = 'functions/append_events.sql'")
    assert "refold db migrate" in only(home, "schema", "fail")
    assert "guards" not in {finding.check for finding in examine(home).findings}


def test_a_database_that_came_into_another_cluster(home, opened):
    """Appends are stopped; that is said before one fails."""
    opened.conn.execute("UPDATE refold.store SET system_identifier = 42, checked_start = now() - interval '1 day'")
    assert "refold db new-epoch" in only(home, "cluster", "fail")


def test_months_stray_closing_and_to_come(home, opened, monkeypatch):
    """Events in DEFAULT, a seal that was stopped, and a month to come without a partition."""
    event = NewEvent("user.utterance.v1", {"text": "?"}, {"actor": "user"}, datetime(2024, 5, 1, tzinfo=UTC))
    opened.append(uuid4(), "conversation", [event], "any")
    found = {finding.check: finding for finding in wrong(home)}
    assert "--make 2024-05" in (found["months"].todo or "")
    opened.make_month("2024-05")
    opened.close_month("2024-05")
    assert "refold seal 2024-05" in {each.check: each.todo or "" for each in wrong(home)}["months"]
    opened.unseal_month("2024-05", "r")

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=800)

    monkeypatch.setattr(pipelines.doctor.store, "datetime", Later)
    missing = [finding for finding in wrong(home) if finding.check == "months"]
    assert "no partition for" in missing[0].seen
    assert any(finding.check == "clock" and finding.state == "fail" for finding in wrong(home)), (
        "that clock is wrong, too"
    )


def test_a_transaction_that_holds_followers_back(home, opened, monkeypatch):
    """Its process, and how it is ended; what is as old as any is not left out, and what began now is none."""
    with psycopg.connect(opened.dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        assert wrong(home) == []
        monkeypatch.setattr(pipelines.doctor.store, "STALL_SECONDS", 0.0)
        assert f"pg_terminate_backend({other.info.backend_pid})" in only(home, "stalls", "warn")
        monkeypatch.setattr(pipelines.doctor.store, "LONG_STALL_SECONDS", 0.0)
        only(home, "stalls", "fail")


def test_events_of_times_to_come(home, opened):
    """A writer's clock that is a day before."""
    say(opened, uuid4(), datetime.now(UTC) + timedelta(days=1))
    assert {"future", "folds"} == {finding.check for finding in wrong(home)}


def test_what_the_lake_lacks(home, opened):
    """Events that wait for an export are a warning with what to run."""
    say(opened, uuid4(), JANUARY)
    assert "not in the lake yet (2026-01): run `refold export`" in only(home, "folds", "warn")


@pytest.mark.parametrize("damage", ["cut", "gone", "log"])
def test_a_lake_that_is_not_whole(damage, home):
    """A file without its end, none, and a log that is no JSON: the file or the table is named, with what to do."""
    lake = Lake.from_settings(home)
    path = Path(lake.files("conversation_months")[0])
    if damage == "log":
        for entry in (lake.root / "conversation_months" / "_delta_log").glob("*.json"):
            entry.write_bytes(b"no json")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.unlink()
    assert "conversation_months" in only(home, "lake", "fail")


def test_what_a_killed_writer_left(home):
    """A file that no commit names, old enough to be nobody's."""
    left = Lake.from_settings(home).table("utterances").path / "month=2026-02" / "part-00000-dead.parquet"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert "orphan" in only(home, "leftovers", "warn")
    assert left.exists()


def test_a_disk_that_is_nearly_full(home, tmp_path):
    """A lake on a disk of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk may be mounted here")
    try:
        shutil.copytree(home.lake, disk / "lake")
        (disk / "lake").chmod(0o700)
        assert "make room for" in only(replace(home, lake=disk / "lake"), "disk", "fail")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_signing_key(home, opened, tmp_path):
    """One that is not there, is none, may be read by others; and none where a list was signed, which must be signed again."""
    key = tmp_path / "key.pem"
    signing = replace(home, signing_key=key)
    assert str(key) in only(signing, "key", "fail")
    key.write_text("no key", encoding="utf-8")
    only(signing, "key", "fail")
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o644)
    assert "chmod 600" in only(signing, "key", "warn")
    key.chmod(0o600)
    assert wrong(signing) == []
    seal_month(opened, Lake.from_settings(home), "2026-02", signing_key=key)
    assert wrong(signing) == []
    assert "REFOLD_SIGNING_KEY" in only(home, "signatures", "warn")


def test_files_and_databases(home):
    """A folder that others may enter, and a database of Dagster that is none: neither is touched."""
    runs = home.home / "dagster" / "history" / "runs.db"
    runs.parent.mkdir(parents=True)
    for path in (runs.parent, runs.parent.parent):
        path.chmod(0o700)
    runs.write_bytes(b"no database" * 500)
    assert "history of runs" in only(home, "databases", "fail")
    runs.unlink()
    home.lake.chmod(0o750)
    assert str(home.lake) in only(home, "files", "warn")
    assert home.lake.stat().st_mode & 0o777 == 0o750
    assert wrong(replace(home, is_shared=True)) == []


def test_packages_and_versions(home, monkeypatch):
    """A package that is older than its range, and a lake that a newer Refold has written."""
    with monkeypatch.context() as patch:
        real = commits.metadata.version
        patch.setattr(
            "pipelines.doctor.machine.metadata.version", lambda name: "1.0" if name == "duckdb" else real(name)
        )
        assert "duckdb 1.0" in only(home, "packages", "warn")
    write_as("99.1", Lake.from_settings(home), monkeypatch.setattr)
    found = {finding.check: finding for finding in wrong(home)}
    assert "install Refold 99.1" in (found["versions"].todo or "")


def write_as(version: str, lake: Lake, patch: Callable[..., None]) -> None:
    """Commit a month as another version of Refold."""
    patch(commits, "_code_version", lambda: version)
    with lake.connect() as connection:
        month = {"month": f"{FEBRUARY:%Y}-03"}
        lake.write_partition(STREAM_MONTHS, month, connection, ROWS, {"n": 3}, input_hash="h")
