"""Evidence: what a bundle holds, that it holds together, and that nothing else than what was recorded passes for it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.errors import BadInputError
from pipelines.evidence.bundle import Bundle
from pipelines.evidence.chosen import choose_customer, choose_stream
from pipelines.evidence.sealed_months import NotProvenError
from pipelines.export.month import export_month
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store, connect
from tests.support.evidence import (
    ADA,
    JANUARY,
    KEY,
    MARCH,
    OF_OTHERS,
    ORIGIN,
    OTHER_KEY,
    REASON,
    SECRET,
    SHARED,
    TALK,
    copied,
    edit_events,
    edit_proof,
    fails,
    flipped,
    flips,
    list_anew,
    make_home,
    make_maker,
    pem,
    raw,
    report_of,
    say,
    sign,
    written_key,
)

FILES = ["README.txt", "events.jsonl", "files.txt", "proof.json", "report.html", "verify_bundle.py"]
# docs/proof.md, with the names of events.jsonl
_LINKS = """
WITH events AS (
    SELECT *, coalesce(lag(unhex(hash)) OVER (PARTITION BY stream ORDER BY version), unhex(repeat('00', 32))) AS prev,
        coalesce(digest, sha256(unhex(salt) || encode(payload || chr(10) || metadata))) AS bound
    FROM read_json($file, format = 'newline_delimited', columns = {
        'stream': 'VARCHAR', 'kind': 'VARCHAR', 'version': 'INTEGER', 'type': 'VARCHAR', 'type_version': 'INTEGER', 'time_us': 'BIGINT',
        'hash': 'VARCHAR', 'salt': 'VARCHAR', 'payload': 'VARCHAR', 'metadata': 'VARCHAR', 'digest': 'VARCHAR'
    })
)
SELECT version, hash = sha256(
    prev || encode(concat_ws(chr(10), '2', stream, kind, version, type, type_version, time_us, '')) || unhex(bound)
) FROM events ORDER BY version
"""


@pytest.fixture(scope="module")
def made(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Lake, dict[str, Bundle]]]:
    """The home of `make_home`, which tests leave as it is, and bundles of the whole talk, signed and not; made once."""
    name, folder = "refold_evidence", tmp_path_factory.mktemp("evidence")
    with connect(server.dsn) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
    dsn, lake = server.dsn_of(name), Lake(folder / "lake")
    with connect(dsn) as connection:
        store = Store(connection, dsn)
        make_home(store, lake)
        bundles = {
            each: make_maker(store, lake, key).make(choose_stream(store, lake, str(TALK)), folder / each, REASON)
            for each, key in (("signed", KEY), ("unsigned", None))
        }
        yield store, lake, bundles


@pytest.fixture
def home(made: tuple[Store, Lake, dict[str, Bundle]]) -> Store:
    return made[0]


@pytest.fixture
def lake(made: tuple[Store, Lake, dict[str, Bundle]]) -> Lake:
    return made[1]


@pytest.fixture
def bundle(made: tuple[Store, Lake, dict[str, Bundle]], tmp_path: Path) -> Bundle:
    """Evidence of the whole talk, signed; the test's own copy."""
    return own_copy(made[2]["signed"], tmp_path / "b")


@pytest.fixture
def unsigned(made: tuple[Store, Lake, dict[str, Bundle]], tmp_path: Path) -> Bundle:
    return own_copy(made[2]["unsigned"], tmp_path / "u")


@pytest.fixture
def own_lake(settings: Settings, store: Store) -> Lake:
    """The lake of a home that the test may change; `store` is its store."""
    lake = Lake(settings.lake)
    make_home(store, lake)
    return lake


def own_copy(bundle: Bundle, folder: Path) -> Bundle:
    shutil.copy(bundle.zip, folder.with_name(f"{folder.name}.zip"))
    return replace(bundle, folder=copied(bundle.folder, folder), zip=folder.with_name(f"{folder.name}.zip"))


def lines_of(made: Bundle) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (made.folder / "events.jsonl").read_bytes().splitlines()]


