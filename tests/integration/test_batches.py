"""Models asked in batches: submitted, gone on with, paid once across every kill, and equal to calls one by one."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anthropic
import openai
import psycopg
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from pipelines.diff.dataset import build_diff
from pipelines.errors import BadInputError, UnfinishedError
from pipelines.experiment.file import parse_experiment
from pipelines.lake.lake import Lake
from pipelines.replay.asking import forgetting
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.batch import client, session
from pipelines.replay.batch.client import BatchError
from pipelines.replay.batch.finished import find_finished, list_open
from pipelines.replay.batch.providers import PROVIDERS
from pipelines.replay.estimate import estimate_replay
from pipelines.replay.run import ReplayResult
from pipelines.replay.wires.registry import WIRES
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.store.embedded import EmbeddedServer
from tests.support import batch_child
from tests.support.batch_server import BatchServer, chat_answer, serving_batches
from tests.support.history import query
from tests.support.shop import add, conversation, plan_of, replay

KEY = "sk-live-4711-abcdefgh"
TASKS = 5
UNITS = 3 * TASKS
APIS = sorted(WIRES)
OF_PROVIDERS = ("chat", "messages")
"""A wire of each provider; the third one's batches are the first one's."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer, template: str) -> Path:
    """A lake of conversations of three decisions each, to copy."""
    folder = tmp_path_factory.mktemp("recorded")
    name = "refold_batches"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        settings = Settings(home=folder / "home", dsn=server.dsn_of(name), lake=folder / "lake")
        lines = [conversation(task, "v1", 10.0 * task, f"2026-01-{task + 1:02d} 12:00:00") for task in range(TASKS)]
        with Store.open(settings) as store:
            add(store, Lake.from_settings(settings), folder, lines)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    return settings.lake


