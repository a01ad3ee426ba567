"""Erasing in the store: what is chosen, what passes the triggers, what stays, and that nothing comes back."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.erasure.reason import FREE, refuse_telling
from pipelines.erasure.record import record
from pipelines.erasure.selection import select_customer, select_events, select_older, select_streams
from pipelines.errors import BadInputError
from pipelines.ingest.chat import import_chat
from pipelines.ingest.postgres.importing import import_postgres
from pipelines.proof.chain import digest
from pipelines.proof.erasure import Erasure, Target, read_erasure
from pipelines.recorder import Recorder
from pipelines.store import (
    AppendOnly,
    Erased,
    InvalidEvent,
    NewEvent,
    OnHold,
    Signed,
    Store,
    StoreBusy,
    VersionConflict,
)
from pipelines.store.erasures import erase_events as empty_events
from pipelines.store.erasures import lift_hold, list_holds, place_hold, record_erasure
from pipelines.store.sqlstate import typed_errors
from tests.support.erasing import erase, erase_customer, erase_events, erase_streams
from tests.support.waiting import PATIENCE

JOE, ANA = "joe-17", "ana-18"
AT = datetime(2026, 3, 5, tzinfo=UTC)


def say(
    store: Store, stream: UUID, *said: tuple[str, str | None], at: datetime = AT, kind: str = "conversation"
) -> None:
    """Append utterances: text and whom it is about."""
    events = [
        NewEvent("user.utterance.v1", {"text": text}, {"actor": "user"} | ({"subject_id": about} if about else {}), at)
        for text, about in said
    ]
    store.ensure_months([at])
    store.append(stream, kind, events, "any")


def rows(store: Store) -> list[tuple]:
    return store.conn.execute(
        "SELECT * FROM refold.events WHERE aggregate_type <> 'erasure' ORDER BY position"
    ).fetchall()


def document(*targets: Target) -> Signed:
    return Signed(Erasure(str(uuid4()), "ticket 4711", targets, "0", AT.isoformat(), None).text(), None)


def contents(store: Store) -> dict[tuple[UUID, int], str]:
    """What events say, of those that say anything."""
    query = "SELECT aggregate_id, stream_version, payload ->> 'text' FROM refold.events WHERE payload ? 'text'"
    return {(stream, version): text for stream, version, text in store.conn.execute(query).fetchall()}


def test_what_stays_of_an_erased_event(store: Store) -> None:
    """Content and salt are empty, the digest is that of what was there; every other column and row is as it was."""
    mine, other = uuid4(), uuid4()
    say(store, mine, ("hello", JOE), ('line\nfeed \\ " ü 😀', None))
    say(store, other, ("hello", ANA))
    names = [column.name for column in store.conn.execute("SELECT * FROM refold.events LIMIT 0").description or ()]
    texts = dict(
        store.conn.execute("SELECT position, payload::text || E'\\n' || metadata::text FROM refold.events").fetchall()
    )
    before = [dict(zip(names, row, strict=True)) for row in rows(store)]
    erase_customer(store, JOE)
    after = [dict(zip(names, row, strict=True)) for row in rows(store)]
    for old, new in zip(before, after, strict=True):
        if old["aggregate_id"] == mine:
            gone = hashlib.sha256(old["salt"] + texts[old["position"]].encode()).digest()
            assert new == old | {"payload": {}, "metadata": {}, "salt": b"", "digest": gone}
            assert digest(new | {"payload": "{}", "metadata": "{}"}) == gone
        else:
            assert new == old
    assert store.guard_problems() == []


def test_a_persons_streams_and_events_in_streams_of_others(store: Store) -> None:
    """Whole streams where nobody else is spoken of; single events elsewhere; nothing of anybody else."""
    own, silent, shared, other = (uuid4() for _ in range(4))
    say(store, own, ("a", JOE), ("b", None), ("c", JOE))
    say(store, silent, ("d", None), ("e", JOE), at=datetime(2026, 1, 5, tzinfo=UTC))
    say(store, shared, ("f", ANA), ("g", JOE), ("h", JOE), ("i", ANA), ("j", JOE), ("k", None))
    say(store, other, ("l", ANA), ("m", None))
    found = select_customer(store, JOE)
    assert set(found.targets) == {
        Target(str(own), 1, 3, True),
        Target(str(silent), 1, 2, True),
        Target(str(shared), 2, 3, False),
        Target(str(shared), 5, 5, False),
    }
    assert (found.events, found.streams, found.months) == (8, 3, ("2026-01", "2026-03"))
    erase(store, found)
    assert set(contents(store).values()) == {"f", "i", "k", "l", "m"}
    assert select_customer(store, JOE).targets == ()


def test_redactions_of_others_stay(store: Store) -> None:
    """A redaction in a stream of others that names the person is not erased: what it hides is somebody else's."""
    shared = uuid4()
    say(store, shared, ("Ana's secret", ANA), ("mine", JOE))
    redaction = {"target": {"stream_version": 1}, "path": "/text", "method": "hide", "reason": "asked"}
    store.append(shared, "conversation", [NewEvent("redaction.applied.v1", redaction, {"subject_id": JOE}, AT)], 2)
    assert select_customer(store, JOE).targets == (Target(str(shared), 2, 2, False),)