def test_a_bundle_says_of_each_event_what_may_be_said(bundle: Bundle):
    """A redacted event has a digest and an unproven view, an erased one a digest; what was hidden is in no file."""
    assert sorted(each.name for each in bundle.folder.iterdir()) == FILES
    lines = lines_of(bundle)
    assert [line["is"] for line in lines] == ["shown", "redacted", "shown", "erased", *["shown"] * 6]
    assert "card [redacted]" in lines[1]["unproven_payload"]
    assert not any("salt" in line or "payload" in line for line in (lines[1], lines[3]))
    for path in bundle.folder.iterdir():
        assert SECRET.encode() not in path.read_bytes()
    assert (bundle.sealed, bundle.chain_only) == ((JANUARY,), {MARCH: 3})


def test_what_is_proven_is_said_in_sentences(bundle: Bundle, unsigned: Bundle):
    """The verifier says what is proven, by whose key, and what is not: open months, redacted views, a key that nobody demanded."""
    told = "\n".join(report_of(bundle.folder, raw(KEY)).lines())
    assert "versions 1 to 10, to its end in the bundle, follow each other without a gap" in told
    assert "versions 1 to 7 are as sealed in 2026-01" in told
    assert "None was left out up to the end of 2026-01: version 7 was the last" in told
    assert "3 events of 2026-03: chain only, not sealed" in told
    assert "signed by the key that was demanded" in told
    assert "unproven_payload" in told
    assert "which proves nothing about whose that is" in "\n".join(report_of(bundle.folder).lines())
    assert "shows damage, not forgery" in "\n".join(report_of(unsigned.folder).lines())


def test_every_link_is_that_of_the_expression_in_the_documents(bundle: Bundle):
    """DuckDB, by the expression of docs/proof.md, finds the hashes that the bundle has."""
    with duckdb.connect() as connection:
        found = connection.sql(_LINKS, params={"file": str(bundle.folder / "events.jsonl")}).fetchall()
    assert found == [(version, True) for version in range(1, 11)]


def test_a_key_that_is_demanded_must_be_the_one(bundle: Bundle, unsigned: Bundle):
    """Neither another key nor none passes for it."""
    assert fails(bundle.folder, raw(KEY)) is None
    assert fails(bundle.folder, raw(OTHER_KEY)) == "the bundle is signed by another key than the one that was demanded"
    assert fails(unsigned.folder, raw(KEY)) == "the bundle is not signed, and a key was demanded"


def test_any_bit_is_found(bundle: Bundle, unsigned: Bundle):
    """A bit that is another, in any file, is found; with a key, with the key demanded, and without one."""
    for made, keys in ((bundle, (raw(KEY),)), (bundle, ()), (unsigned, ())):
        missed = [place for place in flips(made.folder, 120, seed=7) if flipped(made.folder, *place, *keys) is None]
        assert missed == []


def test_every_bit_of_the_list_is_found(bundle: Bundle, unsigned: Bundle):
    """The list of files is determined by what it lists, so no bit of it can be another either."""
    for made in (bundle, unsigned):
        size = (made.folder / "files.txt").stat().st_size
        missed = [bit for bit in range(0, size * 8, 3) if flipped(made.folder, "files.txt", bit) is None]
        assert missed == []


def _salt(events: list[dict[str, Any]]) -> None:
    events[0]["salt"] = "00" * 16


def _word(events: list[dict[str, Any]]) -> None:
    events[4]["payload"] = events[4]["payload"].replace("x", "z")


def _move(events: list[dict[str, Any]]) -> None:
    events[4], events[5] = events[5], events[4]


def _renumber(events: list[dict[str, Any]]) -> None:
    del events[5]
    for number, each in enumerate(events, 1):
        each["version"] = number


def _drop_last(events: list[dict[str, Any]]) -> None:
    del events[-1]


def _position(events: list[dict[str, Any]]) -> None:
    events[2]["position"] += 1


def _position_of_first(events: list[dict[str, Any]]) -> None:
    events[0]["position"] += 1


def _unerase(events: list[dict[str, Any]]) -> None:
    events[3] = {**events[3], "is": "shown", "salt": "00" * 16, "payload": "{}", "metadata": "{}"}
    del events[3]["digest"]


