"""The recorder on a real store: contexts that verify, and a store that goes away."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from pipelines.errors import BadInputError
from pipelines.recorder import Recorder, RecorderFull
from pipelines.recorder.packet import Packet, write_line
from pipelines.recorder.spill import DAMAGED, REFUSED, SUFFIX, SpillDamagedError, SpillFile
from pipelines.recorder.storable import Storable
from pipelines.settings import Settings
from pipelines.store import NewEvent, Signed, Store, StoreUnavailable, connect, stream_id
from tests.integration.recorded import decisions
from tests.support import chat_strategies
from tests.support.waiting import PATIENCE

NOWHERE = "host=/nonexistent port=1 dbname=none user=none"
TOOLS = [
    {
        "type": "function",
        "function": {"name": "find", "parameters": {"type": "object", "properties": {"n": {"maximum": 1e20}}}},
    }
]
_numbers = count()
SYSTEM = "You answer. Zoë 😀"


@pytest.fixture
def recorder(store: Store) -> Iterator[Recorder]:
    """A recorder on the test's store."""
    with Recorder(store, source="shop") as opened:
        yield opened


def completion(text: str | None, *calls: tuple[str, str, str], finish: str = "stop") -> dict[str, Any]:
    """A response: its text, and its calls (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, name, arguments in calls
        ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026-01",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    }


def types(store: Store, conversation: str, source: str = "shop") -> list[str]:
    return [event.event_type for event in store.read_stream(stream_id(source, conversation))]


def texts(store: Store, conversation: str, source: str = "shop") -> list[str]:
    """What the person said, in order."""
    events = store.read_stream(stream_id(source, conversation))
    return [event.payload["text"] for event in events if event.event_type == "user.utterance.v1"]


def converse(recorder: Recorder) -> None:
    """A conversation as a loop records it: the SDK's object goes back into the messages, ids are the provider's."""
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Where is A-1?\u2028"}]
    params = {
        "model": "m",
        "tools": TOOLS,
        "temperature": 1e-7,
        "seed": 1e22,
        "extra_headers": {"Authorization": "secret"},
    }
    with recorder.conversation("loop", agent="desk", channel="chat", subject_id="ann", system=[SYSTEM]) as talk:
        talk.user("Where is A-1?\u2028")
        asked = completion(None, ("call_Xq", "find", '{"n": 1,  "n2":3.0632e-05}'), ("call_Yz", "find", "{broken"))
        response = ChatCompletion.model_validate(asked)
        talk.decision(request={**params, "messages": messages}, response=response, latency_ms=812.5, cost_usd=0.0004)
        messages.append(response.choices[0].message)
        talk.tool_result("call_Xq", '{"state": "sent"}')
        talk.tool_result("call_Yz", None, error="no such thing")
        messages += [
            {"role": "tool", "tool_call_id": "call_Xq", "content": '{"state": "sent"}'},
            {"role": "tool", "tool_call_id": "call_Yz", "content": "no such thing"},
        ]
        said = completion("It was sent.")
        talk.decision(request={**params, "messages": messages}, response=said)
        messages += [{"role": "assistant", "content": "It was sent."}, {"role": "user", "content": "Thanks"}]
        talk.user("Thanks")
        talk.context("weather", "It rains.")
        messages.append({"role": "system", "content": "It rains."})
        talk.decision(request={**params, "messages": messages}, response=completion("Bye."))
        talk.end({"solved": True})


def test_every_context_of_a_recorded_conversation_verifies(
    store: Store, store_settings: Settings, recorder: Recorder
) -> None:
    """Recorded, exported and folded: each decision's request, rebuilt from events, is the one that was sent."""
    converse(recorder)
    assert recorder.flush(PATIENCE)
    rows = decisions(store, store_settings)
    assert [row["context_verified"] for row in rows] == [True, True, True]
    assert [row["context_messages"] for row in rows] == [2, 5, 8]
    assert [call["call_id"] for call in rows[0]["tool_calls"]] == ["call_Xq", "call_Yz"]
    first = rows[0]
    assert (first["input_tokens"], first["output_tokens"], first["latency_ms"], first["cost_usd"]) == (
        11,
        7,
        812.5,
        4e-4,
    )
    assert "secret" not in json.dumps([e.payload for e in store.read_stream(stream_id("shop", "loop"))])