def test_single_events_and_what_is_old(store: Store) -> None:
    """Events by name, each once; conversations by the age of their last event, those on hold left out."""
    old, held, young, prompt = (uuid4() for _ in range(4))
    for stream, days, kind in (
        (old, 500, "conversation"),
        (held, 500, "call"),
        (young, 1, "call"),
        (prompt, 500, "prompt"),
    ):
        say(store, stream, ("a", None), ("b", JOE), at=datetime.now(UTC) - timedelta(days=days), kind=kind)
    place_hold(store.conn, customer=None, stream=held, reason="case 7")
    found = select_older(store, datetime.now(UTC) - timedelta(days=400))
    assert ([target.stream for target in found.targets], found.held) == ([str(old)], 1)
    assert select_older(store, datetime.now(UTC), streams=[str(young)]).targets == (Target(str(young), 1, 2, True),)
    erase_events(store, f"{young}@2", f"{young}@2")
    assert contents(store)[young, 1] == "a"
    assert (young, 2) not in contents(store)
    assert select_events(store, [f"{young}@1", f"{young}@2"]).targets == (Target(str(young), 1, 1, False),)
    for name, said in (
        (f"{young}@3", "no event"),
        ("x@1", "no stream 'x'"),
        (f"{young}@0", "STREAM@VERSION"),
        (f"{young}", "STREAM@VERSION"),
    ):
        with pytest.raises(BadInputError, match=said):
            select_events(store, [name])
    with pytest.raises(BadInputError, match="no stream"):
        select_streams(store, [uuid4()])