def _extra(events: list[dict[str, Any]]) -> None:
    events[0]["note"] = "x"


def _boolean(events: list[dict[str, Any]]) -> None:
    events[0]["version"] = True


EVENTS_FORGED: list[tuple[Callable[[list[dict[str, Any]]], None], str]] = [
    (_salt, f"events.jsonl, line 1: event {TALK}@1 was changed"),
    (_word, f"events.jsonl, line 5: event {TALK}@5 was changed"),
    (_move, f"events.jsonl, line 5: stream {TALK} goes on with version 6, and version 5 belongs there"),
    (_renumber, f"events.jsonl, line 6: event {TALK}@6 was changed"),
    (_drop_last, f"stream {TALK}: it ends with version 9 here, and proof.json says that it ends with version 10"),
    (_position, f"stream {TALK} in 2026-01: its events between versions 1 and 7 are not those of the month"),
    (_position_of_first, f"the proof of event {TALK}@1 does not hold"),
    (_unerase, f"events.jsonl, line 4: event {TALK}@4 was changed"),
    (_extra, "events.jsonl, line 1: the member note is not one of this format"),
    (_boolean, "events.jsonl, line 1: the member version is not as the format says"),
]


@pytest.mark.parametrize(("change", "told"), EVENTS_FORGED, ids=lambda each: getattr(each, "__name__", None))
def test_forged_events_are_named(unsigned: Bundle, change: Callable[..., None], told: str):
    """Whoever makes the list of files anew, as anybody can without a key, is found by what the files say; the event is named."""
    edit_events(unsigned.folder, change)
    list_anew(unsigned.folder)
    assert (fails(unsigned.folder) or "").startswith(told)


def _month(proof: dict[str, Any]) -> dict[str, Any]:
    return proof["months"][0]


def _other_manifest(proof: dict[str, Any]) -> None:
    manifest = json.loads(_month(proof)["manifest"])
    _month(proof)["manifest"] = json.dumps(
        manifest | {"rows": manifest["rows"] + 1}, sort_keys=True, separators=(",", ":")
    )


def _other_month(proof: dict[str, Any]) -> None:
    _month(proof)["month"] = "2026-03"


def _no_month(proof: dict[str, Any]) -> None:
    proof["months"], proof["checkpoint"] = [], None


def _shorter(proof: dict[str, Any]) -> None:
    proof["streams"][0]["last"] = 9


def _old_checkpoint(proof: dict[str, Any]) -> None:
    lines = proof["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) - 1)
    proof["checkpoint"] = "\n".join(lines)


def _earlier_end(proof: dict[str, Any]) -> None:
    _month(proof)["streams"][0]["head_version"] = 6


def _later_start(proof: dict[str, Any]) -> None:
    _month(proof)["streams"][0]["first"] = 2


def _loose_base64(proof: dict[str, Any]) -> None:
    lines = _month(proof)["proof"].split("\n")
    path = next(number for number, line in enumerate(lines) if line.endswith("="))
    lines[path] = lines[path][:-2] + chr(ord(lines[path][-2]) + 1) + "="
    _month(proof)["proof"] = "\n".join(lines)


def _bare_head(proof: dict[str, Any]) -> None:
    del _month(proof)["streams"][0]["head"]


PROOF_FORGED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_other_manifest, "the proof of the manifest of 2026-01 does not hold"),
    (_other_month, "the manifest of 2026-03: it is the manifest of 2026-01"),
    (_shorter, f"stream {TALK}: it ends with version 10 here, and proof.json says that it ends with version 9"),
    (_old_checkpoint, "the home log: its proofs stand under two checkpoints"),
    (_earlier_end, f"the proof of the end of stream {TALK} in 2026-01 does not hold"),
    (_later_start, f"stream {TALK} in 2026-01: the proofs are of versions 2 to 7, the events are 1 to 7"),
    (_loose_base64, "the proof of the manifest of 2026-01: its number or a hash of it cannot be read"),
    (_bare_head, "proof.json, month 2026-01, stream 1: the member head is missing"),
]


