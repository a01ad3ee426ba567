"""A folder that is followed: each file once, whatever happens to it and to the process between two passes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest.follow import passing
from pipelines.ingest.follow.passing import Followed, Pass, follow
from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.form import Options, form_named
from pipelines.ingest.reading.room import Room
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.store.events import stream_id

START = 1_760_000_000
ROOM = Room(10**9, 10**8)


def exchange(number: int, *texts: str, answer: str = "ok", session: str = "s1") -> dict[str, Any]:
    """One logged call of LiteLLM."""
    sent = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    message = {"role": "assistant", "content": answer}
    response = {"id": f"r{number}", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    return {
        "messages": sent,
        "response": response,
        "session_id": session,
        "timestamp": START + number,
        "latency_sec": 1,
    }


def talk(*texts: str, name: str = "c") -> dict[str, Any]:
    """A line of chat completions."""
    said = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"source": "s", "conversation_id": name, "messages": said, "created_at": "2026-01-01T00:00:00Z"}


FIRST = exchange(1, "hi", answer="ho")
SECOND = exchange(2, "hi", "ho", "and?", answer="done")
THIRD = exchange(3, "hi", "ho", "and?", "done", "more", answer="enough")


class Folder:
    """A folder whose files were all left alone for an hour."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.changes = 0

    def write(self, name: str, *lines: dict[str, Any], text: str | None = None) -> Path:
        """A file of these lines; each write is a second after the one before."""
        path = self.path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) if text is None else text, encoding="utf-8")
        self.changes += 1
        at = time.time() - 3_600 + self.changes
        os.utime(path, (at, at))
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty one."""
    return Folder(tmp_path / "logs")


@pytest.fixture
def made(store: Store, folder: Folder, tmp_path: Path) -> Callable[..., Pass]:
    """Makes a pass over the folder."""

    def one(form: str = "litellm", *, is_dry: bool = False, **given: Any) -> Pass:
        followed = Followed(form, folder.path, **given)
        return follow(None if is_dry else store, followed, home=tmp_path / "home", room=ROOM)

    return one


def said(store: Store, source: str = "litellm", name: str = "s1") -> list[str]:
    events = store.read_stream(stream_id(source, name))
    return [event.payload["text"] for event in events if ".utterance." in event.event_type]


def count(store: Store) -> int:
    row = store.conn.execute("SELECT count(*) FROM refold.events").fetchone()
    assert row is not None
    return int(row[0])


def numbers(done: Pass) -> tuple[list[str], list[str], int, list[str], list[str]]:
    """New, grown, unchanged, waiting and refused files."""
    return done.new, done.grown, done.unchanged, sorted(done.waiting), sorted(done.refused)


def test_a_conversation_that_goes_on(store: Store, folder: Folder, made: Callable[..., Pass]) -> None:
    """In the file where it began, and in another one, whose calls alone would not be it: each event once."""
    folder.write("1.jsonl", FIRST)
    done = made()
    assert (numbers(done), done.conversations) == ((["1.jsonl"], [], 0, [], []), 1)
    assert numbers(made()) == ([], [], 1, [], [])
    folder.write("1.jsonl", FIRST, SECOND)
    done = made()
    assert (numbers(done), done.went_on) == (([], ["1.jsonl"], 0, [], []), 1)
    folder.write("2.jsonl", THIRD)
    done = made()
    assert (numbers(done), done.went_on) == ((["2.jsonl"], [], 1, [], []), 1)
    assert said(store) == ["hi", "ho", "and?", "done", "more", "enough"]
    assert numbers(made()) == ([], [], 2, [], [])


def test_nothing_is_read_of_what_is_known(
    folder: Folder, made: Callable[..., Pass], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that finds all as it was asks for no import at all."""
    folder.write("1.jsonl", FIRST)
    made()
    for name in ("import_form", "import_chat"):
        monkeypatch.setattr(passing, name, lambda *_given, **_more: pytest.fail("a file was read"))
    assert made().unchanged == 1


def test_without_the_note(store: Store, folder: Folder, tmp_path: Path, made: Callable[..., Pass]) -> None:
    """A note saves reading: without it all is read, and nothing is appended."""
    folder.write("1.jsonl", FIRST, SECOND)
    made()
    before = count(store)
    for note in (tmp_path / "home" / "follow").glob("*.json"):
        note.unlink()
    done = made()
    assert (done.new, done.events, done.already_present, count(store)) == (["1.jsonl"], 0, 1, before)


