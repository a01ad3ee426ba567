"""`refold receive` as exporters meet it: the real SDK and an instrumentation, restarts and kills in between, and what is refused.

What was sent is held to what the store has at the end: every message once, whatever happened to the receiver.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pipelines.ingest.forms.form import Options
from pipelines.receive.folder import Folder
from pipelines.receive.rounds import Rounds
from pipelines.receive.traces import Traces, Waits
from pipelines.store import Store
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[2]
_ENDPOINT = re.compile(r"OTEL_EXPORTER_OTLP_ENDPOINT=(http://[\d.]+:\d+)")
JSON = "application/json"
NOWHERE = "postgresql://127.0.0.1:1/none"


@dataclass
class Running:
    """A receiver in a process of its own."""

    process: subprocess.Popen
    url: str
    log: Path

    def post(self, body: bytes, path: str = "/v1/traces", **headers: str) -> httpx.Response:
        given = {"Content-Type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, content=body, headers=given, timeout=PATIENCE)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == (-9 if number == signal.SIGKILL else 0), self.log.read_text()


@contextmanager
def receiver(home: Path, dsn: str | None, *arguments: str, most_file: int | None = None, **variables: str):
    """`refold receive` on a free port, from when it listens; killed in the end, if it was not ended before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    environment |= {"REFOLD_HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    if dsn is not None:
        environment["REFOLD_DSN"] = dsn

    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"receiver-{time.time_ns()}.log"
    command = [sys.executable, "-m", "pipelines.cli", "receive", "--port", "0", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    if most_file is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most_file, most_file))
    try:

        def endpoint() -> re.Match | None:
            assert process.poll() is None, log.read_text()
            return _ENDPOINT.search(log.read_text())

        yield Running(process, wait_until(endpoint, log.read_text)[1].replace("0.0.0.0", "127.0.0.1"), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@dataclass
class Program:
    """A program that talks, and records its calls with the SDK: a trace a turn, the session on the root alone."""

    url: str
    said: list[dict] = field(default_factory=list)

    def turn(self, session: str, text: str, *, in_logs: bool = False) -> None:
        resource_ = Resource.create({"service.name": "shop"})
        traces, logs = TracerProvider(resource=resource_), LoggerProvider(resource=resource_)
        packed = {"compression": Compression.Gzip}
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{self.url}/v1/traces", **packed)))
        logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{self.url}/v1/logs", **packed)))
        self.said.append({"role": "user", "parts": [{"type": "text", "content": text}]})
        answer = {"role": "assistant", "parts": [{"type": "text", "content": f"re {text}"}], "finish_reason": "stop"}
        content = {
            "gen_ai.input.messages": json.dumps(self.said),
            "gen_ai.output.messages": json.dumps([answer]),
        }
        named = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7}
        tracer = traces.get_tracer("program")
        with (
            tracer.start_as_current_span("agent", attributes={"session.id": session}),
            tracer.start_as_current_span("chat m", attributes=named if in_logs else named | content),
        ):
            if in_logs:
                logs.get_logger("program").emit(
                    event_name="gen_ai.client.inference.operation.details", attributes=named | content
                )
        self.said.append(answer)
        logs.shutdown()
        traces.shutdown()


def texts(store: Store) -> list[tuple[str, str]]:
    """What was said, as the events have it: stream and text, in order."""
    rows = store.conn.execute(
        "SELECT aggregate_id::text, payload ->> 'text', payload #>> '{content}' FROM refold.events"
        " WHERE event_type LIKE 'user.utterance.%' OR event_type LIKE 'agent.utterance.%' ORDER BY aggregate_id, stream_version"
    ).fetchall()
    return [(stream, text or content) for stream, text, content in rows]


def span(
    trace: int, number: int, text: str | None = None, *, session: str = "", parent: int = 0, start: int = 1
) -> dict:
    """A span of OTLP's JSON; a model call where it says something."""
    attributes = {"session.id": session} if session else {}
    if text is not None:
        attributes |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}]),
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": f"re {text}"}]}]
            ),
        }
    begin = 1_760_000_000_000_000_000 + start * 10**9
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        **({"parentSpanId": f"{parent:016x}"} if parent else {}),
        "name": "s",
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + 1000),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }


