"""Every command that README and docs show, run as it stands there, page by page, in one home; what it must end with is what the page says.

What a command needs that no reader has by the same name (a person's id, another database, a log of some product) is put in its place here.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO, TextIOWrapper
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from pipelines import demo
from pipelines.cli.entry import app
from pipelines.cli.help import EXAMPLES
from pipelines.demo.load import load_demo
from pipelines.diff.versions import list_versions
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.verdicts.desk import Desk
from tests.support.databases import copied_database
from tests.support.documented import documented_commands, documented_pages, shown_lines, write_documented
from tests.support.verbs import run_in_folder

SERVES = ("ui", "receive", "review", "dashboard")
"""Verbs that serve until they are stopped: what is typed is read here; test_ui, test_receive, test_review and test_explore run them."""
ELSEWHERE = (
    ".ci/uv ",  # README's two commands: `.ci/run`; wheels: test_wheels
    "uv pip ",  # an environment of one's own: tests/agents
    "pip ",
    "docker ",  # tests/acceptance/deploy.py runs what is in the containers
    "kubectl ",
    "curl ",  # no network: the file is made below
    "eval ",  # test_completion
    "python tests/",  # benchmarks and long proofs, run by hand
    "python3 verify_bundle.py",  # test_evidence; also in docs/audit.md
    "refold demo",  # test_cli
    "refold import inspect logs/*cautious*",  # test_two_inspect_logs has Inspect make them
    "refold ab two-models.yaml",
    "refold import litellm --dsn",  # test_import_spend_logs makes a proxy's table
    "refold import anthropic requests.jsonl",  # test_import_forms
)
SHOWN = ("docs/tutorial.md",)
"""Pages whose output, as they show it, is what is printed: real recordings, so it is the same everywhere."""
DEMO = Path(demo.__file__).parent
LAST = (
    "docs/connect-postgres.md",
    "docs/cli.md",
    "docs/proof.md",
    "docs/seal.md",
    "docs/redaction.md",
    "docs/erasure.md",
)
"""Pages that bring types of their own, close, hide and take."""
SHELL = re.compile(r"[|<>;&]|^\w+=|^export |^python3 |\$\(")


class Stage(NamedTuple):
    """A folder to type in, with a home in it."""

    folder: Path
    settings: Settings
    values: dict[str, str]
    homes: dict[str, str]
    environment: dict[str, str]

    def move(self, home: str) -> None:
        """Type in another home, in which there is nothing of the others."""
        self.environment.update(REFOLD_HOME=home, REFOLD_DSN=self.homes[home])

    def put(self, text: str) -> str:
        """A text with what is here in the place of what a reader has."""
        for word, value in self.values.items():
            text = text.replace(word, value)
        return text


def talk(number: int, amount: float) -> dict[str, object]:
    """A refund of a shop, as a line of chat completions."""
    order = "A-1" if number == 4711 else f"B-{number}"
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "You answer for the shop."},
        {"role": "user", "content": f"This is Grace Hopper, order {order} came late. 4711-0815 is my number."},
    ]
    for name, arguments in (
        ("lookup_order", {"order_id": order}),
        ("refund_order", {"order_id": order, "amount_usd": amount}),
    ):
        call = {"id": name, "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": name, "content": '{"ok": true}'})
    for said, answered in (("When?", "It is paid back today."), ("Thank you.", "You are welcome."), ("Bye.", "Bye.")):
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
    return {
        "source": "shop",
        "conversation_id": f"c-{number}",
        "subject_id": "customer-7",
        "started_at": "2026-05-03T10:00:00Z",
        "outcome": "resolved",
        "messages": messages,
    }


@pytest.fixture(scope="module")
def stage(server, template, tmp_path_factory) -> Iterator[Stage]:
    """A home with the demo's history and a shop's, exported and folded."""
    folder = tmp_path_factory.mktemp("typed")
    home = folder / ".refold"
    lines = [json.dumps(talk(number, 147.0)) for number in (4711, 17, 18)]
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "log.jsonl").write_text(lines[0] + "\n", encoding="utf-8")
    with ExitStack() as databases:
        name, other, third, *apart = (databases.enter_context(copied_database(server, template)) for _ in range(5))
        settings = Settings(home=home, dsn=server.dsn_of(name), lake=home / "lake", memory_bytes=3 * 10**9)
        with Store.open(settings) as store:
            load_demo(store, 1_500)
        values = {
            "postgresql://user@host/app": f"'{server.dsn_of(other)}'",
            "postgresql://refold_owner@host/app": f"'{server.dsn_of(name)}'",
            "REFOLD_HOME=other": f"REFOLD_HOME=other REFOLD_DSN='{server.dsn_of(third)}'",
            "~/": f"{folder}/",
            "/var/otel": str(folder / "otel"),
            "window: 7d": "window: {from: 2026-04-01, to: 2026-07-01}",
            "active: true": "active: false",
            "window: yesterday": "window: {from: 2026-04-01, to: 2026-07-01}",
        }
        homes = dict(zip((".tutorial", ".imports"), map(server.dsn_of, apart), strict=True))
        made = Stage(folder, settings, values, homes, {})
        type_in(made, "refold import chat conversations.jsonl.gz")
        type_in(made, "refold export")
        type_in(made, "refold fold")
        yield made


def type_in(stage: Stage, text: str, code: int = 0) -> str:
    """Type a command: a verb alone runs in this process, everything else in a shell that finds `refold`; what it printed."""
    text = stage.put(text)
    variables = {"REFOLD_HOME": ".refold", "REFOLD_DSN": stage.settings.dsn or "", **stage.environment}
    if SHELL.search(text) or not text.startswith("refold "):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {**os.environ, **variables, "PATH": path}
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=stage.folder,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        ended, printed, told = done.returncode, done.stdout, done.stderr
    else:
        words = [path for word in shlex.split(text)[1:] for path in expanded(stage.folder, word)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"4711-0815\n")))
            ended, printed, told = run_in_folder(stage.folder, variables, *words)
    assert ended == code, (text, printed, told)
    return printed


def expanded(folder: Path, word: str) -> list[str]:
    """A word as a shell gives it to a program: the files that it names by `*`."""
    found = glob.glob(word, root_dir=folder, include_hidden=True)  # noqa: PTH207 -- absolute ones, too
    return sorted(found) or [word]


def served(text: str) -> list[str]:
    """The words of a command that serves until it is stopped; none of another."""
    words = list(dropwhile(lambda word: "=" in word, shlex.split(text)))
    is_served = words[:1] == ["refold"] and words[1:2] and words[1] in SERVES
    return words if is_served and not {"--summary", "--pin"} & set(words) else []


def typed(kind: str) -> str:
    """The file that a reader registers for a type of their own."""
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    return json.dumps({"event_type": kind, "description": "An order was paid.", "schema": schema})


def put_types(stage: Stage, _request: object) -> None:
    for kind in ("order.paid.v1", "order.paid.v2"):
        (stage.folder / f"{kind}.json").write_text(typed(kind), encoding="utf-8")


def put_airline(stage: Stage, request: pytest.FixtureRequest) -> None:
    """The benchmark's file, of the same recordings beside the checkout, and a home in which there is nothing else."""
    stage.move(".tutorial")
    folder = request.getfixturevalue("shared_data")
    runs = []
    with gzip.open(folder / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line["source"] == "tau-bench":
                task, trial = line["task_id"].split("/")[1], line["variant"][-1]
                reward = line["outcome"]["reward"]
                runs.append({"task_id": int(task), "reward": reward, "traj": line["messages"], "trial": int(trial)})
    (stage.folder / "gpt-4o-airline.json").write_text(json.dumps(runs), encoding="utf-8")


def put_events(stage: Stage, _request: object) -> None:
    """An events table in a database of one's own."""
    with psycopg.connect(stage.values["postgresql://user@host/app"].strip("'"), autocommit=True) as other:
        other.execute(
            "CREATE TABLE public.events (id bigint, aggregate_id uuid, aggregate_type text, event_type text, event_version int,"
            " payload jsonb, created_at timestamptz)"
        )
        other.execute(
            "INSERT INTO public.events SELECT 1, gen_random_uuid(), 'order', 'order.sent.v1', 1, '{}', timestamptz '2026-05-01 10:00+0'"
        )


def put_key(stage: Stage, _request: object) -> None:
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"],
        cwd=stage.folder,
        check=True,
        capture_output=True,
    )