@pytest.mark.parametrize("form", ["litellm", "chat"])
def test_a_refused_file_holds_up_no_other(
    store: Store, folder: Folder, tmp_path: Path, made: Callable[..., Pass], form: str
) -> None:
    """It is told with its reason, again as long as it is as it was, and is tried when it changes."""
    lines = (
        [FIRST, exchange(9, "else", session="s2")] if form == "litellm" else [talk("hi", "ho"), talk("else", name="s2")]
    )
    folder.write("a.jsonl", lines[0])
    folder.write("b.jsonl", text='{"messages": 1}\n{nonsense}\n')
    folder.write("c.jsonl", lines[1])
    done = made(form)
    assert numbers(done) == (["a.jsonl", "c.jsonl"], [], 0, [], ["b.jsonl"])
    assert "b.jsonl:" in done.refused["b.jsonl"]
    before = count(store)
    again = made(form)
    assert (numbers(again), count(store)) == (([], [], 2, [], ["b.jsonl"]), before)
    assert "as it was" in again.refused["b.jsonl"]
    assert "nonsense" not in "".join(path.read_text() for path in (tmp_path / "home" / "follow").iterdir())
    folder.write("b.jsonl", exchange(5, "good", session="s3") if form == "litellm" else talk("good", name="s3"))
    assert numbers(made(form)) == ([], ["b.jsonl"], 2, [], [])
    assert numbers(made(form)) == ([], [], 3, [], [])


def test_a_file_that_contradicts_the_store(store: Store, folder: Folder, made: Callable[..., Pass]) -> None:
    """It is found among new ones that are good, and is tried again with what comes later."""
    folder.write("a.jsonl", talk("hi", "ho"), talk("x", "y", name="d"))
    made("chat")
    folder.write("a.jsonl", talk("hi", "changed"), talk("x", "y", "z", name="d"))
    folder.write("b.jsonl", talk("new", name="e"))
    done = made("chat")
    assert numbers(done) == (["b.jsonl"], [], 0, [], ["a.jsonl"])
    assert said(store, "s", "d") == ["x", "y"]
    folder.write("a.jsonl", talk("hi", "ho"), talk("x", "y", "z", name="d"))
    assert numbers(made("chat")) == ([], ["a.jsonl"], 1, [], [])
    assert said(store, "s", "d") == ["x", "y", "z"]


def test_calls_that_contradict_are_found_one_by_one(store: Store, folder: Folder, made: Callable[..., Pass]) -> None:
    """Files that are read together are parted where the store refuses them, and only the one that is wrong is left out."""
    folder.write("1.jsonl", FIRST)
    made()
    folder.write("1.jsonl", exchange(1, "hi", answer="never said"))
    folder.write("2.jsonl", exchange(9, "else", session="s2"))
    done = made()
    assert numbers(done) == (["2.jsonl"], [], 0, [], ["1.jsonl"])
    assert (said(store), said(store, name="s2")) == (["hi", "ho"], ["else", "ok"])
    folder.write("3.jsonl", exchange(10, "third", session="s3"))
    done = made()
    assert numbers(done) == (["3.jsonl"], [], 1, [], ["1.jsonl"])


def test_half_written(store: Store, folder: Folder, made: Callable[..., Pass]) -> None:
    """Half a last line waits, and so does what has just changed; nothing of it is imported until it is whole."""
    whole = json.dumps(FIRST) + "\n"
    folder.write("1.jsonl", text=whole + json.dumps(SECOND)[:-20])
    (folder.path / "2.jsonl").write_text(json.dumps(exchange(9, "else", session="s2")))
    done = made()
    assert (numbers(done), count(store)) == (([], [], 0, ["1.jsonl", "2.jsonl"], []), 0)
    folder.write("1.jsonl", FIRST, SECOND)
    assert numbers(made()) == (["1.jsonl"], [], 0, ["2.jsonl"], [])
    assert numbers(made(settle=0)) == (["2.jsonl"], [], 1, [], [])
    assert said(store) == ["hi", "ho", "and?", "done"]