def request(*spans: dict) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


@pytest.mark.parametrize("in_logs", [False, True], ids=["content in spans", "content in log records"])
def test_a_session_grows_whatever_happens_to_the_receiver(in_logs, store, store_settings, tmp_path):
    """A turn, a stop; a turn, a kill before it is imported; a turn: three turns are there, each once, in one stream."""
    home, dsn = tmp_path / "home", store_settings.dsn
    program = Program("")
    with receiver(home, dsn, "--quiet", "0.5") as first:
        program.url = first.url
        program.turn("s1", "one", in_logs=in_logs)
        first.end()
    assert [text for _, text in texts(store)] == ["one", "re one"]
    with receiver(home, dsn) as second:
        program.url = second.url
        program.turn("s1", "two", in_logs=in_logs)
        second.end(signal.SIGKILL)
    assert len(texts(store)) == 2
    with receiver(home, dsn, "--every", "0.2", "--quiet", "1") as third:
        program.url = third.url
        program.turn("s1", "three", in_logs=in_logs)
        wait_until(lambda: len(texts(store)) == 6)
        third.end(signal.SIGINT)
    assert [text for _, text in texts(store)] == ["one", "re one", "two", "re two", "three", "re three"]
    assert len({stream for stream, _ in texts(store)}) == 1
    assert not (home / "set_aside").exists()


def test_kills_at_any_time_lose_and_double_nothing(store, store_settings, tmp_path):
    """Forty conversations, each sent until it is acknowledged, to receivers that are killed while they receive and import."""
    home, wanted, sent = tmp_path / "home", 40, 0
    for life in range(6):
        with receiver(home, store_settings.dsn, "--every", "0.1", "--quiet", "0") as running:
            begin = time.monotonic()
            while sent < wanted and time.monotonic() < begin + 0.15 * (life + 1):
                body = request(span(sent + 1, 1, f"text {sent}", session=f"s{sent}"))
                assert running.post(body).status_code == 200
                running.post(body)  # whoever got no answer sends it again
                sent += 1
            running.end(signal.SIGKILL)
    with receiver(home, store_settings.dsn, "--quiet", "0") as last:
        while sent < wanted:
            assert last.post(request(span(sent + 1, 1, f"text {sent}", session=f"s{sent}"))).status_code == 200
            sent += 1
        last.end()
    said = sorted(text for _, text in texts(store))
    assert said == sorted(each for n in range(wanted) for each in (f"text {n}", f"re text {n}"))


def test_a_body_that_was_not_whole_is_not_kept(store, store_settings, tmp_path):
    """Killed before the end of a body, nothing of it is there; what a crash left of a file is removed."""
    home = tmp_path / "home"
    body = request(span(1, 1, "half"))
    with receiver(home, store_settings.dsn) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:-10])
            time.sleep(0.2)
            running.end(signal.SIGKILL)
    (home / "received" / "00000000000000000001-x.part").write_bytes(body[:-10])
    with receiver(home, store_settings.dsn) as running:
        running.end()
    assert [each.name for each in (home / "received").iterdir()] == ["lock"]
    assert texts(store) == []


@pytest.fixture
def rounds(store, store_settings, tmp_path):
    """Makes the rounds of a process that begins now; the one before is as if it had been killed."""
    told: list[str] = []
    folders: list[Folder] = []

    def begin() -> Rounds:
        for folder in folders:
            folder.close()
        folders[:] = [Folder(tmp_path / "home")]
        opened = lambda: Store.open(store_settings)  # noqa: E731
        options, waits = Options(memory_bytes=3 * 10**9), Waits(0, 0)
        made = Rounds(folders[0], Traces(), tmp_path / "home", opened, options, waits, 7, told.append)
        made.load()
        return made

    begin.told = told
    yield begin
    for folder in folders:
        folder.close()


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_between_the_import_and_its_note(rounds, store, monkeypatch):
    """What was committed and not noted is imported again, and appends nothing; then it is noted."""
    first = rounds()
    first.keep(request(span(1, 1, "once")) + b"\n")

    def die(*_given):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Rounds, "_done", die)
        with pytest.raises(Killed):
            first.run()
    before = store.conn.execute("SELECT count(*) FROM refold.events").fetchone()
    second = rounds()
    assert second.traces.waiting() == 1
    second.run()
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == before
    assert [text for _, text in texts(store)] == ["once", "re once"]
    assert rounds().traces.waiting() == 0