def put_samples(*places: tuple[str, str]) -> Callable[[Stage, pytest.FixtureRequest], None]:
    """Recorded files of a product under the names that its page uses: a name in the folder, and a pattern among the samples."""

    def put(stage: Stage, request: pytest.FixtureRequest) -> None:
        samples = request.getfixturevalue("shared_data") / "formats" / "dev"
        for name, pattern in places:
            found = sorted(samples.glob(pattern))
            assert found, pattern
            (stage.folder / name).parent.mkdir(parents=True, exist_ok=True)
            held = found[0].read_bytes()
            packed = found[0].suffix == ".gz" and not name.endswith(".gz")
            (stage.folder / name).write_bytes(gzip.decompress(held) if packed else held)

    return put


def write_for(stage: Stage, document: str) -> None:
    """The files of a document, with the days of the history that is here."""
    write_documented(document, stage.folder)
    for path in stage.folder.glob("*.yaml"):
        path.write_text(stage.put(path.read_text(encoding="utf-8")), encoding="utf-8")


def put_datasets(*places: tuple[str, str]) -> Callable[[Stage, pytest.FixtureRequest], None]:
    """The same, with a set in Hermes' shape, of which there is no sample."""

    def put(stage: Stage, request: pytest.FixtureRequest) -> None:
        put_samples(*places)(stage, request)
        said = [{"from": "human", "value": "Where is A-1?"}, {"from": "gpt", "value": "On its way."}]
        line = json.dumps({"id": "h-1", "conversations": said})
        (stage.folder / "hermes.jsonl.gz").write_bytes(gzip.compress(line.encode()))

    return put