@pytest.mark.parametrize(("change", "told"), PROOF_FORGED, ids=lambda each: getattr(each, "__name__", None))
def test_forged_proofs_are_named(unsigned: Bundle, change: Callable[..., None], told: str):
    """So is what is changed in the proof, and what does not fit."""
    edit_proof(unsigned.folder, change)
    list_anew(unsigned.folder)
    assert (fails(unsigned.folder) or "").startswith(told)


def test_a_month_that_is_left_out_is_not_sealed(unsigned: Bundle):
    """Without its month an event is no more than chained, and the verifier says so."""
    edit_proof(unsigned.folder, _no_month)
    list_anew(unsigned.folder)
    assert "7 events of 2026-01: chain only, not sealed" in "\n".join(report_of(unsigned.folder).lines())


def test_a_dropped_last_event_of_a_sealed_month_is_found(home: Store, lake: Lake, tmp_path: Path):
    """Whoever cuts the tail, and makes all of the bundle anew for the rest, cannot make the month's word of where the stream ended."""
    made = make_maker(home, lake, None).make(choose_stream(home, lake, str(SHARED)), tmp_path / "cut", REASON)
    shorter = make_maker(home, lake, None).make(choose_stream(home, lake, f"{SHARED}@5"), tmp_path / "five", REASON)
    assert "At the end of 2026-01 the stream had 6 events; the bundle ends with version 5" in "\n".join(
        report_of(shorter.folder).lines()
    )
    edit_proof(shorter.folder, lambda proof: proof["asked"].update(version=None))
    list_anew(shorter.folder)
    assert fails(made.folder) is None
    assert (
        fails(shorter.folder)
        == f"the end of stream {SHARED} in 2026-01 is version 6, and the bundle ends with version 5"
    )


def test_another_key_inside_is_found_when_the_key_is_demanded(bundle: Bundle):
    """Everything signed anew by a forger's key fits together, and is nobody's: only a key from elsewhere tells."""

    def sign_anew(note: str) -> str:
        return sign(note.rpartition("\n\n")[0] + "\n", note.split("\n", 1)[0], OTHER_KEY)

    def forge(proof: dict[str, Any]) -> None:
        proof["key"] = written_key(ORIGIN, OTHER_KEY)
        proof["checkpoint"] = sign_anew(proof["checkpoint"])
        month = _month(proof)
        for holder, names in ((month, ["proof"]), (month["streams"][0], ["first_proof", "last_proof", "head_proof"])):
            for name in names:
                head, _, note = holder[name].partition("\n\n")
                holder[name] = f"{head}\n\n{sign_anew(note)}"

    edit_proof(bundle.folder, forge)
    list_anew(bundle.folder, OTHER_KEY)
    assert fails(bundle.folder) is None
    assert fails(bundle.folder, raw(KEY)) == "the bundle is signed by another key than the one that was demanded"


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("proof.json", lambda text: text.replace(b'{"access"', b'{"access":null,"access"', 1), "given twice"),
        ("proof.json", lambda text: text.replace(b'"version":null', b'"version":NaN', 1), "no integer"),
        ("proof.json", lambda text: text.replace(b'"version":null', b'"version":1.0', 1), "no integer"),
        ("proof.json", lambda text: text + b" ", "does not end with a line feed"),
        ("proof.json", lambda text: text.replace(b'":"', b'": "', 1), "not in the canonical form"),
        ("events.jsonl", lambda text: text.replace(b"\n", b"\r\n", 1), "line 1: its JSON is not in the canonical form"),
        ("events.jsonl", lambda text: text + b"{}\n", "line 11: what it says of its event"),
        ("events.jsonl", lambda text: text[:-1], "line 10: it does not end with a line feed"),
        ("events.jsonl", lambda text: text + b"\xff\n", "line 11 is not UTF-8"),
        ("events.jsonl", lambda _text: b"", "no event of it is there"),
        ("proof.json", lambda _text: b"[" * 100_000 + b"\n", "it is not the JSON that the format has"),
    ],
)
def test_odd_spellings_are_refused(unsigned: Bundle, name: str, change: Callable[[bytes], bytes], told: str):
    """One content has one spelling: members given twice, NaN, fractions, blanks, other line ends, what comes after the end."""
    path = unsigned.folder / name
    proof = json.loads((unsigned.folder / "proof.json").read_bytes())
    path.write_bytes(change(path.read_bytes()))
    content = path.read_bytes()
    listed = (unsigned.folder / "files.txt").read_text(encoding="utf-8").split("\n")
    place = next(number for number, line in enumerate(listed) if line.endswith(f" {name}"))
    listed[place] = f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}"
    (unsigned.folder / "files.txt").write_text("\n".join(listed), encoding="utf-8")
    assert proof["format"] == "refold-audit/1"
    assert told in (fails(unsigned.folder) or "")


