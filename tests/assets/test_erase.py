"""Erasing as people meet it: the verb from selection to verified home, its refusals, a backup that comes back, the job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from assets.definitions import build_defs
from assets.folds import FOLDS
from assets.instance import open_instance
from assets.resources import Home
from assets.runs import materialize
from pipelines.erasure.record import record
from pipelines.erasure.selection import select_customer
from pipelines.export.home_log import last_files
from pipelines.lake.lake import Lake
from pipelines.redaction.places import find_value, find_values
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store, stream_id
from tests.support.databases import copied_database
from tests.support.spoken import FEBRUARY, say

LOG = ("events", "stream_months")
JOE, ANA = "joe-17", "ana-18"
NAMED = "my passport is X1234567"


STREAMS = {"joe": stream_id("spoken", JOE), "ana": stream_id("spoken", ANA)}


@pytest.fixture(scope="module")
def spoken(
    server: EmbeddedServer, template: str, dagster_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """Joe's conversation over two months, Ana's with one remark of Joe's, exported and folded: made once, only copied."""
    home = tmp_path_factory.mktemp("spoken") / "home"
    shutil.copytree(dagster_home, home / "dagster")
    with copied_database(server, template) as name:
        settings = Settings(home=home, dsn=server.dsn_of(name), lake=home / "lake", memory_bytes=3 * 10**9)
        with Store.open(settings) as store:
            say(store, JOE, NAMED, "and that is all", stream=STREAMS["joe"])
            say(store, JOE, "once more: " + NAMED, at=FEBRUARY, stream=STREAMS["joe"])
            say(store, ANA, "good morning", stream=STREAMS["ana"])
            say(store, JOE, "she speaks for me, " + NAMED, stream=STREAMS["ana"])
            say(store, ANA, "bye", at=FEBRUARY, stream=STREAMS["ana"])
        for month in ("2026-01", "2026-02"):
            materialize(settings, [*LOG, *FOLDS], month).require()
        yield home, name


@pytest.fixture
def store_settings(settings: Settings, server: EmbeddedServer, spoken: tuple[Path, str]) -> Iterator[Settings]:
    """The test's own copy of that store and home."""
    home, made = spoken
    shutil.copytree(home, settings.home)
    with copied_database(server, made) as name:
        yield replace(settings, dsn=server.dsn_of(name))


def audit(refold) -> dict:
    _code, out, _ = refold("verify", "--deep", "--json")
    return json.loads(out)


def codes(found: dict) -> set[str]:
    return {each["code"] for month in found["months"] for each in month["findings"]} | {
        each["code"] for each in found["findings"]
    }


def test_a_person_is_erased_everywhere(refold, store_settings, store):
    """By one verb: store, log, folds of both months; what others said stays; counts by month stay; the home verifies; again it does nothing."""
    lake = Lake.from_settings(store_settings)
    with lake.connect() as connection:
        counts = connection.sql("SELECT month, count(*) FROM conversation_months GROUP BY ALL ORDER BY ALL").fetchall()
    assert find_value(store_settings.home, NAMED)
    code, dry, _ = refold("erase", "--customer", JOE, "--reason", "ticket 4711", "--dry-run", "--json")
    assert (code, json.loads(dry)["selection"]["events"]) == (0, 4)
    assert [each.kind for each in store.home_log()].count("erased") == 0
    code, out, _ = refold("erase", "--customer", JOE, "--reason", "ticket 4711")
    assert code == 0
    assert out.startswith("erased 4 events of 2 streams, 2026-01, 2026-02; erasure ")
    assert find_values(store_settings.home, [NAMED, JOE]) == {NAMED: [], JOE: []}
    with Lake.from_settings(store_settings).connect() as connection:
        texts = connection.sql("SELECT text FROM utterances WHERE text IS NOT NULL ORDER BY ALL").fetchall()
        assert texts == [("bye",), ("good morning",)]
        query = "SELECT month, count(*) FROM conversation_months GROUP BY ALL ORDER BY ALL"
        assert connection.sql(query).fetchall() == counts
        assert connection.sql("SELECT subject_id FROM customers").fetchall() == [(ANA,)]
    found = audit(refold)
    assert (codes(found), found["integrity"], found["completeness"]) == (set(), "holds", "holds")
    assert refold("erase", "--customer", JOE, "--reason", "ticket 4711")[1].startswith("nothing to erase")
    assert refold("erase")[1] == "no erasure waits to be finished\n"