@pytest.fixture
def lake(settings: Settings, recorded: Path) -> Lake:
    """A lake of the test's own."""
    shutil.copytree(recorded, settings.lake)
    return Lake.from_settings(settings)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Providers are asked again at once."""
    monkeypatch.setattr(client, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(session, "SETTLING", timedelta(0))


def text_of(server: BatchServer, api: str = "chat", rest: str = "batch: true\n", more: str = "") -> str:
    """An experiment; a reply has 100 tokens at most and costs something."""
    asked = f"api: {api}, model: m, base_url: '{server.base_url(api)}', params: {{max_tokens: 100}}"
    price = "price: {input_usd: 10, output_usd: 100, max_output_tokens: 100, batch: 0.5}"
    return f"experiment: asked\ncandidate: {{{asked}, {price}{more}}}\n{rest}"


def run_twice(
    lake: Lake, settings: Settings, text: str, folder: Path, server: BatchServer, **options: Any
) -> ReplayResult:
    """Submit, have it worked on, and go on."""
    with pytest.raises(UnfinishedError, match="not complete yet"):
        replay(lake, settings, text, folder, **options)
    server.work()
    return replay(lake, settings, text, folder, **options)


def rows_of(lake: Lake) -> list[tuple[Any, ...]]:
    return query(
        lake,
        "SELECT unit_id, side, draw, status, reason, text, tool_calls, l2_hash, request_sha256, model, finish_reason, is_refusal, "
        "input_tokens, output_tokens FROM replays_history ORDER BY ALL",
    )


@pytest.mark.parametrize("api", APIS)
def test_a_batch_answers_as_calls_do(lake, settings, tmp_path, api):
    """The same rows as when each request is asked alone, at half the price, each answer paid for once; nothing stays at the
    provider, and the version is complete only with all answers."""
    with serving_batches() as server:
        result = run_twice(lake, settings, text_of(server, api), tmp_path, server)
        assert (result.units, result.failures, result.is_written) == (UNITS, {}, True)
        batched = rows_of(lake)
        (asked,) = query(lake, "SELECT provenance FROM commits WHERE dataset = 'replays'")
        told = json.loads(asked[0])["asked"]
        assert (told["answers_paid"], told["calls_of_version"]) == (UNITS, UNITS)
        assert told["sent"][0]["conversations"] == TASKS
        assert set(server.paid.values()) == {1}
        assert not server.files
        (usd,) = query(lake, "SELECT sum(cost_usd) FROM replays_history")[0]
        assert told["usd_of_version"] == pytest.approx(usd, abs=1e-6)
        build_diff(lake, plan_of(lake, text_of(server, api), tmp_path))
        settings.responses.unlink()
        alone = text_of(server, api, "", more=", prompt_edit: [{find: the shop, replace: the shop}]")
        replay(lake, settings, alone, tmp_path)
        one_by_one = [row for row in rows_of(lake) if row not in batched]
        (all_usd,) = query(lake, "SELECT sum(cost_usd) FROM replays_history")[0]
    assert one_by_one == []
    assert all_usd - usd == pytest.approx(2 * usd)


def killed_steps(server: BatchServer, api: str, folder: Path) -> list[dict[str, Any]]:
    """What `tests.support.batch_child` went through."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.batch_child", server.base_url(api), api, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_a_kill_at_any_step_pays_for_nothing_twice(tmp_path, api):
    """Killed before and after each thing that is written or done: whoever goes on finds what was created, every request is answered,
    each was paid for once, and the ledger is charged exactly what that cost."""
    with serving_batches(is_prompt=True) as server:
        steps = killed_steps(server, api, tmp_path)
    killed = [each["step"] for each in steps if -signal.SIGKILL in each["ends"]]
    assert len(steps) >= 18
    # an upload is not a step of its own everywhere
    assert len(killed) == len(steps) - 1
    for each in steps:
        assert each["ends"][-1] == 0
        assert len(each["answered"]) == batch_child.REQUESTS
        assert all(answer[0].startswith("Answer ") for answer in each["answered"].values())
        assert each["charged"][0] == batch_child.REQUESTS
        assert each["charged"][1] == pytest.approx(each["usd"])
    assert len(server.paid) == len(steps) * batch_child.REQUESTS
    assert set(server.paid.values()) == {1}
    assert not server.files


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_what_expires_is_asked_in_the_next_batch(lake, settings, tmp_path, api):
    """Requests that a provider did not come to are in the next batch, with nothing else, and are paid for once; what expires
    in every batch is its unit's failure, and cost nothing."""
    with serving_batches(expired=4) as server:
        text = text_of(server, api)
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path)
        server.work()
        told: list[str] = []
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path, tell=told.append)
        assert any("4 again, 11 answered" in line for line in told)
        server.expired = 1
        server.work()
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path)
        server.work()
        result = replay(lake, settings, text, tmp_path)
        assert result.failures == {"timeout": 1}
        assert "expired" in (result.first_error or "")
        assert (len(server.paid), set(server.paid.values())) == (UNITS - 1, {1})
        (asked,) = query(lake, "SELECT provenance FROM commits WHERE dataset = 'replays'")[0]
        (usd,) = query(lake, "SELECT sum(cost_usd) FROM replays_history")[0]
        assert json.loads(asked)["asked"]["usd_of_version"] == pytest.approx(usd, abs=1e-6)
        server.expired = 0
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path, retry_failed=True)
        server.work()
        again = replay(lake, settings, text, tmp_path, retry_failed=True)
        assert (again.failures, again.units) == ({}, UNITS)
        assert query(lake, "SELECT attempt, count(*)::INTEGER FROM replays_history GROUP BY ALL ORDER BY 1") == [
            (1, UNITS - 1),
            (2, 1),
        ]
    assert (len(server.paid), set(server.paid.values())) == (UNITS, {1})