def test_exactly_the_files_are_there(bundle: Bundle, tmp_path: Path):
    """A file more, a file less, a folder, a link in the place of a file: refused by name."""
    more, less, link, folder = (copied(bundle.folder, tmp_path / name) for name in ("more", "less", "link", "folder"))
    (more / "note.txt").write_text("x", encoding="utf-8")
    (less / "report.html").unlink()
    shutil.move(link / "report.html", tmp_path / "elsewhere.html")
    (link / "report.html").symlink_to(tmp_path / "elsewhere.html")
    (folder / "__pycache__").mkdir()
    assert fails(more) == "note.txt is no file of a bundle"
    assert fails(less) == "report.html is missing"
    assert fails(link) == "report.html is not a regular file"
    assert fails(folder) == "__pycache__ is not a regular file"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_zip_is_the_same_and_has_no_other_names(bundle: Bundle, tmp_path: Path):
    """The zip verifies as it is; one with a name that leads elsewhere, a name twice, or another folder is refused."""
    assert fails(bundle.zip, raw(KEY)) is None
    with zipfile.ZipFile(bundle.zip) as packed:
        assert packed.namelist() == [f"audit/{name}" for name in FILES]
        assert {info.date_time[0] for info in packed.infolist()} == {1980}
        assert all(packed.read(f"audit/{name}") == (bundle.folder / name).read_bytes() for name in FILES)
    for name, told in (
        ("../report.html", "the zip holds ../report.html, which is no file of a bundle"),
        ("/etc/report.html", "the zip holds /etc/report.html, which is no file of a bundle"),
        ("audit/../report.html", "the zip holds audit/../report.html, which is no file of a bundle"),
        ("other/report.html", "the zip holds the folders audit and other"),
        ("audit/report.html", "the zip holds report.html twice"),
    ):
        target = tmp_path / "odd.zip"
        shutil.copy(bundle.zip, target)
        with zipfile.ZipFile(target, "a") as packed:
            packed.writestr(name, "x")
        assert fails(target) == told


def test_streams_of_two_bundles_cannot_be_swapped(home: Store, lake: Lake, unsigned: Bundle, tmp_path: Path):
    """Events of one stream do not pass for those of another."""
    other = make_maker(home, lake, None).make(choose_stream(home, lake, str(SHARED)), tmp_path / "o", REASON)
    shutil.copy(other.folder / "events.jsonl", unsigned.folder / "events.jsonl")
    list_anew(unsigned.folder)
    assert fails(unsigned.folder) == f"events.jsonl, line 1: stream {SHARED} is not the next of proof.json"


def test_a_person_gets_what_is_about_them(home: Store, lake: Lake, tmp_path: Path):
    """Of a stream about two people, the events about the other have their digest and nothing else, in no file."""
    chosen = choose_customer(home, lake, ADA)
    made = make_maker(home, lake, KEY).make(chosen, tmp_path / "ada", REASON)
    assert fails(made.folder, raw(KEY)) is None
    assert made.streams == 2
    assert made.said == {"shown": 11, "redacted": 1, "erased": 1, "not_about": 3}
    for path in made.folder.iterdir():
        assert OF_OTHERS.encode() not in path.read_bytes()
    assert b"what Ada said 0" in (made.folder / "report.html").read_bytes()