def test_a_file_that_grows_while_it_is_read(
    store: Store, folder: Folder, made: Callable[..., Pass], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for known: the next pass reads it again."""
    folder.write("1.jsonl", FIRST)
    import_form = passing.import_form

    def growing(*given: Any, **more: Any) -> Any:
        done = import_form(*given, **more)
        folder.write("1.jsonl", FIRST, SECOND)
        return done

    monkeypatch.setattr(passing, "import_form", growing)
    assert made().new == ["1.jsonl"]
    monkeypatch.setattr(passing, "import_form", import_form)
    assert made().new == ["1.jsonl"]
    assert said(store) == ["hi", "ho", "and?", "done"]


def test_forms_are_told_apart(store: Store, folder: Folder, made: Callable[..., Pass]) -> None:
    """`auto` reads each file as what it is, and tells those that are of no form."""
    folder.write("1.jsonl", FIRST)
    folder.write(
        "data.json",
        text=json.dumps([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}]),
    )
    folder.write("README.md", text="# Logs\n")
    done = made("auto")
    assert (sorted(done.new), list(done.refused)) == (["1.jsonl", "data.json"], ["README.md"])
    folder.write("2.jsonl", SECOND)
    assert numbers(made("auto")) == (["2.jsonl"], [], 2, [], ["README.md"])
    assert said(store) == ["hi", "ho", "and?", "done"]


def test_the_verb(refold: Callable[..., tuple[int, str, str]], folder: Folder) -> None:
    """What it prints, its exit code, and what it does not go with."""
    folder.write("1.jsonl", FIRST)
    code, out, _ = refold("import", "litellm", "--follow", str(folder.path), "--dry-run")
    assert (code, "would be read: 1.jsonl" in out, "nothing was imported" in out) == (0, True, True)
    code, out, _ = refold("import", "litellm", "--follow", str(folder.path), "--json")
    told = json.loads(out)
    assert (code, told["new"], told["conversations"]) == (0, ["1.jsonl"], 1)
    assert refold("import", "litellm", "--follow", str(folder.path))[1].startswith("0 new, 0 grown, 1 unchanged")
    folder.write("2.jsonl", text="{bad\x1b[31m}\n")
    code, out, err = refold("import", "litellm", "--follow", str(folder.path))
    assert (code, "refused, until it changes: 2.jsonl: " in out, "\x1b" in out, err) == (3, True, False, "")
    code, out, _ = refold("import", "litellm", "--follow", str(folder.path), "--settle", "0", "--json")
    assert (code, list(json.loads(out)["refused"])) == (3, ["2.jsonl"])
    for arguments, why in (
        (["litellm", "x.jsonl", "--follow", str(folder.path)], "no files"),
        (["litellm", "--follow", str(folder.path), "--skip-bad", "x"], "no --skip-bad"),
        (["litellm", "--follow", str(folder.path), "--dsn", "x"], "no --dsn"),
        (["otlp", "--follow", str(folder.path / "none")], "no folder"),
        (["otlp"], "name files"),
        (["chat"], "name files"),
        (["chat", "x.jsonl", "--dry-run"], "--follow"),
        (["chat", "x.jsonl", "--settle", "1"], "--follow"),
        (["otlp", "x.jsonl", "--settle", "1"], "--follow"),
    ):
        code, _, err = refold("import", *arguments)
        assert (code, why in err) == (2, True), err


def test_the_verb_for_chat(refold: Callable[..., tuple[int, str, str]], store: Store, folder: Folder) -> None:
    """Lines and datasets of a shape."""
    folder.write("1.jsonl", talk("hi", "ho"))
    assert refold("import", "chat", "--follow", str(folder.path), "--dry-run")[0] == 0
    assert count(store) == 0
    assert refold("import", "chat", "--follow", str(folder.path))[0] == 0
    assert said(store, "s", "c") == ["hi", "ho"]
    (folder.path / "1.jsonl").unlink()
    folder.write(
        "2.jsonl", {"id": "q1", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    )
    code, out, _ = refold("import", "chat", "--shape", "sharegpt", "--follow", str(folder.path), "--json")
    assert (code, json.loads(out)["conversations"]) == (0, 1)


_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.ingest.follow import folder, passing
from pipelines.ingest.reading.room import Room
from pipelines.settings import Settings
from pipelines.store import Store

left = int(sys.argv[2])
save = folder.Memory.save

def killed(self):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self)

folder.Memory.save = killed
settings = Settings.from_env()
with Store.open(settings) as store:
    passing.follow(store, passing.Followed("chat", Path(sys.argv[1])), home=settings.home, room=Room(10**9, 10**8))
"""


def test_killed_in_the_middle(
    store: Store, store_settings: Settings, folder: Folder, tmp_path: Path, made: Callable[..., Pass]
) -> None:
    """Killed after the events of a file are there and before it is known: the next pass imports the others, and nothing twice."""
    for number in range(4):
        folder.write(f"{number}.jsonl", talk("hi", "ho", name=f"c{number}"))
    environment = os.environ | {"REFOLD_HOME": str(tmp_path / "home"), "REFOLD_DSN": store_settings.dsn or ""}
    events = []
    for saves in (1, 2):  # the first is before any import
        command = [sys.executable, "-c", _KILLED, str(folder.path), str(saves)]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        events.append(count(store))
    assert events[0] < events[1]
    done = made("chat")
    assert len(done.new) + done.unchanged == 4
    assert done.already_present == 1
    assert (numbers(made("chat"))[2], count(store)) == (4, events[0] * 4)


def test_traces_that_come_file_by_file(
    store: Store, folder: Folder, tmp_path: Path, shared_data: Path, made: Callable[..., Pass]
) -> None:
    """Real spans, a trace scattered over files that come one a pass, are the conversations that one import of all makes."""
    sample = shared_data / "formats" / "dev" / "01-otlp" / "emitted.calendar-semconv.otlp.jsonl.gz"
    if not sample.exists():
        pytest.skip(f"no real data: {sample} is not there")
    lines = gzip.decompress(sample.read_bytes()).decode().splitlines(keepends=True)
    for number in range(3):
        folder.write(f"{number}.jsonl", text="".join(lines[number * len(lines) // 3 : (number + 1) * len(lines) // 3]))
        done = made("otlp", source="followed")
        assert (done.new, done.refused) == ([f"{number}.jsonl"], {})
    assert numbers(made("otlp", source="followed")) == ([], [], 3, [], [])
    whole = import_form(store, form_named("otlp", tmp_path), [sample], Options("at once"), home=tmp_path / "home")
    assert whole.result is not None
    assert whole.result.conversations > 1
    for name in whole.read.conversations:
        one, other = (
            [
                (e.event_type, e.payload, e.metadata.get("occurred_at"))
                for e in store.read_stream(stream_id(source, name))
            ]
            for source in ("followed", "at once")
        )
        assert one == other
        assert one
