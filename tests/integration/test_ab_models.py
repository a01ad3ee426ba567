"""Experiments that ask a model: from the recording to committed rows, with its faults, budget, prompts and secrets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipelines.canonical.arguments import fields_of
from pipelines.canonical.tools import tools_sha256
from pipelines.diff.dataset import build_diff
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.lake.lake import Lake
from pipelines.replay.asking.asker import EndpointError
from pipelines.replay.estimate import estimate_replay
from pipelines.replay.replan import replan
from pipelines.replay.run import run_replay
from pipelines.review.headline import find_version, load_headline
from pipelines.review.page import render_page
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store
from tests.support.databases import copied_database, filled_template
from tests.support.history import query
from tests.support.model_server import serving
from tests.support.shop import add, conversation, plan_of, refresh, replay, text_of
from tests.support.wires.form import Tokens

KEY = "sk-live-4711-abcdefgh"
TASKS = 6


@pytest.fixture(scope="module")
def folded_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lake to copy is."""
    return tmp_path_factory.mktemp("folded") / "lake"


@pytest.fixture(scope="module")
def shop(
    server: EmbeddedServer, template: str, folded_lake: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database to copy with that lake: six conversations of three decisions each."""
    lines = [conversation(task, "v1", 10.0 * task, f"2026-01-{task + 1:02d} 12:00:00") for task in range(TASKS)]

    def fill(store: Store, lake: Lake) -> None:
        add(store, lake, tmp_path_factory.mktemp("lines"), lines)

    with filled_template(server, template, folded_lake, fill) as name:
        yield name


@pytest.fixture
def store_settings(
    settings: Settings, server: EmbeddedServer, template: str, shop: str, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """The store of `lake`, or an empty one for a test without it."""
    with copied_database(server, shop if "lake" in request.fixturenames else template) as name:
        yield replace(settings, dsn=server.dsn_of(name))


@pytest.fixture
def lake(settings: Settings, shop: str, folded_lake: Path) -> Lake:
    """A copy of that lake."""
    assert shop
    shutil.copytree(folded_lake, settings.lake)
    return Lake.from_settings(settings)


def agent(body: dict[str, Any]) -> dict[str, Any]:
    """Looks the order up in two calls at once, then says good-bye."""
    last = body["messages"][-1]
    if last["role"] == "user":
        calls = [("lookup_order", '{"id": 1}'), ("refund", '{"id": 1, "amount_usd":')]
        listed = [{"id": n, "type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
        return {"role": "assistant", "content": None, "tool_calls": listed}
    return {"role": "assistant", "content": f"Bye {len(body['messages'])}"}


def test_a_model_is_asked_with_what_the_agent_saw(lake, settings, tmp_path):
    """Every decision is one call with the recorded context; what comes back is a row with its cost, tokens and calls."""
    with serving(answer=agent, keep_bodies=True) as server:
        result = replay(lake, settings, text_of(server, ", params: {temperature: 0, seed: 7}"), tmp_path)
    assert (result.units, result.failures, result.first_error) == (TASKS * 3, {}, None)
    assert all((body["model"], body["temperature"], body["seed"]) == ("m", 0, 7) for body in server.bodies)
    first = min((body for body in server.bodies), key=lambda body: len(body["messages"]))
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    longest = max(server.bodies, key=lambda body: len(body["messages"]))["messages"]
    assert [message["role"] for message in longest] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert longest[2]["tool_calls"][0]["id"] == longest[3]["tool_call_id"]
    rows = query(
        lake, "SELECT decision, text, tool_calls, input_tokens > 0, cost_usd FROM replays_history ORDER BY unit_id"
    )
    assert len(rows) == TASKS * 3
    calls = [
        {"block": 0, "name": "lookup_order", **fields_of('{"id": 1}')},
        {"block": 0, "name": "refund", **fields_of('"{\\"id\\": 1, \\"amount_usd\\":"')},
    ]
    assert rows[:3] == [(1, None, calls, True, None), (2, "Bye 4", [], True, None), (3, "Bye 6", [], True, None)]


def test_what_a_cache_gave_and_took_and_what_was_thought_is_counted_on_every_wire(lake, settings, tmp_path):
    """The same counts come to the same columns and the same cost, of answers that were kept as well; of a walk they are sums."""
    price = "{input_usd: 10, output_usd: 100, cached_input_usd: 1, cache_write_usd: 12.5}"
    counts = Tokens(1_000, made=50, cached=400, written=100, thought=30)
    usd = (500 * 10 + 400 * 1 + 100 * 12.5 + 50 * 100) / 1e6
    with serving(count=lambda _body: counts) as server:
        for api in ("chat", "responses", "messages"):
            bound = "max_output_tokens" if api == "responses" else "max_tokens"
            asked = f"api: {api}, model: m, base_url: '{server.address(api)}', params: {{{bound}: 99}}, price: {price}"
            for mode in ("decision", "turn"):
                text = f"experiment: {api}-{mode}\ncandidate: {{{asked}}}\nmode: {mode}\n"
                replay(lake, settings, text, tmp_path)
    rows = query(
        lake,
        "SELECT experiment, input_tokens // 1000, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, "
        "cost_usd FROM replays_history",
    )
    assert {name for name, *_ in rows} == {
        f"{api}-{mode}" for api in ("chat", "responses", "messages") for mode in ("decision", "turn")
    }
    for _, calls, *rest, cost in rows:
        assert rest == [400 * calls, 100 * calls, 50 * calls, 30 * calls]
        assert cost == pytest.approx(usd * calls)


def test_a_walk_calls_tools_by_names_that_the_wire_does_not_take(store, settings, tmp_path):
    """The recording answers calls that a model makes under the names it was given, over each wire: the walk is the recorded one."""
    told = json.dumps([conversation(task, "v1", 10.0, "2026-01-01 12:00:00") for task in range(2)])
    lines = json.loads(told.replace("lookup_order", "crm.look up").replace('"refund"', '"zurück/zahlen"'))
    lake = Lake.from_settings(settings)
    add(store, lake, tmp_path, lines)
    names = ("crm.look up", "zurück/zahlen")
    schemas = [{"name": name, "parameters": {"type": "dict", "properties": {"id": {"type": "int"}}}} for name in names]
    (tmp_path / "tools.json").write_text(json.dumps(schemas), encoding="utf-8")

    def echo(body: dict[str, Any]) -> dict[str, Any]:
        """What the recorded agent did, with the tools that are offered."""
        task = int(str(body["messages"][1]["content"]).split()[-1])
        step = sum(message["role"] == "assistant" for message in body["messages"])
        given = ({"id": task}, {"id": task, "amount_usd": 10.0})
        if step >= len(given):
            return {"role": "assistant", "content": "Refunded 10.0 USD"}
        function = {"name": body["tools"][step]["function"]["name"], "arguments": json.dumps(given[step])}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        }

    with serving(answer=echo) as server:
        for api in ("chat", "responses", "messages"):
            bound = "max_output_tokens" if api == "responses" else "max_tokens"
            asked = f"api: {api}, model: m, base_url: '{server.address(api)}', params: {{{bound}: 99}}"
            text = f"experiment: {api}\ncandidate: {{{asked}}}\nmode: turn\ntools: {{schemas: tools.json}}\n"
            result = replay(lake, settings, text, tmp_path)
            assert (result.units, result.failures, result.first_error) == (2, {}, None)
        walks = query(
            lake,
            "SELECT DISTINCT experiment, coverage, first_divergence_step, step_count, [call.name FOR call IN tool_calls] "
            "FROM replays_history ORDER BY ALL",
        )
    assert walks == [(api, 1.0, None, 3, list(names)) for api in ("chat", "messages", "responses")]
    assert server.refused == {}


def odd_answer(body: dict[str, Any], _times: int) -> tuple[int, dict[str, str], bytes]:
    """First decisions are declined in the field for that, second ones are cut before their first word, third ones answered."""
    asked = len(body["messages"])
    message: dict[str, Any] = {"role": "assistant", "content": "Bye."}
    if asked <= 4:
        declined = {"content": None, "refusal": "Das kann ich leider nicht."}
        message = {"role": "assistant", **(declined if asked == 2 else {"content": None, "reasoning_content": "hm"})}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"index": 0, "message": message, "finish_reason": "length" if asked == 4 else "stop"}
    model = "m-2026-01-31" if asked == 2 else "spare-mini"
    return 200, {}, json.dumps({"choices": [choice], "model": model, "usage": usage}).encode()


def test_rows_and_page_say_who_answered_and_why_it_stopped(lake, settings, tmp_path):
    """Another model, a cut answer and a refusal in the endpoint's own field are answers with these facts in their columns, and
    the page counts them; a dated name is no other model."""
    with serving(respond=odd_answer) as server:
        result = replay(lake, settings, text_of(server), tmp_path)
        assert result.failures == {}
    facts = query(
        lake,
        "SELECT decision, model, model_requested, finish_reason, text, is_refusal, count(*)::INTEGER FROM replays_history "
        "GROUP BY ALL ORDER BY ALL",
    )
    assert facts == [
        (1, "m-2026-01-31", "m", "stop", "Das kann ich leider nicht.", True, TASKS),
        (2, "spare-mini", "m", "length", None, False, TASKS),
        (3, "spare-mini", "m", "stop", "Bye.", False, TASKS),
    ]
    plan = plan_of(lake, text_of(server), tmp_path)
    page = render_page(lake, build_diff(lake, plan))
    notes = load_headline(lake, find_version(lake, "asked")).notes
    assert notes == (
        f"{2 * TASKS} of {3 * TASKS} answers came from another model than was asked: spare-mini ({2 * TASKS})",
        f"{TASKS} of {3 * TASKS} answers were cut: the model reached its bound of tokens",
    )
    assert all(note in page for note in notes)
    refusals = query(lake, "SELECT decision, bool_and(is_refusal_b) FROM ab_units GROUP BY ALL ORDER BY ALL")
    assert refusals == [(1, True), (2, False), (3, False)]


@pytest.mark.parametrize("mode", ["decision", "turn"])
def test_recorded_reasoning_goes_back_and_a_redacted_conversations_does_not(lake, settings, tmp_path, store, mode):
    """What a vendor wants back with a recorded message is in the requests after it, of a call, too; log fields are not, and of a
    conversation of which something was redacted nothing that stands beside the payloads goes out."""
    asks = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    signed = {**asks, "extra_content": {"google": {"thought_signature": "sig"}}}
    lines = [
        {
            "source": "thoughts",
            "conversation_id": f"{each}",
            "started_at": "2026-01-20T12:00:00Z",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "You "}, {"type": "text", "text": "serve."}]},
                {"role": "user", "name": "Ines", "content": f"Hello {each}"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [signed],
                    "reasoning_content": "hm",
                    "trace_id": "t",
                },
                {"role": "tool", "tool_call_id": "c", "content": "5"},
                {"role": "assistant", "content": "Five.", "reasoning_details": [{"type": "x", "data": "y"}]},
                {"role": "user", "content": "And now?"},
                {"role": "assistant", "content": "Six."},
            ],
        }
        for each in range(2)
    ]
    add(store, lake, tmp_path, lines)
    ((stream,),) = query(lake, "SELECT aggregate_id FROM events WHERE payload LIKE '%Hello 1%'")
    mask = {"target": {"stream_version": 2}, "path": "/text", "method": "mask", "reason": "asked"}
    store.append(UUID(stream), "conversation", [NewEvent("redaction.applied.v1", mask, {"actor": "system"})], "any")
    refresh(store, lake)
    with serving(answer=lambda _body: {"role": "assistant", "content": "Hi"}, keep_bodies=True) as server:
        edit = ", prompt_edit: [{find: You serve, replace: We serve}]"
        replay(lake, settings, text_of(server, edit, f"where: source = 'thoughts'\nmode: {mode}\n"), tmp_path)
    longest = [body["messages"] for body in server.bodies if len(body["messages"]) == 6]
    assert len(longest) == 2
    whole = next(messages for messages in longest if messages[1]["content"] == "Hello 0")
    assert whole[0] == {"role": "system", "content": "We serve."}
    assert whole[2]["reasoning_content"] == "hm"
    assert "trace_id" not in whole[2]
    assert whole[2]["tool_calls"][0]["extra_content"] == signed["extra_content"]
    assert whole[4]["reasoning_details"] == [{"type": "x", "data": "y"}]
    (hidden,) = [messages for messages in longest if messages is not whole]
    assert "reasoning_content" not in hidden[2]
    assert "sig" not in json.dumps(hidden)


def test_a_run_that_nobody_answered_is_an_error_and_writes_nothing(lake, settings, tmp_path):
    """With the endpoint's own words; nothing is booked, and no version is there."""
    refused = (400, {}, b'{"error": {"message": "this model takes no \\u001b[31mtemperature"}}')
    with serving(respond=lambda _body, _times: refused) as server:
        text = text_of(server, rest="sample: {conversations: 1}\n")
        with pytest.raises(EndpointError, match=r"nothing was answered: .*this model takes no \ufffd.31mtemperature"):
            replay(lake, settings, text, tmp_path)
    assert query(lake, "SELECT count(*) FROM replays_history") == [(0,)]


def test_the_prompt_is_the_candidates(lake, settings, tmp_path, store):
    """A prompt file takes the place of the system message, filled in from recorded variables; an edit changes one place;
    a conversation for which that cannot be done fails with the reason, and nothing of it is sent."""
    (tmp_path / "v2.md").write_text("Be kind to {{ name }}. Limit: {{limit}}", encoding="utf-8")
    event = NewEvent(
        "conversation.started.v1",
        {"messages": [{"role": "system", "content": "Old {{name}}"}], "variables": {"name": "Ann {{x}}", "limit": 5}},
        {"actor": "system", "message_id": "m1", "source": "shop", "source_id": "with-variables"},
    )
    said = NewEvent("user.utterance.v1", {"text": "Hello"}, {"actor": "user", "message_id": "m2"})
    reply = NewEvent("agent.utterance.v1", {"text": "Hi"}, {"actor": "agent", "message_id": "m3"})
    store.append(uuid4(), "conversation", [event, said, reply], 0)
    refresh(store, lake)
    with serving(keep_bodies=True) as server:
        result = replay(lake, settings, text_of(server, ", prompt_file: v2.md"), tmp_path)
        assert result.failures == {"missing_variable": TASKS * 3}
        assert "{{name}} was not recorded" in (result.first_error or "")
        assert [body["messages"][0]["content"] for body in server.bodies] == ["Be kind to Ann {{x}}. Limit: 5"]
        server.bodies.clear()
        edit = ", prompt_edit: [{find: the shop, replace: THE SHOP}]"
        result = replay(lake, settings, text_of(server, edit), tmp_path)
        assert result.failures == {"prompt_edit": 1}
        assert {body["messages"][0]["content"] for body in server.bodies} == {"You are THE SHOP's agent."}


@pytest.mark.parametrize("mode", ["decision", "conversation"])
def test_asking_without_tools_that_nobody_recorded_is_said_aloud(lake, settings, tmp_path, mode):
    """A log that does not say which tools there were is replayed without any: the dry run and the run say of how many decisions
    that is true, until the experiment names tools, or none; a callable, which is sent nothing, has nothing to be told."""
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    with serving(answer=agent) as server:
        text = text_of(server, rest=f"mode: {mode}\n")
        said = f"note: {TASKS * 3} decisions do not say which tools the agent had, {TASKS * 3} of them in conversations where"
        plan = plan_of(lake, text, tmp_path)
        assert said in estimate_replay(lake, plan, settings).describe()
        told: list[str] = []
        run_replay(lake, plan, settings=settings, tell=told.append)
        assert [line for line in told if line.startswith(said)]
        told.clear()
        plan = plan_of(lake, f"{text}tools: {{schemas: none.json}}\n", tmp_path)
        assert "note:" not in estimate_replay(lake, plan, settings).describe()
        run_replay(lake, plan, settings=settings, tell=told.append)
        assert not told


TOOL = {"type": "function", "function": {"name": "lookup_order", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("mode", ["decision", "turn"])
def test_a_model_is_not_asked_without_the_tools_that_the_agent_had(lake, settings, tmp_path, store, mode):
    """Tools of which only a hash was recorded: the unit is a row with that reason and nothing is sent, until the experiment
    names tools of its own, or none; registered ones are sent along."""
    known, unknown = tools_sha256([TOOL]), "f" * 64
    registered = NewEvent("tools.registered.v1", {"sha256": known, "tools": [TOOL]}, {"actor": "system"})
    store.append(uuid4(), "tools", [registered], 0)
    for number, sha256 in enumerate((known, unknown)):
        said = NewEvent("user.utterance.v1", {"text": f"Hello {number}"}, {"actor": "user", "message_id": "m2"})
        model = {"model": "m0", "params": {}, "tools_sha256": sha256}
        decided = NewEvent("model.decision.v2", model, {"actor": "agent", "message_id": "m3"})
        reply = NewEvent("agent.utterance.v1", {"text": "Hi"}, {"actor": "agent", "message_id": "m3"})
        store.append(uuid4(), "conversation", [said, decided, reply], 0)
    refresh(store, lake)
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    with serving(keep_bodies=True, answer=lambda _body: {"role": "assistant", "content": "Hi"}) as server:
        text = text_of(server, rest=f"where: source IS NULL\nmode: {mode}\n")
        estimate = estimate_replay(lake, plan_of(lake, text, tmp_path), settings)
        assert (estimate.destinations[0].requests, estimate.destinations[0].unasked) == (1, {"unknown_tools": 1})
        assert "would not be asked: 1 × unknown_tools" in estimate.describe()
        result = replay(lake, settings, text, tmp_path)
        assert (result.units, result.failures) == (2, {"unknown_tools": 1})
        assert unknown in (result.first_error or "")
        assert [body["tools"] for body in server.bodies] == [[TOOL]]
        server.bodies.clear()
        own = replay(lake, settings, f"{text}tools: {{schemas: none.json}}\n", tmp_path)
        assert (own.units, own.failures) == (2, {})
        assert ["tools" in body for body in server.bodies] == [False, False]


def test_the_prompt_text_is_in_the_version_and_the_key_is_not(lake, tmp_path):
    """Another text in the same file is another version; the same text in another file, another key or budget is none."""
    with serving() as server:
        versions = {}
        for name, text in (("a.md", "one"), ("b.md", "one"), ("a.md", "two")):
            (tmp_path / name).write_text(text, encoding="utf-8")
            asked = text_of(
                server, f", prompt_file: {name}, api_key_env: K{text}", f"budget: {{requests: {len(text)}}}"
            )
            versions[name, text] = plan_of(lake, asked, tmp_path).version_id
        assert versions["a.md", "one"] == versions["b.md", "one"] != versions["a.md", "two"]


def test_draws_and_control_share_nothing(lake, settings, tmp_path):
    """Two draws of candidate and control are four answers to every request, also when both ask the same model the same."""
    with serving() as server:
        text = text_of(server, ", draws: 2", "control: {model: m, draws: 2}")
        result = replay(lake, settings, text, tmp_path)
        assert server.paid.total() == len(server.paid) == TASKS * 3 * 4
        assert result.units == TASKS * 3 * 4
        drawn = query(lake, "SELECT side, draw, count(*) FROM replays_history GROUP BY ALL ORDER BY ALL")
        assert drawn == [
            (side, draw, TASKS * 3)
            for side, draw in (("candidate", 0), ("candidate", 1), ("control", 1000), ("control", 1001))
        ]
        more = text_of(server, ", draws: 3", "control: {model: m, draws: 2}")
        replay(lake, settings, more, tmp_path)
        assert server.paid.total() == TASKS * 3 * 5


def test_failed_units_are_retried_only_when_asked_for(lake, settings, tmp_path):
    """A budget that ran out leaves failed rows; the same run again writes nothing; a retry asks for the failed ones alone,
    counts the attempt, and is one new commit with another result."""
    with serving() as server:
        small = text_of(server, rest="budget: {requests: 10, concurrency: 2}")
        first = replay(lake, settings, small, tmp_path)
        assert first.failures == {"budget_exhausted": TASKS * 3 - 10}
        plan = plan_of(lake, small, tmp_path)
        before = build_diff(lake, plan)
        large = text_of(server, rest="budget: {requests: 100}")
        assert not replay(lake, settings, large, tmp_path).is_written
        again = replay(lake, settings, large, tmp_path, retry_failed=True)
        assert (again.is_written, again.version_id, again.failures) == (True, first.version_id, {})
        assert server.calls.total() == TASKS * 3
        attempts = query(lake, "SELECT attempt, count(*) FROM replays_history GROUP BY ALL ORDER BY ALL")
        assert attempts == [(1, 10), (2, TASKS * 3 - 10)]
        assert build_diff(lake, plan).result_hash != before.result_hash
        assert not replay(lake, settings, large, tmp_path, retry_failed=True).is_written


def test_provenance_says_what_was_sent_where(lake, settings, tmp_path):
    """The commit holds calls, charges, and whose text went to which endpoint; units with the same request are counted."""
    with serving() as server:
        replay(lake, settings, text_of(server), tmp_path)
    ((provenance,),) = query(lake, "SELECT provenance FROM commits WHERE dataset = 'replays'")
    asked = json.loads(provenance)["asked"]
    (sent,) = asked["sent"]
    assert (sent["endpoint"], sent["model"], sent["side"], sent["conversations"]) == (
        server.base_url,
        "m",
        "candidate",
        6,
    )
    assert (asked["answers_paid"], asked["calls"], asked["units_sharing_a_response"]) == (TASKS * 3, TASKS * 3, 0)


@pytest.mark.parametrize(
    ("extra", "rest", "fault"),
    [
        (", api_key_env: NOT_SET_ANYWHERE", "", "NOT_SET_ANYWHERE is not set"),
        ("", "budget: {usd: 1}", "REFOLD_PRICES"),
        (", prompt_file: nowhere.md", "", "nowhere.md cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(lake, settings, tmp_path, extra, rest, fault):
    """A missing key, price or prompt is bad input, and no call was made."""
    with serving() as server:
        with pytest.raises(BadInputError, match=fault):
            replay(lake, settings, text_of(server, extra, rest), tmp_path)
        assert server.calls.total() == 0


def test_an_endpoint_elsewhere_is_refused(lake, settings, tmp_path):
    """Without REFOLD_ENDPOINTS nothing leaves this machine."""
    text = "experiment: x\ncandidate: {model: m, base_url: 'https://api.openai.com/v1'}\n"
    with pytest.raises(BadInputError, match="REFOLD_ENDPOINTS"):
        replay(lake, settings, text, tmp_path)


def test_a_decision_is_replanned_from_what_is_paid_for(lake, settings, tmp_path):
    """The draws that an experiment paid for are shown without a call; one draw more is one call."""
    with serving(answer=agent) as server:
        text = text_of(server, ", draws: 2")
        replay(lake, settings, text, tmp_path)
        calls = server.calls.total()
        experiment = parse_experiment(text, "x")
        found = replan(lake, "shop/v1-3", 1, experiment, tmp_path, 3, settings=settings)
        assert server.calls.total() == calls + 1
    assert [[name for name, _ in draw.tool_calls] for draw in found.draws] == [["lookup_order", "refund"]] * 3
    assert found.context[0]["content"] == "You are the shop's agent."


def test_responses_about_what_was_redacted_are_erased(lake, settings, tmp_path, store):
    """Once a conversation is redacted, no byte of what a model said about it stays; the others are not asked again."""

    def repeat(body: dict[str, Any]) -> dict[str, Any]:
        return {"role": "assistant", "content": "You said: " + body["messages"][1]["content"]}

    with serving(answer=repeat) as server:
        replay(lake, settings, text_of(server), tmp_path)
        assert b"refund order 3" in settings.responses.read_bytes() + _wal(settings).read_bytes()
        ((stream, version),) = query(
            lake,
            "SELECT aggregate_id, stream_version FROM events WHERE event_type LIKE 'user.utterance%' "
            "AND payload LIKE '%refund order 3%'",
        )
        hide = NewEvent(
            "redaction.applied.v1",
            {"target": {"stream_version": version}, "path": "/text", "method": "mask", "reason": "asked"},
            {"actor": "system"},
        )
        store.append(UUID(stream), "conversation", [hide], "any")
        refresh(store, lake)
        calls = server.calls.total()
        replay(lake, settings, text_of(server), tmp_path)
        assert server.calls.total() == calls + 3
        replay(lake, settings, text_of(server, ", params: {seed: 1}"), tmp_path)
        assert b"refund order 3" not in settings.responses.read_bytes() + _wal(settings).read_bytes()
        assert b"refund order 4" in settings.responses.read_bytes() + _wal(settings).read_bytes()


def _wal(settings: Settings) -> Path:
    path = settings.responses.with_name(f"{settings.responses.name}-wal")
    path.touch()
    return path


def test_a_dry_run_counts_and_prices_and_sends_nothing(lake, settings, tmp_path, monkeypatch):
    """Requests, what is paid for, tokens, dollars, time, and whose text would go where; nothing is sent or written."""
    prices = {"as_of": "2026-01-01", "source": "test", "models": {"m": {"input_usd": 1.0, "output_usd": 10.0}}}
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(prices), encoding="utf-8")
    settings = replace(settings, prices=path)
    with serving(keep_bodies=True) as server:
        text = text_of(
            server, ", draws: 2", "budget: {rpm: 60, off_peak: '22:00-06:00 UTC'}\nsample: {conversations: 4}"
        )
        estimate = estimate_replay(lake, plan_of(lake, text, tmp_path), settings)
        assert server.calls.total() == 0
        assert not settings.replays.exists()
        (to,) = estimate.destinations
        assert (estimate.decisions, estimate.conversations, estimate.is_exact) == (12, 4, True)
        assert (to.requests, to.kept, to.conversations, to.subjects, to.conversations_without_subject) == (
            24,
            0,
            4,
            0,
            4,
        )
        assert estimate.usd == to.usd == pytest.approx((to.input_tokens + 10 * to.output_tokens) / 1e6)
        assert estimate.seconds == 24
        assert "24 requests to m at" in estimate.describe()
        asked = text_of(server, rest="sample: {conversations: 4}")
        replay(lake, settings, asked, tmp_path)
        sizes = sum(len(json.dumps(body, separators=(",", ":"))) for body in server.bodies)
        again = estimate_replay(lake, plan_of(lake, text, tmp_path), settings).destinations[0]
        assert (again.requests, again.kept) == (24, 12)
        assert again.input_tokens == pytest.approx(sizes // 4, rel=0.02)