def test_a_redaction_cannot_be_erased_alone(store: Store) -> None:
    """Without it what it hides would be shown again; with its stream it can."""
    stream = uuid4()
    say(store, stream, ("secret", JOE))
    redaction = {"target": {"stream_version": 1}, "path": "/text", "method": "hide", "reason": "asked"}
    store.append(stream, "conversation", [NewEvent("redaction.applied.v1", redaction, {}, AT)], 1)
    with pytest.raises(BadInputError, match="is a redaction"):
        select_events(store, [f"{stream}@2"])
    erase_streams(store, [stream])
    assert contents(store) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refold.events SET payload = '{}'",
        "UPDATE refold.events SET payload = '{}', metadata = '{}', salt = ''",
        "UPDATE refold.events SET payload = '{}', metadata = '{}', salt = '', digest = sha256('guess')",
        'UPDATE refold.events SET payload = \'{"text": "other"}\'',
        "UPDATE refold.events SET {empty}, epoch = epoch + 1",
        "UPDATE refold.events SET {empty}, created_at = created_at + interval '1 hour'",
        "UPDATE refold.events SET {empty}, event_type = 'agent.utterance.v1'",
        "UPDATE refold.events SET {empty}, hash = sha256('other')",
        "UPDATE refold.events SET {empty}, aggregate_id = gen_random_uuid()",
        "UPDATE refold.events SET {empty} WHERE stream_version = 2",
        "DELETE FROM refold.events",
        "TRUNCATE refold.events",
    ],
)
def test_exactly_one_update_passes(store: Store, statement: str) -> None:
    """While an erasure of the first event waits, a superuser changes nothing else, and of that event nothing but its content."""
    stream = uuid4()
    say(store, stream, ("a", JOE), ("b", ANA))
    record(store, select_events(store, [f"{stream}@1"]), "ticket 4711", None)
    before = rows(store)
    empty = "payload = '{}', metadata = '{}', salt = '', digest = refold.content_digest(salt, payload, metadata)"
    text = statement.replace("{empty}", empty)
    with pytest.raises(AppendOnly), typed_errors():
        store.conn.execute(text.encode())
    assert rows(store) == before
    store.conn.execute(
        f"UPDATE refold.events SET {empty} WHERE stream_version = 1 AND aggregate_type <> 'erasure'".encode()
    )
    assert contents(store) == {(stream, 2): "b"}
    with pytest.raises(AppendOnly), typed_errors():  # nor twice
        store.conn.execute(
            f"UPDATE refold.events SET {empty} WHERE stream_version = 1 AND aggregate_type <> 'erasure'".encode()
        )


def test_nothing_is_emptied_without_a_record(store: Store) -> None:
    """The right update is refused as long as no erasure names the event, and once all that were recorded are done."""
    stream, other = uuid4(), uuid4()
    say(store, stream, ("a", JOE))
    say(store, other, ("b", ANA))
    empty = "UPDATE refold.events SET payload = '{}', metadata = '{}', salt = '', digest = refold.content_digest(salt, payload, metadata)"
    for _ in range(2):
        with pytest.raises(AppendOnly), typed_errors():
            store.conn.execute(empty.encode())
        erase_streams(store, [stream])


def test_the_record(store: Store) -> None:
    """The home log has the document, byte for byte; followers get an event of a stream of its own; nobody else writes such a one."""
    stream = uuid4()
    say(store, stream, ("a", JOE))
    erasure = erase_streams(store, [stream])
    entry = store.home_log()[-1]
    said = read_erasure(entry.signed.text)
    assert (entry.kind, entry.month, said.erasure, said.targets) == (
        "erased",
        None,
        erasure,
        (Target(str(stream), 1, 1, True),),
    )
    (event,) = store.read_stream(UUID(erasure))
    assert (event.aggregate_type, event.event_type) == ("erasure", "erasure.applied.v1")
    assert event.payload == {
        "reason": "ticket 4711",
        "targets": [{"stream": str(stream), "first": 1, "last": 1, "is_whole": True}],
    }
    for name in (uuid4(), UUID(erasure)):
        with pytest.raises(InvalidEvent, match="by an erasure alone"):
            store.append(name, "erasure", [NewEvent("erasure.applied.v1", event.payload, {}, None)], "any")
    with pytest.raises(InvalidEvent, match="cannot be erased"):
        record_erasure(store.conn, document(Target(erasure, 1, 1, True)))


def test_a_record_that_is_wrong_records_nothing(store: Store) -> None:
    """Targets that are not there, a stream that grew, a reason that is none: nothing is noted, nothing waits."""
    stream = uuid4()
    say(store, stream, ("a", JOE), ("b", JOE))
    log = store.home_log()
    for target in (
        Target(str(uuid4()), 1, 1, True),
        Target(str(stream), 1, 3, False),
        Target(str(stream), 2, 1, False),
    ):
        with pytest.raises(InvalidEvent, match="has no versions"):
            record_erasure(store.conn, document(target))
    with pytest.raises(StoreBusy, match="grew"):
        record_erasure(store.conn, document(Target(str(stream), 1, 1, True)))
    with pytest.raises(InvalidEvent, match="no erasure"):
        record_erasure(
            store.conn, Signed(document(Target(str(stream), 1, 1, False)).text.replace("ticket 4711", " "), None)
        )
    assert (store.home_log(), list(empty_events(store.conn)), len(contents(store))) == (log, [], 2)


