"""Do what each row of the table "Faults" of the shared cases did, by command, and hold what is seen to what the row calls right.

    python tests/acceptance/faults.py [ROW…] [--shared ../shared] [--keep FOLDER]

`ROW` is the beginning of a row's name, by default all. Each row prints `ok` or `WRONG`, its name and what was seen; the last line counts
them. The program runs in processes of its own on homes of its own; endpoints are the cases' `quirk_server.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900
"""Seconds of one command; waiting for ever was one of the faults."""
Seen = Iterator[tuple[str, Any, Any]]
"""What a row checks: a label, what was seen, and what is right, which is a value or a pattern."""
Row = Callable[["Bench"], Seen]
ROWS: dict[str, Row] = {}
CONVERSATIONS = (
    *(
        "parcels",
        "01-refusal-field",
        "01b-refusal-part",
        "02a-function-role",
        "02b-function-call-silent",
        "04-reasoning-parts",
    ),
    *("05-picture-without-words", "06-speakers", "16g-tools-on-line", "07-custom-tool", "21-no-arguments"),
)
"""Files that are imported into the home that most rows share."""


def row(name: str) -> Callable[[Row], Row]:
    """Give a row its name in the table."""

    def add(function: Row) -> Row:
        ROWS[name] = function
        return function

    return add


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """The JSON object that it printed; empty when it printed none."""
        found: dict[str, Any] = json.loads(self.out) if self.out.startswith("{") else {}
        return found


@dataclass(frozen=True, slots=True)
class Home:
    """One home, whose server is up.

    Attributes:
        path: Where.
        cases: The inputs.
    """

    path: Path
    cases: Path

    def start(self, *words: str, **given: Any) -> subprocess.Popen[str]:
        """A command beside the cases; `refold` is the program of this checkout."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
        env |= {"REFOLD_HOME": str(self.path), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pipelines.cli", *words[1:]] if words[0] == "refold" else list(words)
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.cases, env=env, stdout=pipe, stderr=pipe, text=True, **given)

    def run(self, *words: str) -> Done:
        """A command, waited for."""
        with self.start(*words, stdin=subprocess.DEVNULL) as process:
            try:
                out, err = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                return Done(-1, "", f"killed after {LIMIT} s")
        return Done(process.returncode, out, err)

    def refold(self, *words: str) -> Done:
        """A verb."""
        return self.run("refold", *words)

    def shell(self, line: str) -> Done:
        """A line of a shell in which `refold` is the program."""
        return self.run("bash", "-c", f'refold() {{ "{sys.executable}" -m pipelines.cli "$@"; }}; {line}')

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the lake."""
        done = self.refold("sql", "--format", "json", query)
        return [tuple(each.values()) for each in done.object.get("rows", [{"error": done.err}])]

    def stored(self, query: str, database: str = "refold") -> list[str]:
        """Rows of the store, values divided by bars."""
        done = self.refold("db", "psql", "--", "--dbname", database, "-At", "-c", query)
        return done.out.splitlines() or [done.err] if done.code else done.out.splitlines()


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison said, and the requests that its endpoint got."""

    home: Home
    done: Done
    requests: list[dict[str, Any]]

    def counts(self, *names: str) -> tuple[Any, ...]:
        """Numbers of its JSON object; the error when it printed none."""
        return tuple(self.done.object.get(name, self.done.err[-300:]) for name in names)

    def units(self, columns: str, table: str = "replays_history") -> list[tuple[Any, ...]]:
        """Distinct rows of its units and how many there are of each."""
        version = self.done.object.get("version_id", "none")
        return self.home.rows(
            f"SELECT {columns}, count(*) FROM {table} WHERE version_id = '{version}' GROUP BY ALL ORDER BY ALL"
        )

    def totals(self, metric: str) -> list[tuple[Any, ...]]:
        """Totals of a metric over both sides."""
        version = self.done.object.get("version_id", "none")
        chosen = f"version_id = '{version}' AND metric = '{metric}' AND segment = 'all'"
        return self.home.rows(f"SELECT total_a, total_b FROM ab_summary_history WHERE {chosen}")

    def told(self) -> str:
        """What its report says of answers."""
        page = self.home.path / self.done.object.get("report", "none")
        return (
            "; ".join(re.findall("[0-9,]+ of [0-9,]+ answers [^<.]{,80}", page.read_text()))
            if page.exists()
            else self.done.err
        )

    @property
    def kept(self) -> int:
        """Answers of its endpoint that are kept as paid for."""
        with closing(sqlite3.connect(self.home.path / "replays" / "responses.sqlite")) as connection:
            return int(connection.execute("SELECT count(*) FROM responses").fetchone()[0])