def put_agent(stage: Stage, _request: object) -> None:
    """The plain loop of the page as the agent, answered from the recording; tests/agents runs all agents of the page."""
    for name in ("echo", "experiment"):
        text = f"experiment: agent-{name}\ncandidate: {{agent: 'plain_agent:run', answers: recorded}}\nmode: turn\nwhere: source = 'shop'\n"
        (stage.folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def put_compared(stage: Stage, request: pytest.FixtureRequest) -> None:
    """The comparison that examples of help name, and no file where one is to be made."""
    write_for(stage, "compare.md")
    type_in(stage, "refold ab experiment.yaml", 3)
    for name in ("experiment.yaml", "all.jsonl.gz"):
        (stage.folder / name).unlink(missing_ok=True)
    write_documented("projections.md", stage.folder)
    put_samples(("traces/1.jsonl.gz", "01-otlp/emitted.tau2-semconv.otlp.jsonl.gz"))(stage, request)
    log = stage.folder / "chats" / "log.jsonl"
    log.parent.mkdir()
    log.write_text(json.dumps(talk(19, 3.0)) + "\n", encoding="utf-8")
    os.utime(log, (1.7e9, 1.7e9))  # nobody writes it any more


def put_echo(stage: Stage, _request: object) -> None:
    """An experiment that has no gate to fail."""
    text = "experiment: told\ncandidate: {echo: true}\nwhere: source = 'shop'\n"
    (stage.folder / "experiment.yaml").write_text(text, encoding="utf-8")


def put_all(stage: Stage, request: pytest.FixtureRequest) -> None:
    """A key, and whatever came in by the pages before is in the lake."""
    put_key(stage, request)
    type_in(stage, "refold export")


def put_verdict(stage: Stage, _request: object) -> None:
    """The demo's comparison, and a pair that somebody judged."""
    (stage.folder / "refund.yaml").write_text(
        (DEMO / "refund-limit-50.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    type_in(stage, "refold ab refund.yaml")
    lake = Lake.from_settings(stage.settings)
    with Desk.open(stage.settings, lake, list_versions(lake, "refund-limit-50")[0], "ada") as desk:
        assigned = desk.next()
        assert assigned is not None
        desk.record(assigned, "worse", None, 1.0)


PREPARED: dict[str, Callable[[Stage, pytest.FixtureRequest], None]] = {
    "docs/upcasters.md": put_types,
    "docs/tutorial.md": put_airline,
    "docs/connect-postgres.md": put_events,
    "docs/audit.md": put_key,
    "docs/seal.md": put_all,
    "docs/review.md": put_verdict,
    "docs/import-anthropic.md": put_samples(
        ("exchanges.jsonl", "06-anthropic/thinking-two-turns.exchanges.jsonl"),
        ("session.events.jsonl", "06-anthropic/managed-agent-custom-tools.events.jsonl"),
    ),
    "docs/import-coding-agents.md": put_samples(
        (".claude/projects/p/1.jsonl", "07-coding/claude-code-5c0375b4.jsonl.gz"),
        (".claude/projects/p/1/subagents/2.jsonl", "07-coding/claude-code-2026-record-types.jsonl.gz"),
        (".codex/sessions/1/1/1/rollout-1.jsonl", "07-coding/codex-0.146-record-types.jsonl.gz"),
        ("jobs/1/1/agent/trajectory.json", "07-coding/atif-1.5-openhands.trajectory.json.gz"),
        ("trajectories/1/1.traj", "07-coding/swe-agent-marshmallow-function-calling.traj.gz"),
        ("conversations/1/events/1.json", "07-coding/openhands-sdk-events.jsonl"),
    ),
    "docs/import-litellm.md": put_samples(("calls.jsonl", "07-coding/litellm-calls-claude-sonnet-4.jsonl.gz")),
    "docs/import.md": put_samples(
        ("traces/1.jsonl.gz", "01-otlp/emitted.tau2-semconv.otlp.jsonl.gz"),
        ("otel/1.jsonl.gz", "01-otlp/emitted.calendar-semconv.otlp.jsonl.gz"),
    ),
    "docs/import-otlp.md": put_samples(
        ("spans.jsonl", "01-otlp/openllmetry-langchain-workflow.json"),
        ("logs.jsonl.gz", "01-otlp/emitted.calendar-semconv-events.otlp.jsonl.gz"),
        ("traces/1.jsonl.gz", "01-otlp/emitted.tau2-semconv.otlp.jsonl.gz"),
    ),
    "docs/agents.md": put_agent,
    "docs/cli.md": put_compared,
    "docs/pull-request.md": put_echo,
    "docs/import-langfuse.md": put_samples(
        ("export/observations_v2/1.parquet", "02-langfuse/export.observations_v2.parquet"),
        ("export/scores/1.parquet", "02-langfuse/export.scores.jsonl"),
    ),
    "docs/import-langsmith.md": put_samples(("runs.jsonl", "03-langsmith/derived.openhands-langgraph.runs.parquet")),
    "docs/import-inspect.md": put_samples(("logs/1.eval", "04-inspect/security-guide.eval")),
    "docs/import-openai.md": put_samples(
        ("responses.jsonl", "05-openai/responses-rollouts-calendar-1-2.jsonl.gz"),
        ("sessions.db", "05-openai/emitted.tau2-chat.agents-session.db"),
        ("traces.jsonl.gz", "05-openai/emitted.tau2-chat.agents-traces.jsonl.gz"),
    ),
    "docs/import-voice.md": put_samples(("calls/1.json", "08-voice/retell-call-analyzed-1.json")),
    "docs/import-datasets.md": put_datasets(
        ("glaive.json", "09-datasets/sharegpt-glaive-toolcall-en-100.json.gz"),
        ("reason-tool-use.jsonl", "09-datasets/content-parts-reason-tool-use-25.jsonl.gz"),
        ("set.jsonl", "09-datasets/content-parts-reason-tool-use-25.jsonl.gz"),
    ),
}


def order(page: str) -> tuple[int, str]:
    return LAST.index(page) + 1 if page in LAST else 0, page


@pytest.mark.parametrize("page", sorted(documented_pages(), key=order))
def test_every_command_of_a_page_does_what_it_says(page, stage, request):
    """In order; each ends as the page says."""
    commands = documented_commands(page)
    stage.environment.clear()
    if page.startswith("docs/import") and page != "docs/import-chat.md":
        stage.move(".imports")  # so that the other pages have few months
    if page.startswith("docs/"):
        write_for(stage, page.removeprefix("docs/"))
    if page in PREPARED:
        PREPARED[page](stage, request)
    printed = []
    for each in commands:
        if each.text.startswith(ELSEWHERE):
            continue
        if each.text.startswith("export "):
            name, value = each.text.removeprefix("export ").split("=", 1)
            stage.environment[name] = shlex.split(stage.put(value.replace("$PWD", str(stage.folder))))[0]
        elif words := served(each.text):
            with app.commands[words[1]].make_context(words[1], words[2:]):  # its words are what the verb takes
                pass
        else:
            parts = each.text.split(" && ")
            typed_in = parts if all(part.startswith("refold ") for part in parts) else [each.text]
            printed += [type_in(stage, text, each.code) for text in typed_in]
    if page in SHOWN:
        said = {" ".join(line.split()) for text in printed for line in text.splitlines()}
        assert {" ".join(line.split()) for line in shown_lines(page)} <= said


def test_every_example_of_help_stands_in_the_reference():
    """So that it is run with that page."""
    shown = {each.text for each in documented_commands("docs/cli.md")}
    assert {text.split("    #")[0].strip() for examples in EXAMPLES.values() for text in examples} <= shown