def test_a_conversation_that_is_refused_is_set_aside_and_stops_no_other(rounds, store, refold, tmp_path):
    """One whose past changed goes to a file that the form reads, with the reason; those that came with it are imported."""
    running = rounds()
    running.keep(request(span(1, 1, "now", session="s", start=10)) + b"\n")
    running.run()
    running.keep(request(span(2, 1, "before", session="s", start=1), span(3, 1, "other")) + b"\n")
    running.run()
    assert sorted(text for _, text in texts(store)) == ["now", "other", "re now", "re other"]
    (told,) = [line for line in rounds.told if "set aside" in line]
    (aside,) = (tmp_path / "home" / "set_aside").glob("*.jsonl")
    assert str(aside) in told
    assert aside.with_suffix(".reason.txt").read_text().strip() in told
    records = [json.loads(line) for line in aside.read_text().splitlines()]
    ids = {
        each["traceId"]
        for line in records
        for block in line["resourceSpans"]
        for s in block["scopeSpans"]
        for each in s["spans"]
    }
    assert ids == {f"{number:032x}" for number in (1, 2)}
    assert refold("import", "otlp", str(aside), "--dry-run")[0] == 0
    assert running.traces.waiting() == rounds().traces.waiting() == 0


def test_bodies_go_when_they_are_old(rounds):
    """As long as a conversation may go on, what came of it is kept; then it is removed."""
    running = rounds()
    running.keep(request(span(1, 1, "a")) + b"\n")
    running.run()
    assert len(list(running.folder.kept())) == 1
    replace(running, kept_days=0).run()
    assert list(running.folder.kept()) == []


PROGRAM = """
import json, os, sys
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
messages, url = json.loads(sys.argv[1]), os.environ["MODEL_URL"]

def ask_openai():
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
    from openai import OpenAI
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(model="m", messages=messages).choices[0].message.content

def ask_anthropic():
    from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
    from anthropic import Anthropic
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    client = Anthropic(base_url=url, api_key="none", max_retries=0)
    return client.messages.create(model="m", max_tokens=9, messages=messages).content[0].text

with provider.get_tracer("program").start_as_current_span("turn", attributes={"session.id": "talk"}):
    print({"openai": ask_openai, "anthropic": ask_anthropic}[sys.argv[2]]())
provider.shutdown()
"""
"""A program that asks a model once, instrumented as a team does it."""