def test_later_months_that_say_it_again_are_folded_anew(refold, store_settings, store):
    """An event of January stands in the state of February too, whose own events stay as they were: one run forgets both."""
    assert refold("fold")[0] == 0  # all of it is up to date
    code, out, _ = refold("erase", "--event", f"{STREAMS['joe']}@1", "--reason", "ticket 4711", "--json")
    told = json.loads(out)
    assert (code, told["selection"]["months"], told["folded"][:2]) == (0, ["2026-01"], ["2026-01", "2026-02"])
    with Lake.from_settings(store_settings).connect() as connection:
        query = "SELECT month, list_transform(transcript, lambda x: x.text) FROM conversation_months WHERE aggregate_id = ? ORDER BY 1"
        texts = dict(connection.execute(query, [str(STREAMS["joe"])]).fetchall())
    assert NAMED not in str(texts["2026-01"])
    assert [text for text in texts["2026-02"] if text] == ["and that is all", "once more: " + NAMED]
    assert json.loads(refold("erase", "--json")[1])["folded"] == []
    assert codes(audit(refold)) == set()


def test_an_erasure_that_was_begun_is_gone_on_with(refold, store_settings, store):
    """Recorded and not done: verify says so, and the verb alone finishes it; done and not exported likewise."""
    record(store, select_customer(store, JOE), "ticket 4711", None)
    assert "erasure_unfinished" in codes(audit(refold))
    for file in [*store_settings.lake.rglob("month=2026-01/part-*.parquet")]:  # what writers that died left
        shutil.copy(file, file.with_name(f"part-dead-{file.name}"))
    assert refold("erase")[0] == 0
    assert codes(audit(refold)) == set()
    assert find_value(store_settings.home, NAMED) == []


def test_sealed_months_keep_their_manifest_and_get_a_signed_list(refold, store_settings, store, tmp_path, monkeypatch):
    """Without the key nothing is begun; with it the list says why and by which event, and the months verify under the key."""
    key = Ed25519PrivateKey.generate()
    file, public = tmp_path / "key.pem", tmp_path / "public.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setenv("REFOLD_SIGNING_KEY", str(file))
    assert refold("seal", "2026-01")[0] == 0
    before = last_files(store.home_log(), "2026-01")
    monkeypatch.delenv("REFOLD_SIGNING_KEY")
    code, _, err = refold("erase", "--customer", JOE, "--reason", "ticket 4711")
    assert (code, "REFOLD_SIGNING_KEY" in err) == (1, True)
    assert [each.kind for each in store.home_log()].count("erased") == 0
    monkeypatch.setenv("REFOLD_SIGNING_KEY", str(file))
    code, out, _ = refold("erase", "--customer", JOE, "--reason", "ticket 4711", "--json")
    assert code == 0
    after = last_files(store.home_log(), "2026-01")
    assert (after[1].number, after[1].supersedes) == (2, before[0].sha256)
    assert after[1].manifest_sha256 == before[1].manifest_sha256
    assert (after[1].reason, after[1].causes) == (
        "events of the month were erased",
        (json.loads(out)["erasure"] + "@1",),
    )
    assert refold("verify", "--month", "2026-01", "--deep", "--public-key", str(public))[0] == 0
    assert find_value(store_settings.home, NAMED) == []