def test_a_time_bounds_what_is_shown(home: Store, lake: Lake, tmp_path: Path):
    """Events outside of the time asked for have their digest; a stream without one inside is left out; nothing at all is refused."""
    chosen = choose_customer(home, lake, ADA, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 10, 0, 1, tzinfo=UTC))
    made = make_maker(home, lake, KEY).make(chosen, tmp_path / "march", REASON)
    assert fails(made.folder, raw(KEY)) is None
    assert (made.streams, made.said) == (1, {"outside": 8, "erased": 1, "shown": 1})
    assert b"hello" not in (made.folder / "report.html").read_bytes()
    with pytest.raises(BadInputError, match="no event about"):
        choose_customer(home, lake, ADA, datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInputError, match="is not before --to"):
        choose_customer(home, lake, ADA, datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInputError, match="no event is about 'nobody'"):
        choose_customer(home, lake, "nobody")


def test_a_lake_that_is_behind_makes_no_evidence(store: Store, own_lake: Lake):
    """What the store has and the lake has not is exported first: evidence that lacks the newest events is none."""
    say(store, TALK, datetime(2026, 3, 20, tzinfo=UTC), (ADA, "newer"))
    with pytest.raises(BadInputError, match=r"up to version 11, the lake up to 10: run `refold export`"):
        choose_stream(store, own_lake, str(TALK))
    export_month(store.dsn, own_lake, MARCH)
    assert choose_stream(Store(store.conn, store.dsn), Lake(own_lake.root), str(TALK)).streams[0].last == 11


def test_a_lake_that_was_changed_makes_no_evidence(store: Store, own_lake: Lake, tmp_path: Path):
    """What would not verify is not handed out: the verifier runs first, and its sentence is the error's."""
    own_lake.table(EVENTS.name)
    with own_lake.connect() as connection:
        connection.execute(
            "CREATE TABLE changed AS SELECT * REPLACE (replace(payload, 'again', 'never') AS payload) FROM events WHERE month = '2026-03'"
        )
        own_lake.write_partition(
            EVENTS, {"month": MARCH}, connection, "SELECT * EXCLUDE (month) FROM changed", input_hash="x"
        )
    maker = make_maker(store, Lake(own_lake.root), KEY)
    with pytest.raises(NotProvenError, match=rf"event {TALK}@8 was changed"):
        maker.make(choose_stream(store, Lake(own_lake.root), str(TALK)), tmp_path / "none", REASON)
    assert not list(tmp_path.glob("*none*"))