@dataclass(slots=True)
class Bench:
    """Where rows are done.

    Attributes:
        cases: The shared inputs.
        folder: Everything that is written.
    """

    cases: Path
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)
    _homes: dict[str, Home] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def home(self, name: str) -> Home:
        """A home of that name, empty at first, with its server up until the end."""
        if name not in self._homes:
            home = Home(self.folder / name, self.cases)
            for verb in ("start", "migrate"):
                done = home.refold("db", verb)
                if done.code:
                    sys.exit(f"no store could be made in {home.path}: {done.err}")
            self._stack.callback(home.refold, "db", "stop")
            self._homes[name] = home
        return self._homes[name]

    @property
    def recorded(self) -> Home:
        """The home that holds the cases' conversations, folded."""
        is_new = "recorded" not in self._homes
        home = self.home("recorded")
        if is_new:
            files = [f"{name}.jsonl" for name in CONVERSATIONS]
            for words in (["import", "chat", *files], ["export"], ["fold"]):
                done = home.refold(*words)
                if done.code:
                    sys.exit(f"refold {' '.join(words)} ended with {done.code}: {done.err}")
        return home

    def compare(self, file: str, mode: str = "plain", change: tuple[str, str] = ("", "")) -> Compared:
        """An experiment of the cases, its endpoint in one mode."""
        home = self.recorded
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copy(self.cases / "tools.json", folder)
        with endpoint(self.cases, mode, folder / "requests") as port:
            text = (self.cases / file).read_text().replace("127.0.0.1:8901", f"127.0.0.1:{port}")
            text = text.replace("experiment: ", f"experiment: {mode}-").replace(*change)
            (folder / file).write_text(text)
            done = home.refold("ab", str(folder / file), "--json")
        asked = (folder / "requests").read_text().splitlines()
        return Compared(home, done, [json.loads(line) for line in asked])