def test_holds(store: Store) -> None:
    """A hold of a person or of a stream refuses all of an erasure, whichever way it was chosen, until it is lifted."""
    stream, shared = uuid4(), uuid4()
    say(store, stream, ("a", JOE))
    say(store, shared, ("b", ANA), ("c", JOE))
    person = place_hold(store.conn, customer=JOE, stream=None, reason="case 7")
    for selection in (select_customer(store, JOE), select_streams(store, [stream]), select_streams(store, [shared])):
        with pytest.raises(OnHold, match=str(person)):
            record(store, selection, "ticket 4711", None)
    erase_events(store, f"{shared}@1")  # Ana's, of whom nothing is on hold
    assert lift_hold(store.conn, person)
    assert not lift_hold(store.conn, person)
    held = place_hold(store.conn, customer=None, stream=shared, reason="case 8")
    with pytest.raises(OnHold, match="case 8"):
        erase_customer(store, JOE)
    assert set(contents(store).values()) == {"a", "c"}
    assert [(each.hold, each.stream, each.reason) for each in list_holds(store.conn)] == [(held, shared, "case 8")]
    lift_hold(store.conn, held)
    erase_customer(store, JOE)
    assert contents(store) == {}


@pytest.mark.parametrize(
    ("reason", "is_told"),
    [
        ("ticket 4711", False),
        ("the customer asked for deletion of their data (GDPR article 17)", False),
        ("Joe-17 asked", True),
        ("asked by ＪＯＥ－１７", True),
        ("Müller asked", True),
        ("MÜLLER asked", True),
        ("as the lady in Straße der Jugend wished", True),
        ("order A-100177", True),
        ("Ana Li asked", True),
        ("her mail is ana@x.org", True),
    ],
)
def test_a_reason_says_nothing_of_what_is_erased(store: Store, reason: str, is_told: bool) -> None:
    """Neither the person's id, nor a word, nor a name of short words, in any spelling."""
    stream = uuid4()
    say(store, stream, ('my name is müller, "Straße 7"', JOE), ("order a-100177 for ana li, ana@x.org", JOE))
    targets = select_customer(store, JOE).targets
    if is_told:
        with pytest.raises(BadInputError, match="--reason"):
            refuse_telling(store, reason, targets, JOE)
    else:
        refuse_telling(store, reason, targets, JOE)


@pytest.mark.parametrize(("reason", "is_told"), [("ticket 7 closed", True), ("ticket 71", False), ("room 7.", True)])
def test_short_ids_are_words(store: Store, reason: str, is_told: bool) -> None:
    """An id of one digit is refused as a word, whichever way its events were chosen, and not within another number."""
    stream = uuid4()
    say(store, stream, ("a", "7"))
    for targets, customer in (
        (select_customer(store, "7").targets, "7"),
        (select_streams(store, [stream]).targets, None),
    ):
        if is_told:
            with pytest.raises(BadInputError, match="person's id"):
                refuse_telling(store, reason, targets, customer)
        else:
            refuse_telling(store, reason, targets, customer)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]), min_size=5, max_size=30
    )
)
@example(text="000¼0\x1b")
@example(text='"0001/40\\')
def test_no_reason_is_a_text_that_is_erased(store: Store, text: str) -> None:
    """Whatever a text is: as a reason it is refused, unless it is made of words that say nothing."""
    stream = uuid4()
    say(store, stream, (text, None))
    targets = select_streams(store, [stream]).targets
    if any(len(word) >= 5 and word.casefold() not in FREE for word in re.findall(r"[^\W_]+", text)):
        with pytest.raises(BadInputError):
            refuse_telling(store, f"ticket {text}", targets, None)