class Model(BaseHTTPRequestHandler):
    """Answers with how many messages it was sent, as OpenAI or as Anthropic does, by the path."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text, usage = f"answer {len(body['messages'])}", {"input_tokens": 5, "output_tokens": 3}
        if self.path.endswith("/messages"):
            content = [{"type": "text", "text": text}]
            answer = {
                "type": "message",
                "role": "assistant",
                "content": content,
                "stop_reason": "end_turn",
                "usage": usage,
            }
        else:
            usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            answer = {"object": "chat.completion", "choices": [choice], "usage": usage, "created": 1}
        data = json.dumps({"id": "x", "model": "m", **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_given):
        """Says nothing."""


@pytest.fixture
def model_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("maker", ["openai", "anthropic"])
def test_an_instrumented_program(maker, model_url, store, store_settings, tmp_path):
    """OpenTelemetry's own instrumentations send two turns, one before and one after a kill; each message is there once."""
    home, history = tmp_path / "home", []
    for turn, number in (("hello", signal.SIGKILL), ("and now?", signal.SIGTERM)):
        history.append({"role": "user", "content": turn})
        with receiver(home, store_settings.dsn, "--quiet", "0.5") as running:
            environment = dict(os.environ) | {
                "OTEL_EXPORTER_OTLP_ENDPOINT": running.url,
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
                "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
                "MODEL_URL": model_url,
            }
            command = [sys.executable, "-c", PROGRAM, json.dumps(history), maker]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            running.end(number)
        history.append({"role": "assistant", "content": done.stdout.strip()})
    assert [text for _, text in texts(store)] == ["hello", "answer 1", "and now?", "answer 3"]
    (asked,) = store.conn.execute(
        "SELECT count(*) FROM refold.events WHERE starts_with(event_type, 'model.decision.') AND payload @> %s::jsonb",
        [json.dumps({"usage": {"input_tokens": 5, "output_tokens": 3}})],
    ).fetchone()
    assert asked == 2


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A receiver that imports nothing while it is asked."""
    home = tmp_path_factory.mktemp("idle") / "home"
    with receiver(home, NOWHERE, "--max-body", "100KB", "--every", "3600") as running:
        yield running


GOOD = request(span(1, 1, "hi"))
REFUSED = {
    "no JSON": (400, {"body": b"{"}),
    "another document": (400, {"body": b'{"a": 1}'}),
    "a list": (400, {"body": b"[]"}),
    "nothing": (400, {"body": b""}),
    "an id that is none": (400, {"body": GOOD.replace(b"0" * 31 + b"1", b"x")}),
    "no UTF-8": (400, {"body": GOOD.replace(b"re hi", b"\xff")}),
    "protobuf that is none": (400, {"body": b"\xff", "content_type": "application/x-protobuf"}),
    "gzip that is none": (400, {"content_encoding": "gzip"}),
    "gzip that ends early": (400, {"body": gzip.compress(GOOD)[:-4], "content_encoding": "gzip"}),
    "too large": (413, {"body": GOOD + b" " * 100_000}),
    "too large unpacked": (413, {"body": gzip.compress(GOOD + b" " * 10**7), "content_encoding": "gzip"}),
    "text": (415, {"content_type": "text/plain"}),
    "deflate": (415, {"content_encoding": "deflate"}),
    "metrics": (404, {"path": "/v1/metrics"}),
    "another server": (403, {"host": "evil.example"}),
    "another port": (403, {"host": "127.0.0.1:1"}),
    "another page": (403, {"origin": "http://evil.example"}),
    "a page that asks for another site": (403, {"sec_fetch_site": "cross-site"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, idle):
    """By the status that OTLP has for it, with a Status in the encoding of the request, and nothing of it is kept."""
    before = sorted(idle.log.parent.glob("home/received/*"))
    status, given = REFUSED[case]
    answer = idle.post(**{"body": GOOD, **given})
    assert (answer.status_code, sorted(idle.log.parent.glob("home/received/*"))) == (status, before)
    if given.get("content_type") == "application/x-protobuf":
        assert answer.headers["content-type"] == "application/x-protobuf"
        assert answer.content[:1] == b"\x12"
    else:
        assert answer.headers["content-type"] == JSON
        assert set(answer.json()) == {"message"}


def test_what_is_accepted(idle):
    """With an Export…ServiceResponse in the encoding of the request; a GET is told of POST."""
    empty = {"content_type": "application/x-protobuf"}
    for given, body in (
        ({"body": GOOD}, b"{}"),
        ({"body": gzip.compress(GOOD), "content_encoding": "gzip"}, b"{}"),
        ({"body": b"{}", "content_type": "application/json; charset=utf-8", "path": "/v1/logs"}, b"{}"),
        ({"body": b"", **empty}, b""),
        ({"body": b"", "path": "/v1/logs", **empty}, b""),
    ):
        answer = idle.post(**given)
        assert (answer.status_code, answer.content) == (200, body)
        assert answer.headers["content-type"] == given.get("content_type", JSON).partition(";")[0]
    refused = httpx.get(idle.url + "/v1/traces")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


BAD_RECORDS = {
    "an id that is none": lambda body: body.replace(f"{99:032x}".encode(), b"x"),
    "a text that cannot be stored": lambda body: body.replace(b"re bad", b"re \\u0000"),
    "no id": lambda body: body.replace(f'"traceId": "{99:032x}", '.encode(), b""),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_one_bad_record_does_not_take_the_others_with_it(case, idle):
    """They are kept before the answer, which says how many are not, and why."""
    good, bad = json.loads(request(span(88, 1, "fine"))), json.loads(request(span(99, 1, "bad")))
    blocks = [block for each in (good, bad) for block in each["resourceSpans"]]
    answer = idle.post(BAD_RECORDS[case](json.dumps({"resourceSpans": blocks}).encode()))
    assert answer.status_code == 200
    told = answer.json()["partialSuccess"]
    assert told["rejectedSpans"] == "1"
    assert told["errorMessage"]
    newest = max(idle.log.parent.glob("home/received/*.jsonl"))
    assert f"{88:032x}" in newest.read_text()
    assert "bad" not in newest.read_text()


def test_a_body_is_there_before_its_answer(idle):
    """A file that only this account may read, which the form reads."""
    assert idle.post(request(span(77, 1, "kept"))).status_code == 200
    (kept,) = [each for each in idle.log.parent.glob("home/received/*.jsonl") if f"{77:032x}" in each.read_text()]
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_one_receiver_a_home(idle):
    """A second one says so, and ends."""
    environment = {**os.environ, "REFOLD_HOME": str(idle.log.parent / "home")}
    command = [sys.executable, "-m", "pipelines.cli", "receive", "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, "another receiver" in done.stderr) == (2, True)


def test_other_machines_need_a_token(refold, monkeypatch):
    """Without one nothing is listened on; one that no header takes is refused."""
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        code, _, err = refold("receive", "--host", host)
        assert (code, "REFOLD_RECEIVE_TOKEN" in err) == (2, True)
    monkeypatch.setenv("REFOLD_RECEIVE_TOKEN", "two words")
    assert refold("receive")[0] == 2


def test_a_token_is_asked_for(tmp_path):
    """Of everybody, once it is set; elsewhere than on loopback any name of the machine will do, and no page may send."""
    arguments, token = ("--host", "0.0.0.0", "--every", "3600"), {"REFOLD_RECEIVE_TOKEN": "secret"}
    with receiver(tmp_path / "home", NOWHERE, *arguments, **token) as running:
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"authorization": "Basic secret"}, 401),
            ({"authorization": "Bearer secret"}, 200),
            ({"authorization": "bearer secret", "host": "traces.example"}, 200),
            ({"authorization": "Bearer secret", "origin": running.url}, 403),
        ):
            assert running.post(GOOD, **headers).status_code == status, headers
        assert "secret" not in running.log.read_text()


def test_a_disk_without_room(tmp_path):
    """A body that cannot be written is answered by 503 and when to come again; nothing of it stays, and smaller ones are kept."""
    with receiver(tmp_path / "home", NOWHERE, "--every", "3600", most_file=50_000) as running:
        answer = running.post(request(span(1, 1, "x" * 100_000)))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert [each.name for each in (tmp_path / "home" / "received").iterdir()] == ["lock"]
        assert running.post(GOOD).status_code == 200


def test_a_store_that_is_away(store, store_settings, tmp_path):
    """What comes is kept and said to wait; the next receiver imports it."""
    home = tmp_path / "home"
    with receiver(home, NOWHERE, "--every", "0.1", "--quiet", "0") as running:
        assert running.post(GOOD).status_code == 200
        wait_until(lambda: "tried again" in running.log.read_text())
        running.end()
        assert "1 conversation not imported yet" in running.log.read_text()
    with receiver(home, store_settings.dsn, "--quiet", "0") as running:
        running.end()
    assert [text for _, text in texts(store)] == ["hi", "re hi"]