@contextmanager
def endpoint(cases: Path, mode: str, log: Path) -> Iterator[int]:
    """The cases' server in one mode, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen([sys.executable, str(cases / "quirk_server.py"), mode, str(port), str(log)])
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"quirk_server.py {mode} {port} does not answer")
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@row("08 pipe")
def pipe(bench: Bench) -> Seen:
    """Three conversations by every name that a shell gives a pipe, each time of another source."""
    home = bench.home("odd")
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    for number, line in enumerate(
        (
            "refold import chat <({})",
            "{} | refold import chat /dev/stdin",
            f"({{}} > {fifo} &) ; refold import chat {fifo}",
            "{} | refold import chat -",
        )
    ):
        done = home.shell(line.format(f"""sed 's/"source": "parcels"/"source": "pipe{number}"/' parcels.jsonl"""))
        yield line.format("…"), (done.code, done.out[:35]), (0, "3 conversations, 21 events appended")
    query = "SELECT metadata->>'source', count(DISTINCT aggregate_id), count(*) FROM refold.events WHERE metadata->>'source' LIKE 'pipe%' GROUP BY 1 ORDER BY 1"
    yield "in the store", home.stored(query), [f"pipe{number}|3|21" for number in range(4)]


@row("18 parse helper")
def parse_helper(bench: Bench) -> Seen:
    """The decision, with what the request asked for, and every message."""
    home = bench.home("odd")
    done = home.run(
        sys.executable,
        str(bench.cases / "18-parse-helper.py"),
        home.refold("db", "status", "--json").object["server"]["dsn"],
    )
    yield "exit code, log", (done.code, "not recorded" in done.err), (0, False)
    yield "said", done.out, re.compile("closed with everything sent: True")
    chosen = "FROM refold.events WHERE metadata->>'source' = 't18'"
    types = home.stored(f"SELECT DISTINCT split_part(event_type, '.v', 1) {chosen} ORDER BY 1")
    said = [
        "agent.utterance",
        "conversation.ended",
        "conversation.started",
        "model.decision",
        "prompt.registered",
        "user.utterance",
    ]
    yield "events", types, said
    yield (
        "format",
        home.stored(f"SELECT payload {chosen} AND event_type LIKE 'model.decision.%'"),
        re.compile("response_format.*Step"),
    )


@row("27, 09 far years")
def far_years(bench: Bench) -> Seen:
    """Refused at import with line and path; believed when somebody says so, and then exported like any month."""
    home = bench.home("years")
    for file, line in (("27-two-digit-year", 1), ("09-times-good", 5)):
        done = home.refold("import", "chat", f"{file}.jsonl")
        yield (
            file,
            (done.code, done.err),
            (2, re.compile(rf"{file}\.jsonl:{line}: \$\.messages\[0\]\.timestamp: .* before 2000-01-01")),
        )
    files = ["27-two-digit-year.jsonl", "09-times-good.jsonl"]
    done = home.refold("import", "chat", *files, "--times-from", "0001-01-01", "--times-until", "9999-12-31")
    yield "believed", (done.code, done.out), (0, re.compile("^8 conversations, 24 events"))
    done = home.refold("export")
    yield "export", (done.code, "Traceback" in done.err), (0, False)
    stored = home.stored(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM refold.events GROUP BY 1 ORDER BY 1"
    )
    exported = home.rows("SELECT month, count(*) FROM events GROUP BY 1 ORDER BY 1")
    yield "months", [f"{month}|{count}" for month, count in exported], stored
    yield "far ones", {month for month, _ in exported} >= {"0001-01", "0026-05", "2026-05", "9999-12"}, True


@row("23 keys twice")
def keys_twice(bench: Bench) -> Seen:
    """Refused with both lines, whichever file it is."""
    for file, told in (
        ("23-keys-twice.yaml", (r"metrics.*\b4\b.*\b11\b|\b11\b.*metrics.*\b4\b")),
        ("23c-budget-twice.yaml", r"budget.*\b7\b.*\b8\b|\b8\b.*budget.*\b7\b"),
    ):
        done = bench.recorded.refold("ab", file, "--dry-run")
        yield file, (done.code, done.err), (2, re.compile(told))
    shutil.copy(bench.cases / "23d-manifest-twice.yaml", bench.folder)
    manifest = bench.folder / "manifest.yaml"
    manifest.write_text("experiment: manifest\ncandidate: {echo: true}\ntools: {manifest: 23d-manifest-twice.yaml}\n")
    done = bench.recorded.refold("ab", str(manifest), "--dry-run")
    yield (
        "23d-manifest-twice.yaml",
        (done.code, done.err),
        (2, re.compile(r"pay_out.*\b2\b.*\b4\b|\b4\b.*pay_out.*\b2\b")),
    )


@row("16 error in a 200")
def error_in_a_200(bench: Bench) -> Seen:
    """A failed unit that is asked again, of which nothing is kept and nothing billed."""
    price = ("model-x\n", "model-x\n  price: {input_usd: 1, output_usd: 1, max_output_tokens: 1000}\n")
    kept = bench.compare("parcels-decision.yaml").kept
    for mode in ("error-choice", "error-body"):
        found = bench.compare("parcels-decision.yaml", mode, change=price)
        yield f"{mode}: code, words", (found.done.code, found.done.err), (1, re.compile("upstream went away"))
        most = max(found.requests.count(each) for each in found.requests)
        yield f"{mode}: asked again, kept", (most > 1, found.kept), (True, kept)
    found = bench.compare("parcels-decision.yaml", "error-body-2", change=price)
    yield "error-body-2", found.units("status, reason, text IS NULL AND call_count = 0"), [("ok", None, False, 9)]
    yield "error-body-2: requests, kept", (len(found.requests), found.kept), (27, kept + 9)
    billed = found.home.rows(
        f"SELECT round(1e6 * sum(cost_usd)) FROM replays_history WHERE version_id = '{found.done.object['version_id']}'"
    )
    yield "error-body-2: billed, 10 + 5 tokens of 1 USD a million", billed, [(9 * 15.0,)]


@row("17 declined by a filter")
def declined(bench: Bench) -> Seen:
    """The units of the conversation that the filter does not like, and no other."""
    for mode in ("filter-400", "moderated-403"):
        found = bench.compare("parcels-decision.yaml", mode)
        yield mode, (found.done.code, found.units("status, reason")), (0, [("failed", "refused", 3), ("ok", None, 6)])


@row("19 older and other tool calls in a response")
def other_tool_calls(bench: Bench) -> Seen:
    """The calls are there, so that the agent is its recording."""
    for mode in ("old-call", "split"):
        found = bench.compare("parcels-decision.yaml", mode)
        yield f"{mode}: pairs, same calls", found.counts("pairs", "same_calls"), (9, 9)
        found = bench.compare("parcels-turn.yaml", mode)
        yield (
            f"{mode}, turn: pairs, same calls, same text",
            found.counts("pairs", "same_calls", "same_final"),
            (3, 3, 3),
        )


@row("15 what must come back")
def what_must_come_back(bench: Bench) -> Seen:
    """No unit of mode turn fails, and the reasoning is in the later requests."""
    found = bench.compare("parcels-turn.yaml", "thinking")
    yield "pairs, failed, same calls", found.counts("pairs", "failed", "same_calls"), (3, 0, 3)
    said = [message for request in found.requests for message in request["messages"] if message["role"] == "assistant"]
    yield "sent back", {message.get("reasoning_content") for message in said}, {"I think about parcels."}


@row("14 ids of tool calls")
def ids_of_tool_calls(bench: Bench) -> Seen:
    """Ids that every endpoint takes."""
    for file, units in (("parcels-decision.yaml", 9), ("parcels-turn.yaml", 3)):
        found = bench.compare(file, "mistral-ids")
        yield f"{file}: pairs, failed, same calls", found.counts("pairs", "failed", "same_calls"), (units, 0, units)
        ids = {
            message["tool_call_id"]
            for request in found.requests
            for message in request["messages"]
            if message["role"] == "tool"
        }
        yield f"{file}: ids", (len(ids) > 0, all(re.fullmatch("[0-9A-Za-z]{9}", each) for each in ids)), (True, True)


@row("01 refusal field")
def refusal_field(bench: Bench) -> Seen:
    """The refusal is what the agent said, on both sides, and is sent on."""
    said = "SELECT is_refusal, text FROM decisions WHERE source = '{}' AND is_refusal"
    yield (
        "recorded",
        bench.recorded.rows(said.format("t01")),
        [(True, "I'm sorry, I can't help with that request.")] * 6,
    )
    yield "part", bench.recorded.rows(said.format("t01b")), [(True, "I can't share codes of other people's flats.")]
    found = bench.compare("01-refusal.yaml", "refuses")
    yield (
        "refusals A and B, same calls",
        (found.totals("refusals"), found.counts("pairs", "same_calls", "same_final")),
        ([(6.0, 6.0)], (12, 12, 12)),
    )
    found = bench.compare("01-refusal.yaml", "strict-openai")
    yield "strict-openai: pairs, failed", found.counts("pairs", "failed"), (12, 0)
    made = [message for request in found.requests for message in request["messages"] if message["role"] == "assistant"]
    yield "sent on", (len(made), all("help with that request" in json.dumps(message) for message in made)), (6, True)


@row("02 function_call")
def function_call(bench: Bench) -> Seen:
    """One tool call each, answered where the log answers it."""
    calls = bench.recorded.rows("SELECT name, arguments, output FROM tool_calls WHERE source = 't02' ORDER BY ALL")
    town = ("get_temperature", '{"town":"Turku"}', '"{\\"celsius\\": 11}"')
    yield "calls", calls, [("cancel_booking", '{"booking":88}', None), town, town, town]


@row("04 reasoning parts")
def reasoning_parts(bench: Bench) -> Seen:
    """The parts that are said, and no other; nothing of them is a refusal."""
    said = ["Opened paint stays with you; I can offer advice on storage.", "Yes, within 30 days.", "Yes."]
    text = bench.recorded.rows(
        "SELECT text FROM utterances WHERE source = 't04' AND role = 'agent' ORDER BY created_at"
    )
    yield "said", text, [(each,) for each in said]
    (bench.folder / "said.yaml").write_text("experiment: said\ncandidate: {echo: true}\nwhere: \"source = 't04'\"\n")
    found = Compared(bench.recorded, bench.recorded.refold("ab", str(bench.folder / "said.yaml"), "--json"), [])
    yield (
        "pairs, same text, refusals",
        (found.counts("pairs", "same_final"), found.totals("refusals")),
        ((3, 3), [(0.0, 0.0)]),
    )


@row("05 picture without words")
def picture_without_words(bench: Bench) -> Seen:
    """Four turns of three conversations are four units of mode turn, and three of mode single."""
    turns = bench.recorded.rows("SELECT turns FROM conversations WHERE source = 't05' ORDER BY ALL")
    yield "turns", turns, [(1,), (1,), (2,)]
    for file, units in (("05-single.yaml", 3), ("05-turn.yaml", 4)):
        yield f"{file}: pairs, same calls", bench.compare(file).counts("pairs", "same_calls"), (units, units)


@row("06 speakers")
def speakers(bench: Bench) -> Seen:
    """Names as recorded."""
    found = bench.compare("06-speakers.yaml")
    longest = max((request["messages"] for request in found.requests), key=len, default=[])
    yield "names sent", [message.get("name") for message in longest], [None, "Ines", "Omar", "planner", "Ines"]


@row("16g tools on the line")
def tools_on_the_line(bench: Bench) -> Seen:
    """Every request offers the tools that the line names."""
    found = bench.compare("16g-tools-on-line.yaml")
    offered = [[tool["function"]["name"] for tool in request.get("tools", [])] for request in found.requests]
    yield "offered", offered, [["look"]] * 6
    yield (
        "schema",
        found.requests[0].get("tools", [{}])[0].get("function", {}).get("parameters", {}).get("properties"),
        {"q": {"type": "string"}},
    )


@row("07 custom tools")
def custom_tools(bench: Bench) -> Seen:
    """A tool call with its input as text, and its answer."""
    calls = bench.recorded.rows("SELECT name, arguments, output FROM tool_calls WHERE source = 't07'")
    yield "calls", calls, [("run_code", '"print(2 + 3)"', '"5"')]


@row("21 no arguments")
def no_arguments(bench: Bench) -> Seen:
    """No arguments are no arguments, in decisions and in turns."""
    found = bench.compare("21-clock.yaml", "no-arguments")
    yield (
        "pairs, same calls, invalid calls",
        (found.counts("pairs", "same_calls"), found.totals("invalid_calls")),
        ((6, 6), [(0.0, 0.0)]),
    )
    found = bench.compare("21-clock-turn.yaml", "no-arguments")
    yield "turn", found.units("status, divergence, coverage"), [("ok", None, 1.0, 3)]


@row("13 JSON output")
def json_output(bench: Bench) -> Seen:
    """Distinct names, null for what JSON has no number for, and values that say what they are."""

    def only(query: str) -> Any:
        done = bench.recorded.refold("sql", "--format", "json", query)
        found = (
            json.loads(done.out, parse_constant=lambda word: f"not JSON: {word}")["rows"]
            if not done.code
            else [done.err]
        )
        return found[0]

    lines = (bench.cases / "13-json-output.sql").read_text().splitlines()[1:]
    yield "x twice", sorted(only(lines[0]).values()), [1, 2]
    yield "name twice", len(only(lines[1])), 2
    yield "no number", only(lines[2]), {"n": None, "i": None}
    kinds = only(lines[3])
    yield (
        "kinds",
        (kinds["iv"], kinds["s"], kinds["d"], str(kinds["h"])),
        (re.compile("^(1 month|P1M)"), {"a": None}, re.compile(r"^0\.1"), "12345678901234567890"),
    )
    yield "no division", only("SELECT 0 / 0 AS n"), {"n": None}
    yield (
        "infinity",
        only("SELECT 'infinity'::TIMESTAMP AS t, '-infinity'::DATE AS d"),
        {"t": "infinity", "d": "-infinity"},
    )


@row("20 another model")
def another_model(bench: Bench) -> Seen:
    """Who answered and why it stopped are columns; both are told."""
    found = bench.compare("parcels-decision.yaml", "other-model")
    yield "models", found.units("model_requested, model, status"), [("model-x", "spare-model-mini", "ok", 9)]
    yield "told", found.told(), re.compile("9 of 9 answers came from another model than was asked: spare-model-mini")
    found = bench.compare("parcels-decision.yaml", "cut-empty")
    yield "cut", found.units("status, finish_reason, text"), [("ok", "length", None, 9)]
    yield "told", found.told(), re.compile("9 of 9 answers were cut")


@row("10 DateStyle")
def date_style(bench: Bench) -> Seen:
    """Import, export and verify hold under every setting of the database."""
    home = bench.home("styles")
    lines = (bench.cases / "10-month-edge.jsonl").read_text()
    styles = ("German, DMY", "SQL, DMY", "ISO, DMY")
    for style in styles:
        script, file = bench.folder / "styles.sql", bench.folder / "edge.jsonl"
        script.write_text((bench.cases / "10-time-zone.sql").read_text().replace("German, DMY", style))
        file.write_text(lines.replace("t10", f"t10 {style}"))
        words = (
            ["db", "psql", "--", "-f", str(script)],
            ["import", "chat", str(file)],
            ["export"],
            ["verify", "--deep", "--json"],
        )
        done = [home.refold(*each) for each in words]
        yield (
            f"{style}: exit codes, as set",
            ([each.code for each in done], home.stored("SHOW datestyle")),
            ([0] * 4, [style]),
        )
        yield (
            f"{style}: verify",
            [done[-1].object.get(name) for name in ("integrity", "completeness")],
            ["holds", "holds"],
        )
    counts = home.rows("SELECT month, count(*) FROM events GROUP BY 1 ORDER BY 1")
    right = [("2026-04", 2), ("2026-05", 3), ("2026-06", 4), ("2026-10", 2), ("2026-11", 1)]
    yield "months", counts, [(month, count * len(styles)) for month, count in right]


@row("23b number as text")
def number_as_text(bench: Bench) -> Seen:
    """Sent as numbers, or refused by name."""
    found = bench.compare("23b-number-as-text.yaml")
    yield "1_000", (found.done.code, found.done.err), (2, re.compile("line 5: .*max_completion_tokens: 1_000 is text"))
    found = bench.compare("23b-number-as-text.yaml", change=("1_000", "1000"))
    sent = {
        json.dumps([request.get(name) for name in ("temperature", "max_completion_tokens", "top_p")])
        for request in found.requests
    }
    yield "the others", sent, {"[0.001, 1000, 1.0]"}


@row("22b redirect")
def redirect(bench: Bench) -> Seen:
    """One error with the address that it points to, after a handful of requests."""
    found = bench.compare("parcels-decision.yaml", "redirect")
    yield "code, words", (found.done.code, found.done.err), (1, re.compile("/v2/chat/completions"))
    yield "asked", 0 < len(found.requests) <= 9, True


@row("12 late row")
def late_row(bench: Bench) -> Seen:
    """A late row of the same stream is told at each run and stops no other."""
    home = bench.home("odd")
    dsn = home.refold("db", "status", "--json").object["server"]["dsn"]
    home.stored("CREATE DATABASE shop")
    shop = dsn.replace("/refold?", "/shop?")
    home.refold("db", "psql", "--", "--dbname", "shop", "-f", "12-late-commit.sql")
    script = [
        line.removeprefix("-- ")
        for line in (bench.cases / "12-late-commit.sql").read_text().splitlines()
        if line.startswith("-- INSERT")
    ]
    later = script[1].replace("(9,", "(20,").replace("000000000001", "000000000004")
    for label, lines, right in (
        ("first", [], (0, 3)),
        ("another stream's", script[:1], (0, 4)),
        ("the same stream's, and rows after it", [script[1], later], (3, 5)),
        ("again", [], (3, 5)),
    ):
        for line in lines:
            home.stored(line, "shop")
        done = home.refold("import", "postgres", "--dsn", shop, "--table", "events", "--source", "shop", "--register")
        count = home.stored(
            "SELECT count(*) FROM refold.events WHERE metadata->>'source' = 'shop' AND event_type LIKE 'order.%'"
        )
        yield label, (done.code, int(count[0])), right
    yield "told", done.out + done.err, re.compile(r"(?s)set aside.*\b9\b.*stream was imported")


@row("09c day number")
def day_number(bench: Bench) -> Seen:
    """Refused with line and path."""
    done = bench.home("odd").refold("import", "chat", "09c-day-number.jsonl")
    yield (
        "refused",
        (done.code, done.err),
        (2, re.compile(r"09c-day-number\.jsonl:1: \$\.messages\[0\]\.timestamp: .*20260501")),
    )


@row("28 two imports at once")
def two_imports(bench: Bench) -> Seen:
    """The log is right, and the two together say what it got."""
    home = bench.home("odd")
    file = bench.folder / "many.jsonl"
    lines = (
        {
            "source": "twice",
            "conversation_id": str(n),
            "messages": [{"role": "user", "content": f"{n} {m}"} for m in range(2)],
        }
        for n in range(1500)
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    both = [home.start("refold", "import", "chat", str(file), "--json") for _ in range(2)]
    said = [Done(process.wait(LIMIT), *process.communicate()) for process in both]
    yield "exit codes", [each.code for each in said], [0, 0]
    (count,) = home.stored(
        "SELECT count(*), count(DISTINCT aggregate_id) FROM refold.events WHERE metadata->>'source' = 'twice'"
    )
    yield "in the log", count, "4500|1500"
    yield "appended", sorted(each.object.get("events") for each in said), [0, 4500]


def is_right(seen: Any, right: Any) -> bool:
    """Whether it is the value, or holds what the pattern asks for; of a list or tuple of these, each."""
    if isinstance(right, re.Pattern):
        return right.search(seen if isinstance(seen, str) else json.dumps(seen, ensure_ascii=False)) is not None
    if isinstance(right, tuple) and isinstance(seen, tuple):
        return len(seen) == len(right) and all(map(is_right, seen, right))
    return bool(seen == right)


def judge(bench: Bench, name: str) -> tuple[bool, str]:
    """Do a row: whether all is right, and what was seen, only what is wrong when something is."""
    seen, wrong = [], []
    try:
        for label, value, right in ROWS[name](bench):
            (seen if is_right(value, right) else wrong).append((label, value, right))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        wrong.append(("what was printed has another form", repr(error), "as checked"))
    if wrong:
        return False, "; ".join(
            f"{label}: {_short(value, 2000)}, right is {_short(right, 400)}" for label, value, right in wrong
        )
    return True, "; ".join(f"{label}: {_short(value, 160)}" for label, value, _ in seen)


def _short(value: Any, most: int) -> str:
    text = value.pattern if isinstance(value, re.Pattern) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def main(words: Sequence[str] | None = None) -> int:
    """Do the rows that are named, or all; answers 1 when one is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=[""])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args(words)
    cases = given.shared.absolute() / "data" / "cases"
    if not (cases / "README.md").exists():
        sys.stderr.write(f"there are no cases in {cases}: name the folder that holds data/cases with --shared\n")
        return 2
    counts = {True: 0, False: 0}
    with (
        tempfile.TemporaryDirectory(prefix="refold-faults-") as folder,
        Bench(cases, given.keep or Path(folder)) as bench,
    ):
        Path(folder).chmod(0o711)
        for name in ROWS:
            if name.startswith(tuple(given.rows)):
                is_ok, seen = judge(bench, name)
                counts[is_ok] += 1
                sys.stdout.write(f"{'ok' if is_ok else 'WRONG'}  {name}  {seen}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{counts[True] + counts[False]} rows: {counts[True]} ok, {counts[False]} wrong\n")
    return int(counts[False] > 0)


if __name__ == "__main__":
    sys.exit(main())