def test_streams_that_were_erased_take_no_more(store: Store) -> None:
    """Whole streams are closed, to a batch sent again too; of others, what overlaps erased events is refused, the rest goes on."""
    whole, part = uuid4(), uuid4()
    event = NewEvent("user.utterance.v1", {"text": "a"}, {}, AT)
    for stream in (whole, part):
        say(store, stream, ("first", None))
        store.append(stream, "conversation", [event], 1)
    erase_streams(store, [whole])
    erase_events(store, f"{part}@2")
    for expected in ("any", "exists", "no_stream", 0, 1, 2):
        with pytest.raises(Erased, match="takes no more"):
            store.append(whole, "conversation", [event], expected)
    with pytest.raises(Erased, match="cannot be told"):
        store.append(part, "conversation", [event], 1)
    with pytest.raises(VersionConflict):
        store.append(part, "conversation", [event], 7)
    assert store.append(part, "conversation", [event], 2).last_version == 3


def test_followers_and_reads_pass_over_nothing(store: Store) -> None:
    """Every event is still read, in its place, with nothing in it."""
    stream = uuid4()
    say(store, stream, ("a", JOE), ("b", JOE))
    erase_streams(store, [stream])
    assert [(event.stream_version, event.payload, event.metadata) for event in store.read_stream(stream)] == [
        (1, {}, {}),
        (2, {}, {}),
    ]
    assert [event.aggregate_type for event in store.read_all()] == ["conversation", "conversation", "erasure"]


def test_strays_and_sealed_months(store: Store) -> None:
    """Events without a month of their own and those of closed months are emptied as well, and stay so when they move."""
    stray, closed = uuid4(), uuid4()
    store.append(
        stray,
        "conversation",
        [NewEvent("user.utterance.v1", {"text": "a"}, {"subject_id": JOE}, datetime(1999, 1, 1, tzinfo=UTC))],
        "any",
    )
    say(store, closed, ("b", JOE), at=datetime(2026, 1, 5, tzinfo=UTC))
    store.close_month("2026-01")
    erase_customer(store, JOE)
    assert contents(store) == {}
    before = rows(store)
    store.make_month("1999-01")
    assert rows(store) == before
    assert store.guard_problems() == []