def test_a_store_from_a_backup_is_erased_again(refold, store_settings, store):
    """The store is as it was before the erasure; the lake knows of it, and the next export does it again."""
    lake = Lake.from_settings(store_settings)
    saved = store.conn.execute(
        "SELECT position, payload::text, metadata::text, salt FROM refold.events ORDER BY 1"
    ).fetchall()
    assert refold("erase", "--customer", JOE, "--reason", "ticket 4711")[0] == 0
    store.conn.execute("SET event_triggers = off")
    for table in ("events", "home_log"):
        store.conn.execute(f"ALTER TABLE refold.{table} DISABLE TRIGGER ALL".encode())
    for position, payload, metadata, salt in saved:
        store.conn.execute(
            "UPDATE refold.events SET payload = %s, metadata = %s, salt = %s, digest = '' WHERE position = %s",
            [payload, metadata, salt, position],
        )
    store.conn.execute("DELETE FROM refold.events WHERE aggregate_type = 'erasure'")
    store.conn.execute("DELETE FROM refold.streams WHERE aggregate_type = 'erasure'")
    store.conn.execute("DELETE FROM refold.home_log WHERE kind = 'erased'")
    store.conn.execute("UPDATE refold.streams SET is_erased = false")
    store.conn.execute("DELETE FROM refold.erasures")
    for table in ("events", "home_log"):
        for trigger in ("refold_append_only", "refold_append_only_row"):
            store.conn.execute(f"ALTER TABLE refold.{table} ENABLE ALWAYS TRIGGER {trigger}".encode())
    store.conn.execute("RESET event_triggers")
    assert "erasure_unfinished" in codes(audit(refold))
    assert NAMED in str(store.conn.execute("SELECT payload FROM refold.events").fetchall())
    refold("export", "--month", "2026-01")
    assert NAMED not in str(store.conn.execute("SELECT payload FROM refold.events").fetchall())
    assert NAMED not in str(lake.connect())
    assert "erasure_unfinished" not in codes(audit(refold))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--customer", JOE], "--reason is missing"),
        (["--customer", "nobody", "--reason", "ticket"], None),
        (["--customer", JOE, "--older-than", "4d", "--reason", "ticket"], "one of them"),
        (["--older-than", "soon"], "number of days"),
        (["--where", "true"], "--older-than"),
        (["--customer", "", "--reason", "ticket"], "--customer is empty"),
        (["--reason", "ticket"], "nothing is named"),
        (["--stream", str(uuid4()), "--reason", "ticket"], "no stream"),
        (["--event", "x", "--reason", "ticket"], "STREAM@VERSION"),
        (["--customer", JOE, "--reason", f"asked by {JOE}"], "the person's id"),
        (["--customer", JOE, "--reason", "passport"], "stands in what is to be erased"),
    ],
)
def test_what_cannot_be_erased_is_said_before_anything_is_done(refold, store, words, said):
    """Exit code 2 and a sentence; nothing recorded, nothing changed."""
    before = store.conn.execute("SELECT * FROM refold.events ORDER BY position").fetchall()
    code, out, err = refold("erase", *words)
    if said is None:
        assert (code, out) == (0, "nothing to erase: there is no event of it, or its content is gone already\n")
    else:
        assert (code, said in err) == (2, True)
    assert store.conn.execute("SELECT * FROM refold.events ORDER BY position").fetchall() == before
    assert [each.kind for each in store.home_log()].count("erased") == 0


def test_holds_by_the_verb(refold, store):
    """Placed, listed, in the way of an erasure and of retention, lifted."""
    code, out, _ = refold("hold", "--customer", JOE, "--reason", "case 7", "--json")
    placed = json.loads(out)["hold"]
    assert code == 0
    assert "case 7" in refold("hold")[1]
    code, _, err = refold("erase", "--customer", JOE, "--reason", "ticket 4711")
    assert (code, "on hold" in err, placed in err) == (1, True, True)
    assert refold("erase", "--customer", JOE, "--reason", "ticket 4711", "--dry-run")[0] == 1
    told = json.loads(refold("erase", "--older-than", "1d", "--json", "--dry-run")[1])
    assert (told["selection"]["held"], told["selection"]["events"]) == (2, 0)
    assert refold("hold", "--lift", placed, "--reason", "case 7 is closed")[0] == 0
    assert refold("hold", "--lift", placed, "--reason", "case 7 is closed")[0] == 2
    assert refold("hold")[1] == "nothing is on hold\n"


def test_what_is_old_is_erased_by_the_job(store_settings, store):
    """The scheduled job takes what is older than it is told, narrowed by nothing, and leaves the young."""
    young = say(store, ANA, "just now", at=datetime.now(UTC) - timedelta(days=1))
    with open_instance(store_settings) as instance, Home(store_settings) as home:
        definitions = build_defs({"home": home})
        (schedule,) = [s for s in definitions.get_repository_def().schedule_defs if s.name == "retention"]
        assert schedule.default_status.value == "STOPPED"
        result = definitions.resolve_job_def(schedule.job_name).execute_in_process(
            instance=instance, run_config={"ops": {"erase_older": {"config": {"older_than_days": 30}}}}
        )
        (output,) = [e for e in result.all_events if e.is_successful_output]
        metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (metadata["events"], metadata["streams"], metadata["months"]) == (6, 2, "2026-01, 2026-02")
    query = "SELECT aggregate_id FROM refold.events WHERE payload ? 'text'"
    assert store.conn.execute(query).fetchall() == [(young,)]
    assert find_value(Path(store_settings.home), "good morning") == []


def test_retention_narrowed_by_sql(refold, store):
    """`--where` is SQL over the conversations, as in an experiment."""
    where = f"aggregate_id = '{STREAMS['ana']}'"
    told = json.loads(refold("erase", "--older-than", "30d", "--where", where, "--dry-run", "--json")[1])
    assert [target["stream"] for target in told["selection"]["targets"]] == [str(STREAMS["ana"])]