def test_a_place_that_is_taken_is_left_alone(home: Store, lake: Lake, bundle: Bundle, tmp_path: Path):
    """Evidence replaces evidence, and nothing else: no file, no folder of something else, no link, no other zip."""
    maker, chosen = make_maker(home, lake, KEY), choose_stream(home, lake, str(TALK))
    again = maker.make(chosen, bundle.folder, REASON)
    assert fails(again.folder, raw(KEY)) is None
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "taken.zip").write_text("mine", encoding="utf-8")
    accesses = home.conn.execute("SELECT count(*) FROM refold.events WHERE aggregate_type = 'access'").fetchone()
    for name in ("file", "full", "link", "taken", "x.zip", "file/below"):
        with pytest.raises(BadInputError, match=r"-o |nothing was written|cannot be written"):
            maker.make(chosen, tmp_path / name, REASON)
    assert (tmp_path / "full" / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    after = home.conn.execute("SELECT count(*) FROM refold.events WHERE aggregate_type = 'access'").fetchone()
    assert after is not None
    assert accesses is not None
    assert after[0] - accesses[0] <= 1


def test_what_a_killed_run_left_goes(home: Store, lake: Lake, tmp_path: Path):
    """A folder that a process left beside the place, which holds what somebody said, is removed by the next run."""
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    left = tmp_path / f".b.audit.{ended.stdout.strip()}.0123abcd"
    alive = tmp_path / f".b.audit.{os.getppid()}.0123abcd"
    for each in (left, alive):
        (each / "audit").mkdir(parents=True)
    make_maker(home, lake, KEY).make(choose_stream(home, lake, str(TALK)), tmp_path / "b", REASON)
    assert (left.exists(), alive.exists()) == (False, True)


def test_the_verb(
    store: Store, own_lake: Lake, refold: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: Any
):
    """`refold audit` writes a private folder and a zip, and records who asked for what and why, before it does."""
    code, out, _ = refold("audit", str(TALK), "--reason", "ticket 7", "-o", "out", "--json")
    told = json.loads(out)
    assert (code, told["events"], told["public_key_id"]) == (0, 10, None)
    assert fails(tmp_path / "out") is None
    assert {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "out").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out.zip").stat().st_mode) == 0o600
    row = store.conn.execute(
        "SELECT payload FROM refold.events WHERE aggregate_id = %s::uuid", [told["access"]]
    ).fetchone()
    assert row is not None
    assert (row[0]["verb"], row[0]["reason"]) == ("audit", "ticket 7")
    assert row[0]["targets"] == [{"stream": str(TALK), "first": 1, "last": 10}]
    assert "ticket 7" not in "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir())
    code, out, _ = refold("audit", "--customer", ADA, "--from", "2026-03-01", "--reason", "ticket 7")
    assert code == 0
    assert fails(tmp_path / "audit-customer") is None
    assert "3 shown" in out


BAD_INPUT = [
    ((str(TALK),), "--reason is missing: why is this handed out?"),
    ((str(TALK), "--reason", " "), "--reason is empty"),
    (("--reason", "r"), "name what the evidence is of"),
    ((str(TALK), "--customer", ADA, "--reason", "r"), "not both"),
    (("--customer", " ", "--reason", "r"), "--customer is empty"),
    ((str(TALK), "--from", "2026-01-01", "--reason", "r"), "--from and --to are for --customer"),
    ((f"{TALK}@99", "--reason", "r"), "has no version 99"),
    (("no/such", "--reason", "r"), "no stream 'no/such'"),
    (("--customer", "nobody", "--reason", "r"), "no event is about 'nobody'"),
]


def test_bad_input_is_refused_before_anything_is_recorded(
    store: Store, own_lake: Lake, refold: Callable[..., tuple[int, str, str]], tmp_path: Path
):
    """One sentence and exit code 2; no access is recorded and nothing written."""
    for words, told in BAD_INPUT:
        code, _, err = refold("audit", *words)
        assert code == 2, words
        assert told in err
    found = store.conn.execute("SELECT count(*) FROM refold.events WHERE aggregate_type = 'access'").fetchone()
    assert found == (0,)
    assert not list(tmp_path.glob("audit*"))
    assert own_lake.months(EVENTS.name)


def test_an_outsider_needs_nothing_but_python(bundle: Bundle, tmp_path: Path):
    """Unzip with Python, run, read: in an empty folder, an isolated interpreter, an empty environment."""
    empty = tmp_path / "outside"
    empty.mkdir()
    shutil.copy(bundle.zip, empty / "evidence.zip")
    pem(KEY, empty / "key.pem")
    pem(OTHER_KEY, empty / "other.pem")
    base = Path(sys.base_prefix) / "bin" / "python3"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [base, "-I", "-S", *words], cwd=empty, env={}, capture_output=True, text=True, check=False
        )

    assert run("-m", "zipfile", "-e", "evidence.zip", ".").returncode == 0
    done = run("audit/verify_bundle.py", "--public-key", "key.pem")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Everything fits: 10 events of 1 stream.")
    assert run("audit/verify_bundle.py").returncode == 0
    assert run("audit/verify_bundle.py", "evidence.zip").returncode == 0
    wrong = run("audit/verify_bundle.py", "--public-key", "other.pem")
    assert (wrong.returncode, wrong.stdout.split("\n")[0]) == (
        1,
        "DOES NOT FIT: the bundle is signed by another key than the one that was demanded",
    )
    assert run("audit/verify_bundle.py", "nowhere").returncode == 2
    assert run("audit/verify_bundle.py", "--public-key", "evidence.zip").returncode == 2
    assert sorted(each.name for each in (empty / "audit").iterdir()) == FILES