def test_only_the_eraser_erases(store: Store) -> None:
    """Who writes, reads or exports may not record an erasure nor place a hold; who exports finishes one that is recorded."""
    stream = uuid4()
    say(store, stream, ("a", JOE))
    signed = document(Target(str(stream), 1, 1, True))
    with psycopg.connect(store.dsn, autocommit=True) as conn:
        for role in ("refold_writer", "refold_reader", "refold_exporter"):
            conn.execute(f"SET ROLE {role}")
            for query in (
                "SELECT refold.record_erasure('{}')",
                "SELECT refold.hold('x', null, 'y')",
                "DELETE FROM refold.holds",
                "UPDATE refold.events SET payload = '{}'",
                "INSERT INTO refold.erasures VALUES (gen_random_uuid(), gen_random_uuid(), '2026-01', 1, 1)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(query.encode())
            if role != "refold_exporter":
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute("SELECT refold.erase_events()")
            conn.execute("RESET ROLE")
        conn.execute("SET ROLE refold_eraser")
        record_erasure(conn, signed)
        conn.execute("SET ROLE refold_exporter")
        assert list(empty_events(conn)) == [1]
    assert contents(store) == {}


# --- no way back in -----------------------------------------------------------------------------------------------------


def line(name: str, *texts: str, about: str | None = None) -> str:
    said = {
        "source": "shop",
        "conversation_id": name,
        "messages": [{"role": "user", "content": text} for text in texts],
    }
    return json.dumps(said | ({"subject_id": about} if about else {}))


def test_an_import_again_leaves_erased_conversations_out(store: Store, tmp_path: Path) -> None:
    """The same file, and one in which it grew: the others are there, the erased one is counted and stays out."""
    file = tmp_path / "talks.jsonl"
    file.write_text("\n".join([line("1", "a", "b", about=JOE), line("2", "c"), line("3", "d", "e")]))
    import_chat(store, [file])
    erase_customer(store, JOE)
    third = next(stream for (stream, version), text in contents(store).items() if text == "d")
    erase_events(store, f"{third}@2")
    left = contents(store)
    again = import_chat(store, [file])
    assert (again.conversations, again.events, again.already_present, again.erased) == (0, 0, 2, 1)
    file.write_text("\n".join([line("1", "a", "b", "more", about=JOE), line("2", "c"), line("4", "new")]))
    grown = import_chat(store, [file])
    assert (grown.conversations, grown.already_present, grown.erased) == (1, 1, 1)
    assert set(contents(store).values()) == {*left.values(), "new"}


@pytest.fixture
def table(store: Store) -> Iterator[psycopg.Connection]:
    """An events table of a team's own, in the same database."""
    with psycopg.connect(store.dsn, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS public.erased_events")
        conn.execute(
            "CREATE TABLE public.erased_events (id bigserial, aggregate_id uuid NOT NULL, aggregate_type text NOT NULL, event_type text NOT NULL, "
            "event_version int NOT NULL, payload jsonb NOT NULL, created_at timestamptz NOT NULL)"
        )
        yield conn
        conn.execute("DROP TABLE public.erased_events")


@pytest.mark.parametrize("gone", [(1,), (2,), (3,), (1, 2), (2, 3), (1, 3), (1, 2, 3)])
def test_rows_of_a_table_stay_out(store: Store, table: psycopg.Connection, gone: tuple[int, ...]) -> None:
    """Whichever events of a stream were erased: their rows are passed over, the others are there, what is new behind them comes in."""
    stream, other = UUID(int=7), UUID(int=8)

    def add(aggregate_id: UUID, text: str) -> None:
        table.execute(
            "INSERT INTO public.erased_events (aggregate_id, aggregate_type, event_type, event_version, payload, created_at) "
            "VALUES (%s, 'call', 'user.utterance.v1', 1, jsonb_build_object('text', %s::text), '2026-01-05 10:00+00')",
            [aggregate_id, text],
        )

    for text in "abc":
        add(stream, text)
    add(other, "z")
    assert import_postgres(store, store.dsn, "erased_events").events == 4
    erase_events(store, *(f"{stream}@{version}" for version in gone))
    again = import_postgres(store, store.dsn, "erased_events")
    assert (again.events, again.already_present, again.erased, again.gone, again.set_aside_count) == (
        0,
        4 - len(gone),
        len(gone),
        0,
        0,
    )
    add(stream, "d")
    add(other, "y")
    later = import_postgres(store, store.dsn, "erased_events")
    is_closed = len(gone) == 3
    assert (later.events, later.erased, later.gone) == (1 if is_closed else 2, len(gone) + is_closed, 0)
    assert ("d" in contents(store).values()) is not is_closed


def test_a_recorder_drops_what_belongs_to_an_erased_stream(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it keeps of such a stream is neither sent nor set aside; it says so once, without a word of it, and goes on with others."""
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        with recorder.conversation("one", subject_id=JOE) as talk:
            talk.user("the first secret")
            assert recorder.flush(PATIENCE)
            erase_customer(store, JOE)
            with caplog.at_level(logging.ERROR):
                talk.user("the second secret")
                talk.user("the third secret")
                with recorder.conversation("two") as another:
                    another.user("harmless")
                assert recorder.flush(PATIENCE)
        assert recorder.status().refused >= 2
    assert set(contents(store).values()) == {"harmless"}
    told = [each.getMessage() for each in caplog.records]
    assert [each for each in told if "erased" in each]
    assert not [each for each in told if "secret" in each]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in kept