def test_one_wrapped_call_records_the_whole_loop(store: Store, store_settings: Settings, recorder: Recorder) -> None:
    """`ask` alone is enough: system messages, user turns and tool results are taken from the requests."""
    answers = iter([completion(None, ("c", "find", "{}")), completion("Sent."), completion("Bye.")])
    sent = []

    def create(**request: Any) -> dict[str, Any]:
        sent.append(json.loads(json.dumps(request)))
        return next(answers)

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    messages: list[Any] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]},
    ]
    talk = recorder.conversation("wrapped")
    for extra in (
        [{"role": "tool", "tool_call_id": "c", "content": ""}],
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Thanks"}],
        [],
    ):
        response = talk.ask(client.chat.completions.create, model="m", messages=messages, tools=TOOLS)
        messages += [response["choices"][0]["message"], *extra]
    assert recorder.flush(PATIENCE)
    assert [row["context_verified"] for row in decisions(store, store_settings)] == [True, True, True]
    assert [len(request["messages"]) for request in sent] == [2, 4, 7]
    registered = list(store.read_stream(stream_id("shop/tools", store_hash(store))))
    assert len(registered) == 1, "the schemas are stored once, whatever the number of decisions"


def store_hash(store: Store) -> str:
    row = store.conn.execute(
        "SELECT payload ->> 'tools_sha256' FROM refold.events WHERE event_type LIKE 'model.decision.v%' LIMIT 1"
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_a_context_that_differs_is_not_called_verified(
    store: Store, store_settings: Settings, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """What the agent saw and nobody recorded makes the check false, and the log names the message; a name is recorded."""
    said = completion("ok")
    with recorder.conversation("stuffed", system=[SYSTEM]) as talk:
        talk.user("Hi")
        stuffed = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hi\n\nDocument: …"}]
        talk.decision(request={"model": "m", "messages": stuffed}, response=said)
    with recorder.conversation("named") as talk:
        talk.decision(
            request={"model": "m", "messages": [{"role": "user", "content": "Hi", "name": "Ann"}]}, response=said
        )
    assert recorder.flush(PATIENCE)
    assert sorted(row["context_verified"] for row in decisions(store, store_settings)) == [False, True]
    assert "first in message 1" in caplog.text


def test_odd_input_neither_raises_nor_vanishes(store: Store, recorder: Recorder) -> None:
    """NUL, lone surrogates, NaN, foreign objects and broken requests are recorded in another spelling, and flagged."""
    with recorder.conversation("odd") as talk:
        talk.user("a\0b\ud800")
        talk.tool_result("c", {"nan": float("nan"), "object": object(), 1: (2,), "deep": 10**5000})
        talk.decision(request={"messages": "nonsense"}, response=None)
        assert len(talk.decision(request=5, response=None)) == 1
        talk.decision(
            request={"model": "m", "messages": [{"role": "ghost"}]},
            response={"choices": [{"message": {"tool_calls": 7}}]},
        )
        talk.end(None)
    assert recorder.flush(PATIENCE)
    events = list(store.read_stream(stream_id("shop", "odd")))
    assert [e.event_type.split(".v")[0] for e in events] == [
        "conversation.started", "user.utterance", "tool.result", "model.decision", "model.decision", "model.decision",
        "agent.utterance", "conversation.ended",
    ]  # fmt: skip
    assert events[1].payload["text"] == "a\\u0000b\\ud800"
    assert events[1].metadata["escaped"] == ["/text"]
    assert recorder.status().lost == recorder.status().refused == recorder.status().failed == 0
    assert recorder.status().described == 1


def test_a_failed_call_is_recorded_and_raised(store: Store, recorder: Recorder) -> None:
    """An exception of the client reaches the agent unchanged; the decision says which it was."""

    def create(**_: Any) -> None:
        raise TimeoutError

    with recorder.conversation("failed") as talk, pytest.raises(TimeoutError):
        talk.ask(create, model="m", messages=[{"role": "user", "content": "Hi"}])
    assert recorder.flush(PATIENCE)
    *_, decision = store.read_stream(stream_id("shop", "failed"))
    assert (decision.payload["error"], decision.payload["finish_reason"]) == ("TimeoutError", None)


def test_a_resumed_conversation_goes_on_where_it_was(
    store: Store, store_settings: Settings, recorder: Recorder
) -> None:
    """With `resume` the stored context is continued: nothing is recorded again, and the next request verifies."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hi"}]
    recorder.conversation("r").decision(request={"model": "m", "messages": messages}, response=completion("Yes?"))
    messages += [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Where?"}]
    again = recorder.conversation("r", resume=True)
    versions = again.decision(request={"model": "m", "messages": messages}, response=completion("There."))
    assert recorder.flush(PATIENCE)
    assert versions == range(5, 8)
    assert types(store, "r").count("conversation.started.v1") == 1
    assert [row["context_verified"] for row in decisions(store, store_settings)] == [True, True]


def test_two_writers_of_one_conversation_lose_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Packets that find the stream elsewhere are appended after what is there, each once, in each writer's order."""
    with Recorder(store, source="shop") as one, Recorder(store, source="shop") as two:
        talks = [one.conversation("both"), two.conversation("both")]
        for number in range(30):
            for name, talk in zip("ab", talks, strict=True):
                talk.user(f"{name}{number}")
        assert one.flush(PATIENCE)
        assert two.flush(PATIENCE)
    stored = texts(store, "both")
    assert sorted(stored) == sorted(f"{name}{n}" for name in "ab" for n in range(30))
    for name in "ab":
        assert [text for text in stored if text[0] == name] == [f"{name}{n}" for n in range(30)]
    assert "another writer" in caplog.text


def test_the_right_to_append_is_enough(store: Store) -> None:
    """A recorder logged in as a member of `refold_writer` records, finds streams moved, and resumes without reading."""
    name = f"agent_{store.conn.info.dbname}"
    store.conn.execute(f'CREATE ROLE "{name}" LOGIN IN ROLE refold_writer')
    try:
        moved = NewEvent("user.utterance.v1", {"text": "before"})
        store.append(stream_id("shop", "w"), "conversation", [moved], "no_stream")
        with Recorder(store.dsn.replace("refold@", f"{name}@", 1), source="shop") as writer:
            writer.conversation("w").user("after")
            blind = writer.conversation("w", resume=True)
            request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            blind.decision(request=request, response=completion("ok"))
            assert writer.flush(PATIENCE)
    finally:
        store.conn.execute(f'DROP ROLE "{name}"')
    assert texts(store, "w") == ["before", "after"]
    assert types(store, "w")[-2:] == ["model.decision.v3", "agent.utterance.v1"]


def test_a_redaction_names_what_was_recorded(store: Store, recorder: Recorder) -> None:
    """The version that a recording call answers is the one that a redaction takes."""
    with recorder.conversation("private") as talk:
        talk.redact(talk.user("My number is 5")[-1], path="/text", span=(13, 14), reason="phone number")
    assert recorder.flush(PATIENCE)
    *_, said, redaction = store.read_stream(stream_id("shop", "private"))
    assert redaction.payload["span"] == {"path": "/text", "start": 13, "end": 14}
    assert redaction.payload["target"] == {"stream_version": said.stream_version}
    assert said.event_type == "user.utterance.v1"


def test_an_asynchronous_client_is_recorded_too(store: Store, recorder: Recorder) -> None:
    """`ask_async` awaits the call and records it like `ask`."""

    async def create(**_: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return completion("ok")

    talk = recorder.conversation("async")
    response = asyncio.run(talk.ask_async(create, model="m", messages=[{"role": "user", "content": "Hi"}]))
    assert response["id"] == "chatcmpl-1"
    assert recorder.flush(PATIENCE)
    assert types(store, "async")[-2:] == ["model.decision.v3", "agent.utterance.v1"]


@pytest.mark.parametrize(
    "options", [{"when_full": "drop"}, {"when_full": "spill"}, {"buffer_packets": 0}, {"store": "not a dsn secret"}]
)
def test_settings_that_cannot_work_are_refused_at_once(options: dict[str, Any]) -> None:
    """A recorder that could never keep its promise is an error where it is made; the connection string is not repeated."""
    with pytest.raises(BadInputError) as refused:
        Recorder(**{"store": NOWHERE, **options})
    assert "secret" not in str(refused.value)


# --- the store is away ------------------------------------------------------------------------------------------------


def test_the_buffer_is_bounded_and_raises_when_asked_to() -> None:
    """`raise`: a full buffer is told to the agent, and what did not fit is not half recorded."""
    with Recorder(NOWHERE, when_full="raise", buffer_packets=3) as recorder:
        talk = recorder.conversation("c")
        assert [len(talk.user(str(n))) for n in range(3)] == [2, 1, 1]
        with pytest.raises(RecorderFull):
            talk.user("too much")
        assert recorder.status().buffered == 3
        recorder.close(timeout=0)
        assert recorder.status().lost == 3, "without a folder the rest is lost, and counted"


def test_blocking_waits_for_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """`block`: a full buffer holds the agent until the store takes something; nothing is lost."""
    real_connect = connect
    opened_at = time.monotonic() + 0.5

    def late(dsn: str) -> Any:
        return real_connect(NOWHERE if time.monotonic() < opened_at else dsn)

    monkeypatch.setattr("pipelines.recorder.sender.connect", late)
    with Recorder(store, source="shop", buffer_packets=2) as recorder:
        talk = recorder.conversation("blocked")
        for number in range(20):
            talk.user(str(number))
        assert time.monotonic() >= opened_at
        assert recorder.flush(PATIENCE)
    assert texts(store, "blocked") == [str(n) for n in range(20)]


def test_spilled_calls_reach_the_store_later_once_and_in_order(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`spill`: an absent store costs the agent nothing; the next recorder on the folder sends all of it, and the folder is empty."""
    folder = tmp_path / "spill"
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=folder, buffer_packets=5) as away:
        for number in range(40):
            away.conversation(f"c{number % 4}", resume=False).user(str(number))
        assert not away.close(timeout=0)
        assert away.status().lost == 0
    assert caplog.text.count("cannot send") == 1, "an absent store is told once"
    with Recorder(store, source="shop", when_full="spill", spill=folder) as recorder:
        assert recorder.flush(PATIENCE)
    assert list(folder.iterdir()) == []
    assert [texts(store, f"c{c}") for c in range(4)] == [[str(n) for n in range(c, 40, 4)] for c in range(4)]


def test_every_call_may_go_to_disk_first(store: Store, tmp_path: Path) -> None:
    """With no memory at all the spill file is an outbox: it is drained while it is written."""
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as recorder:
        talk = recorder.conversation("outbox")
        for number in range(50):
            talk.user(str(number))
        assert recorder.flush(PATIENCE)
    assert texts(store, "outbox") == [str(n) for n in range(50)]
    assert list(tmp_path.iterdir()) == []


RECORD = """
import sys
from pathlib import Path
from pipelines.recorder import Recorder
talk = Recorder(sys.argv[1], source="shop", when_full="spill", spill=Path(sys.argv[2]), buffer_packets=0).conversation("killed")
for number in range(10_000):
    talk.user(str(number))
    print(number, flush=True)
"""


def test_a_killed_agent_keeps_what_it_was_told_is_safe(store: Store, tmp_path: Path) -> None:
    """`kill -9` of a recorder that writes to disk first: every call that had returned reaches the store, once, in order."""
    command = [sys.executable, "-c", RECORD, NOWHERE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        for _ in range(40):
            agent.stdout.readline()
        agent.kill()
        last = [40, *(int(line) + 1 for line in agent.stdout)][-1]
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        assert recorder.flush(PATIENCE)
    stored = texts(store, "killed")
    assert stored == [str(n) for n in range(len(stored))]
    assert len(stored) in (last, last + 1), "the call that was cut off may be there or not"


_schedules = st.lists(st.sampled_from(["before", "after", "conflict", None, None, None]), max_size=25)


@example(schedule=["conflict", None, "after"], memory=0, batch=1)
@example(schedule=["conflict", None, "after", "after", "conflict", None, "before"], memory=100, batch=5)
@given(schedule=_schedules, memory=st.sampled_from([0, 3, 100]), batch=st.integers(1, 5))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_failures_loses_and_doubles_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: list[str | None], memory: int, batch: int
) -> None:
    """Answers lost before and after the store has a batch, another writer in between, memory full at any time: once, in order."""
    source = f"shop {next(_numbers)}"
    streams = [stream_id(source, f"c{c}") for c in range(2)]
    todo = iter(schedule)
    other = connect(store.dsn)

    foreign = NewEvent("context.supplied.v1", {"kind": "x", "content": None})
    real_append = Store.append

    def failing(real: Any) -> Any:
        def wrapped(self: Store, *args: Any, **options: Any) -> Any:
            step = next(todo, None)
            if step == "before":
                raise StoreUnavailable("lost")
            if step == "conflict":
                real_append(Store(other, store.dsn), streams[0], "conversation", [foreign], "any")
            result = real(self, *args, **options)
            if step == "after":
                raise StoreUnavailable("lost")
            return result

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", failing(real_append))
        patch.setattr(Store, "append_many", failing(Store.append_many))
        patch.setattr("pipelines.recorder.sender._FIRST_PAUSE", 0.001)
        patch.setattr("pipelines.recorder.sender._LONGEST_PAUSE", 0.001)
        patch.setattr("pipelines.recorder.sender._BATCH_PACKETS", batch)
        with Recorder(store, source=source, when_full="spill", spill=tmp_path, buffer_packets=memory) as recorder:
            talks = [recorder.conversation(f"c{c}") for c in range(2)]
            for number in range(16):
                talks[number % 2].user(str(number))
            assert recorder.flush(PATIENCE)
    other.close()
    for c in range(2):
        assert texts(store, f"c{c}", source) == [str(n) for n in range(c, 16, 2)]
    assert list(tmp_path.iterdir()) == []


DRAIN = """
import os, sys, time
from pathlib import Path
from pipelines.recorder import Recorder, sender
from pipelines.store import Store
at = int(sys.argv[3])
done = 0
def killing(name):
    real = getattr(Store, name)
    def wrapped(*args, **kwargs):
        global done
        done += 1
        if done == at and at % 2: os.kill(os.getpid(), 9)   # before the store has it
        result = real(*args, **kwargs)
        if done == at: os.kill(os.getpid(), 9)              # after the store has it, before anyone knows
        return result
    setattr(Store, name, wrapped)
killing("append"); killing("append_many")
sender._BATCH_PACKETS = 3
Recorder(sys.argv[1], spill=Path(sys.argv[2])).flush()
"""


def test_a_drain_killed_at_any_point_loses_and_doubles_nothing(store: Store, tmp_path: Path) -> None:
    """`kill -9` before and after each step of a drain, again and again; another writer has moved one of the streams."""
    folder = tmp_path / "spill"
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=folder, buffer_packets=0) as away:
        talks = [away.conversation(f"k{c}") for c in range(2)]
        for number in range(16):
            talks[number % 2].user(str(number))
    foreign = NewEvent("user.utterance.v1", {"text": "foreign"})
    store.append(stream_id("shop", "k1"), "conversation", [foreign], "no_stream")
    kills = 0
    for at in (1, 2, 3, 4, 5):
        command = [sys.executable, "-c", DRAIN, store.dsn, str(folder), str(at)]
        kills += subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert kills == 5
    with Recorder(store, source="shop", spill=folder) as recorder:
        assert recorder.flush(PATIENCE)
    assert texts(store, "k0") == [str(n) for n in range(0, 16, 2)]
    assert texts(store, "k1") == ["foreign", *(str(n) for n in range(1, 16, 2))]
    assert list(folder.iterdir()) == []


def test_a_damaged_file_keeps_nothing_from_being_sent(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in the folder that SQLite cannot read is told and set aside; what other recorders left there is sent."""
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as away:
        away.conversation("left", resume=False).user("0")
    (tmp_path / f"0{SUFFIX}").write_bytes(b"no database" * 1000)
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        assert recorder.flush(PATIENCE)
    assert texts(store, "left") == ["0"]
    assert [entry.name for entry in tmp_path.iterdir()] == [f"0{SUFFIX}{DAMAGED}"]
    assert caplog.text.count("cannot be sent") == 1


def test_a_recorder_whose_own_file_is_damaged_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in it is lost to the recorder, counted, and left to a person; what comes after it is kept in another file."""
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as away:
        talk = away.conversation("torn", resume=False)
        for number in range(3):
            talk.user(str(number))
        with monkeypatch.context() as patch:
            real, damaged = SpillFile.append, []

            def once(file: SpillFile, packets: Any) -> None:
                if not damaged:
                    damaged.append(file.path)
                    raise SpillDamagedError("torn")
                real(file, packets)

            patch.setattr(SpillFile, "append", once)
            talk.user("3")
        assert away.status().lost == 3
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        assert recorder.flush(PATIENCE)
    assert texts(store, "torn") == ["3"]
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{damaged[0].name}{DAMAGED}"]


def test_a_disk_without_room_costs_what_it_has_no_room_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls that can be neither kept in memory nor on disk are counted and told once; the agent goes on, and so do later calls."""
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as away:
        talk = away.conversation("room", resume=False)
        talk.user("0")
        with monkeypatch.context() as patch:

            def full(*_: Any) -> None:
                raise OSError("database or disk is full")

            patch.setattr(SpillFile, "append", full)
            talk.user("1")
            talk.user("2")
        assert away.status().lost == 2
        talk.user("3")
    assert caplog.text.count("cannot spill: database or disk is full") == 1
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        assert recorder.flush(PATIENCE)
    assert texts(store, "room") == ["0", "3"]


@pytest.mark.parametrize("is_own", [True, False])
def test_a_file_that_turns_out_damaged_while_it_is_sent_is_set_aside(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    """Its own file or one that was left: it is renamed, and what is recorded afterwards is sent."""
    with Recorder(NOWHERE, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as away:
        away.conversation("gone", resume=False).user("0")
    if is_own:
        (left,) = tmp_path.glob(f"*{SUFFIX}")
        left.unlink()
    real, damaged = SpillFile.read, []

    def once(file: SpillFile, *bounds: int) -> Any:
        if not damaged:
            damaged.append(file.path)
            raise SpillDamagedError("torn")
        return real(file, *bounds)

    monkeypatch.setattr(SpillFile, "read", once)
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as recorder:
        if is_own:
            recorder.conversation("lost").user("1")
        began = time.monotonic()
        assert recorder.flush(PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2, "who waits was not told that nothing is left"
        assert recorder.status().lost == is_own
        recorder.conversation("later").user("2")
        assert recorder.flush(PATIENCE)
    assert texts(store, "later") == ["2"]
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{damaged[0].name}{DAMAGED}"]


def test_an_error_that_nobody_foresaw_loses_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the thread meets is told with its trace, and what waits is sent once it has passed."""
    real, failed = Store.append_many, []

    def once(self: Store, *args: Any, **options: Any) -> Any:
        if not failed:
            failed.append(1)
            raise RuntimeError("unforeseen")
        return real(self, *args, **options)

    monkeypatch.setattr(Store, "append_many", once)
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path) as recorder:
        recorder.conversation("odd").user("0")
        assert recorder.flush(PATIENCE)
    assert texts(store, "odd") == ["0"]
    assert "the recorder's thread failed; it goes on" in caplog.text
    assert "unforeseen" in caplog.text


def test_an_outbox_is_one_file_and_deletes_what_is_sent(store: Store, tmp_path: Path) -> None:
    """A recorder without memory keeps one file from its first call on, and no sent call in it."""
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as recorder:
        talk = recorder.conversation("outbox")
        for number in range(5):
            talk.user(str(number))
            assert recorder.flush(PATIENCE)
            assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
            assert recorder.status().spilled_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_recorder_survives_its_server(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Connections cut again and again while an agent talks: every call is in the store once, in order."""
    caplog.set_level(logging.INFO, "refold.recorder")
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path, buffer_packets=8) as recorder:
        talk = recorder.conversation("cut")
        for number in range(300):
            talk.user(str(number))
            if number % 20 == 0:
                store.conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
        assert recorder.flush(PATIENCE)
    assert texts(store, "cut") == [str(n) for n in range(300)]


def test_what_the_store_refuses_is_set_aside(store: Store, tmp_path: Path) -> None:
    """A packet that can never be stored goes to `refused.jsonl` with the reason; what follows it is sent."""
    with Recorder(store, source="shop", when_full="spill", spill=tmp_path, buffer_packets=0) as recorder:
        talk = recorder.conversation("bad")
        talk.user("one")
        bad = NewEvent("never.registered.v1", {"x": 1}, {}, datetime.now(UTC))
        recorder.send(talk.stream, "conversation", 2, [bad])
        talk._known.version += 1
        talk.user("two")
        assert recorder.flush(PATIENCE)
        assert recorder.status().refused == 1
    assert texts(store, "bad") == ["one", "two"]
    (line,) = (tmp_path / REFUSED).read_text().splitlines()
    assert "never.registered.v1" in json.loads(line)["reason"]


def test_a_sealed_month_takes_nothing_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    """Spilled before its month was sealed: the event is appended now and says when it happened."""
    then = datetime(2026, 1, 31, 12, tzinfo=UTC)
    file = SpillFile.create(tmp_path)
    line = write_line(
        stream_id("shop", "late"), "conversation", [NewEvent("user.utterance.v1", {"text": "x"}, {}, then)]
    )
    file.append([Packet(line, 0)])
    file.close()
    store.ensure_months([then])
    store.close_month("2026-01")
    document = Signed('{"generation":1,"month":"2026-01"}', None)
    store.seal_month("2026-01", document, document)
    with Recorder(store, source="shop", spill=tmp_path) as recorder:
        assert recorder.flush(PATIENCE)
    (event,) = store.read_stream(stream_id("shop", "late"))
    assert event.created_at > then
    assert event.metadata["occurred_at"] == "2026-01-31T12:00:00.000000Z"


@given(value=st.dictionaries(chat_strategies.text, chat_strategies.json_values, max_size=4))
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_storable_value_is_what_jsonb_gives_back(store: Store, value: dict[str, Any]) -> None:
    """Key order, number spelling and all: the recorder hashes exactly what a reader of the store will see."""
    storable = Storable()
    made = storable(value)
    row = store.conn.execute("SELECT %s::jsonb::text", [json.dumps(made, ensure_ascii=False)]).fetchone()
    assert row is not None
    assert json.dumps(json.loads(row[0])) == json.dumps(made)
    assert storable.changed == []