def odd_answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Contexts of two messages are refused, those of four are called wrong, others are answered."""
    size = len(json.dumps(body).split('"role"')) - 1
    first = 2 if path.endswith("/messages") else 3  # the system message stands apart there
    if size == first - 1:
        return 400, {"error": {"message": "this was flagged by the content filter", "code": "content_filter"}}
    if size == first + 1:
        return 400, {"error": {"message": "too long"}}
    return chat_answer(path, body)


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_a_request_that_is_turned_down_fails_as_it_does_alone(lake, settings, tmp_path, api):
    """The same reasons as when each is asked alone; nothing is asked twice, and what was turned down costs nothing."""
    with serving_batches(answer=odd_answer) as server:
        result = run_twice(lake, settings, text_of(server, api), tmp_path, server)
        batched = rows_of(lake)
        assert len(server.batches) <= 1
        settings.responses.unlink()
        with serving_batches(answer=odd_answer) as other:
            alone = replay(lake, settings, text_of(other, api, ""), tmp_path)
        one_by_one = rows_of(lake)
    assert result.failures == alone.failures
    assert sum(result.failures.values()) == 2 * TASKS
    assert [row for row in one_by_one if row not in batched] == []


def test_a_batch_that_fails_as_a_whole_is_an_error_with_its_words(lake, settings, tmp_path):
    """A failed batch has no files: the run ends with what the provider says, nothing is charged, and the next run asks anew."""
    faults = [{"code": "token_limit_exceeded", "message": "Enqueued token limit \u001b[31mreached", "line": None}]
    with serving_batches(turned_down=faults) as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        server.work()
        with pytest.raises(BatchError, match=r"turned down, and costs nothing: Enqueued token limit \ufffd.31mreached"):
            replay(lake, settings, text_of(server), tmp_path)
        with ResponseStore(settings.responses) as store:
            assert store.charged("asked") == (0, pytest.approx(0))
        assert not server.files
        server.turned_down = None
        result = run_twice(lake, settings, text_of(server), tmp_path, server)
    assert (result.units, result.failures) == (UNITS, {})


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_a_creation_whose_answer_is_lost_is_found_again(lake, settings, tmp_path, api):
    """The connection breaks after a batch was created: it is not created again, among others with pages of them."""
    with serving_batches(lost=1) as server:
        for number in range(5):  # of somebody else
            path = "/v1/messages" if api == "messages" else "/v1/chat/completions"
            server._add(path, [(f"x{number}", {"model": "m"})], 20)
        server.work()
        server.paid.clear()
        told: list[str] = []
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server, api), tmp_path, tell=told.append)
        assert any("it is looked for" in line for line in told)
        server.work()
        result = replay(lake, settings, text_of(server, api), tmp_path)
        assert (result.units, result.failures) == (UNITS, {})
        creations = [count for (method, path), count in server.calls.items() if method == "POST" and "batches" in path]
    assert creations == [1]
    assert set(server.paid.values()) == {1}


def test_a_provider_that_is_busy_is_asked_later(lake, settings, tmp_path):
    """A few errors in a row when it is asked how far it is are nothing; more leave the batch as it is, and say so."""
    with serving_batches() as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        server.work()
        server.broken["GET", "/v1/batches/"] = client.ATTEMPTS
        told: list[str] = []
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path, tell=told.append)
        assert any("HTTP 503: overloaded" in line for line in told)
        server.broken["GET", "/v1/batches/"] = client.ATTEMPTS - 1
        assert replay(lake, settings, text_of(server), tmp_path).failures == {}
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_a_batch_is_of_one_model_and_no_larger_than_its_provider_takes(lake, settings, tmp_path, monkeypatch, api):
    """Requests, bytes and models divide what is sent; every batch keeps to its bounds, and all answers come."""
    provider = type(PROVIDERS[api])
    monkeypatch.setattr(provider, "most_requests", 4)
    monkeypatch.setattr(provider, "most_bytes", 3_000)
    with serving_batches(page=100) as server:
        text = text_of(server, api, rest="batch: true\ncontrol: {model: m2, params: {max_tokens: 100}}\n")
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path)
        sizes = [len(batch.requests) for batch in server.batches.values()]
        models = [{body["model"] for _, body in batch.requests} for batch in server.batches.values()]
        sent = [batch.size for batch in server.batches.values()]
        server.work()
        result = replay(lake, settings, text, tmp_path)
    assert result.failures == {}
    assert 1 < max(sizes) <= 4
    assert 1_500 < max(sent) <= 3_000
    assert all(len(each) == 1 for each in models)
    assert Counter(next(iter(each)) for each in models).keys() == {"m", "m2"}
    assert result.units == sum(sizes)


def test_the_budget_holds_what_a_batch_may_cost(lake, settings, tmp_path):
    """A batch reserves the most that it can cost; what it did not cost is there again when it is done, and what the budget does
    not cover then is not asked."""
    rest = "mode: single\nbatch: true\nbudget: {usd: 0.008}\n"
    submitted = []
    with serving_batches() as server:
        result = None
        while result is None and len(submitted) < 6:
            try:
                result = replay(lake, settings, text_of(server, rest=rest), tmp_path)
            except UnfinishedError:
                with ResponseStore(settings.responses) as store:
                    assert 0 < store.charged("asked")[1] <= 0.008
                submitted.append(sum(len(batch.requests) for batch in server.batches.values()))
                server.work()
        with ResponseStore(settings.responses) as store:
            calls, usd = store.charged("asked")
        (spent,) = query(lake, "SELECT sum(cost_usd) FROM replays_history")[0]
    assert result is not None
    assert usd == pytest.approx(spent)
    assert 0 < submitted[0] < submitted[-1] == calls < TASKS
    assert result.failures == {"budget_exhausted": TASKS - calls}
    assert set(server.paid.values()) == {1}


def test_what_is_in_a_batch_is_not_asked_alone(lake, settings, tmp_path):
    """The same experiment without `batch` would pay twice: it says so, and asks nobody; when the batch is done it finds the answers."""
    with serving_batches() as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        with pytest.raises(UnfinishedError, match="paid for twice"):
            replay(lake, settings, text_of(server, rest=""), tmp_path)
        assert not server.paid
        other = text_of(server).replace("experiment: asked", "experiment: other")
        with pytest.raises(UnfinishedError, match=f"{UNITS} requests in batches of version"):
            replay(lake, settings, other, tmp_path)
        server.work()
        assert replay(lake, settings, other, tmp_path).failures == {}
        assert replay(lake, settings, text_of(server), tmp_path).failures == {}
        with ResponseStore(settings.responses) as store:
            assert store.charged("other") == (0, 0.0)
    assert (len(server.paid), set(server.paid.values())) == (UNITS, {1})


def test_an_answer_about_what_was_redacted_meanwhile_is_not_kept(lake, settings, tmp_path):
    """A conversation of which something is redacted or erased while it is in a batch: what comes of it is not kept."""
    with serving_batches() as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        ((stream,), *_) = query(lake, "SELECT DISTINCT aggregate_id FROM decisions ORDER BY 1")
        with ResponseStore(settings.responses) as store:
            assert forgetting.erase(store, {stream}, set(), None) == (0, 0)
        server.work()
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        with closing(sqlite3.connect(settings.responses)) as connection:
            kept = {row for (row,) in connection.execute("SELECT DISTINCT aggregate_id FROM responses")}
    assert len(kept) == TASKS - 1
    assert stream not in kept


def test_the_official_clients_read_what_is_sent_and_what_comes_back(lake, settings, tmp_path):
    """Their types take each line that is uploaded, and their clients read the same batches from the server that ours are read from."""
    with serving_batches() as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        asked = openai.OpenAI(base_url=server.base_url(), api_key="x", max_retries=0)
        (batch,) = asked.batches.list().data
        assert batch.request_counts is not None
        assert (batch.endpoint, batch.status, batch.request_counts.total) == (
            "/v1/chat/completions",
            "validating",
            UNITS,
        )
        lines = [json.loads(line) for line in asked.files.content(batch.input_file_id).content.splitlines()]
        takes = TypeAdapter(CompletionCreateParamsNonStreaming)
        assert all(takes.validate_python(line["body"])["model"] == "m" for line in lines)
        assert {tuple(line) for line in lines} == {("custom_id", "method", "url", "body")}
        server.work()
        done = asked.batches.retrieve(batch.id)
        assert done.status == "completed"
        output = asked.files.content(done.output_file_id or "").content.splitlines()
        texts = {
            ChatCompletion.model_validate(json.loads(line)["response"]["body"]).choices[0].message.content
            for line in output
        }
        replay(lake, settings, text_of(server), tmp_path)
        assert {text for (text,) in query(lake, "SELECT text FROM replays_history")} == texts


def test_the_official_client_of_messages_reads_them(lake, settings, tmp_path):
    """As above, of the other provider."""
    with serving_batches() as server:
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server, "messages"), tmp_path)
        asked = anthropic.Anthropic(base_url=server.base_url("messages"), api_key="x", max_retries=0)
        (batch,) = asked.messages.batches.list().data
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", UNITS)
        takes = TypeAdapter(MessageCreateParamsNonStreaming)
        assert all(takes.validate_python(body)["model"] == "m" for _, body in server.batches[batch.id].requests)
        server.work()
        texts = {each.result.message.content[0].text for each in asked.messages.batches.results(batch.id)}  # type: ignore[union-attr]
        replay(lake, settings, text_of(server, "messages"), tmp_path)
        assert {text for (text,) in query(lake, "SELECT text FROM replays_history")} == texts


def test_a_dry_run_says_what_batches_cost_and_keep(lake, settings, tmp_path):
    """Half the price of calls, no seconds, and how long texts stay with the provider; a price without a factor is not halved."""
    with serving_batches() as server:
        alone = estimate_replay(lake, plan_of(lake, text_of(server, rest=""), tmp_path), settings)
        batched = estimate_replay(lake, plan_of(lake, text_of(server), tmp_path), settings)
        assert (batched.version_id, batched.seconds) == (alone.version_id, None)
        assert batched.usd == pytest.approx(alone.usd / 2)
        page = batched.describe()
        assert "take up to 24 hours" in page
        assert "OpenAI: the files of a batch are kept at the provider for up to 30 days" in page
        unknown = text_of(server).replace(", batch: 0.5", "")
        estimate = estimate_replay(lake, plan_of(lake, unknown, tmp_path), settings)
        assert estimate.usd == alone.usd
        assert "no price of batches is known" in estimate.describe()
    assert not server.calls


@pytest.mark.parametrize("api", OF_PROVIDERS)
def test_a_dry_run_says_what_is_under_way_already(lake, settings, tmp_path, api):
    """Requests of a batch that was submitted cost nothing again, whoever asks about them; those of no batch do, and answers that
    came are paid for."""
    with serving_batches() as server:
        text = text_of(server, api)
        first = text_of(server, api, rest="batch: true\nmode: single\n")
        single = plan_of(lake, first, tmp_path)
        with pytest.raises(UnfinishedError):
            replay(lake, settings, first, tmp_path)
        (half,) = estimate_replay(lake, plan_of(lake, text, tmp_path), settings).destinations
        assert (half.requests, half.kept, half.under_way) == (UNITS, 0, TASKS)
        estimate = estimate_replay(lake, single, settings)
        (to,) = estimate.destinations
        assert (to.requests, to.under_way, to.input_tokens, to.output_tokens, to.conversations) == (
            TASKS,
            TASKS,
            0,
            0,
            0,
        )
        assert estimate.usd == 0
        assert f"{TASKS} requests of them in batches that are under way" in estimate.describe()
        server.work()
        replay(lake, settings, first, tmp_path)
        (done,) = estimate_replay(lake, plan_of(lake, text, tmp_path), settings).destinations
        assert (done.requests, done.kept, done.under_way) == (UNITS, TASKS, 0)
        assert "under way" not in estimate_replay(lake, single, settings).describe()


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("mode: turn\n", "each request follows from an answer"),
        ("budget: {rpm: 5}\n", "rpm bounds the pace of calls"),
        ("budget: {off_peak: '22:00-06:00 UTC', concurrency: 3}\n", "concurrency, off_peak bounds"),
    ],
)
def test_batches_are_refused_where_they_mean_nothing(rest, said):
    """Before anything runs, with what is wrong."""
    with pytest.raises(BadInputError, match=said):
        parse_experiment(text_of(BatchServer(port=1), rest=f"batch: true\n{rest}"), "x")
    with pytest.raises(BadInputError, match="this experiment asks none"):
        parse_experiment("experiment: e\ncandidate: {echo: true}\nbatch: true\n", "x")


def test_the_key_is_in_nothing_that_batches_leave(lake, settings, tmp_path, monkeypatch):
    """An answer that repeats the key, and an error that does: it is in no file of the home and no line that is told."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    told: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if len(body["messages"]) == 4:
            return 400, {"error": {"message": f"bad key {KEY}"}}
        status, document = chat_answer(path, body)
        document["choices"][0]["message"]["content"] = f"My key is {KEY}"
        return status, document

    with serving_batches(answer=answer) as server:
        text = text_of(server, more=", api_key_env: MODEL_KEY")
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text, tmp_path, tell=told.append)
        assert server.headers["Authorization"] == f"Bearer {KEY}"
        server.work()
        result = replay(lake, settings, text, tmp_path, tell=told.append)
    assert result.failures == {"rejected": TASKS}
    texts = query(lake, "SELECT DISTINCT text FROM replays_history WHERE status = 'ok'")
    assert texts == [("My key is [api key]",)]
    files = [path for path in [*settings.home.rglob("*"), *lake.root.rglob("*")] if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert not any(KEY in line for line in [*told, result.first_error or ""])


def test_a_batch_that_is_done_is_found_and_one_under_way_is_not(lake, settings, tmp_path):
    """What a sensor asks: nothing while it is worked on, the experiment and its version when it is done, nothing afterwards."""
    with serving_batches() as server:
        assert find_finished(settings, print) == []
        with pytest.raises(UnfinishedError):
            replay(lake, settings, text_of(server), tmp_path)
        (batch,) = list_open(settings)
        assert find_finished(settings, print) == []
        server.work()
        (found,) = find_finished(settings, print)
        assert (found.experiment, found.versions, found.is_retry) == ("asked", (batch.purpose.version_id,), False)
        replay(lake, settings, text_of(server), tmp_path)
        assert find_finished(settings, print) == list_open(settings) == []
