"""Endpoints with a habit of their own, over each wire, asked by an experiment: the same agent behind each is the recording again.

A parcel agent is recorded through the import and then answers itself over HTTP, exactly; what is odd is what its endpoint wants
in a request, what it answers instead, or how it writes an answer. What comes of a habit is the same whatever the wire.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake.lake import Lake
from pipelines.replay.asking import patience as asking
from pipelines.replay.asking.asker import EndpointError
from pipelines.replay.wires.registry import WIRES
from pipelines.settings import Settings
from pipelines.store import Store
from tests.acceptance.kills import API_KEY, HIDDEN, SPELT, leaks_in
from tests.support.history import query
from tests.support.model_server import ModelServer, serving
from tests.support.shop import add, replay
from tests.support.wires import quirks
from tests.support.wires.form import text_of
from tests.support.wires.wires import Api

Message = dict[str, Any]
Row = tuple[Any, ...]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("read_clock", "find_parcel")]
PARAMS: dict[Api, str] = {
    "chat": "{}",
    "responses": "{reasoning: {effort: low}}",  # with which a replay asks for what it has to bring back
    "messages": "{max_tokens: 500}",
}
DECLINED = "I do not give out addresses."


def call(name: str, arguments: str) -> Message:
    return {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


def parcel_agent(body: dict[str, Any]) -> Message:
    """Declines the first wish; then reads the clock, finds the parcel and says where it is."""
    messages = body["messages"]
    since = max(place for place, message in enumerate(messages) if message["role"] == "user")
    done = len([message for message in messages[since:] if message["role"] == "tool"])
    if "Whose" in text_of(messages[since]["content"]):
        return {"role": "assistant", "content": None, "refusal": DECLINED}
    if done == 2:
        return {"role": "assistant", "content": "In Lund."}
    calls = [call("read_clock", "{}"), call("find_parcel", '{"parcel": "P-1"}')]
    return {"role": "assistant", "content": None, "tool_calls": [calls[done]]}


def conversation(habit: str, day: int) -> dict[str, Any]:
    """Recorded: somebody named asks twice, and the agent answers as above; the first wish names what is odd."""
    messages: list[Message] = [{"role": "system", "content": "You serve a parcel shop."}]
    for wish in (f"Whose is parcel P-1 ({habit})?", "Then where is mine?"):
        messages.append({"role": "user", "name": "Ines", "content": wish})
        while True:
            answer = parcel_agent({"messages": messages})
            messages.append(answer)
            if not answer.get("tool_calls"):
                break
            messages.append({"role": "tool", "tool_call_id": answer["tool_calls"][0]["id"], "content": "{}"})
    facts = {
        "source": "parcels",
        "conversation_id": habit,
        "started_at": f"2026-01-{day:02d}T09:00:00Z",
        "tools": TOOLS,
    }
    return {**facts, "messages": messages}


def habit_of(body: dict[str, Any]) -> str:
    """The habit that the first wish of a request names."""
    first = next(text_of(message["content"]) for message in body["messages"] if message["role"] == "user")
    return first.partition("(")[2].partition(")")[0]


def answered(**changes: Any) -> list[Row]:
    """What comes of the four decisions: status, reason, text, whether it declines, tools."""
    looked, thought = changes.get("looked"), changes.get("thought", "")
    return [
        ("ok", None, changes.get("declined", DECLINED), True, []),
        ("ok", None, looked, False, ["read_clock"]),
        ("ok", None, looked, False, ["find_parcel"]),
        ("ok", None, f"{thought}In Lund.", False, []),
    ]


def turned_down(reason: str) -> Row:
    return "failed", reason, None, None, None


THOUGHT = "<think>parcels, hm</think>"
SAME = answered()
DECISIONS: dict[str, list[Row]] = {
    "plain": SAME,
    "strict-openai": SAME,
    "mistral-ids": SAME,
    "thinking": [*SAME[:2], *[turned_down("rejected")] * 2],  # what was not recorded cannot be brought back
    "error-body-2": SAME,
    "overloaded": SAME,
    "filter-400": [turned_down("refused")] * 4,
    "moderated-403": [turned_down("refused")] * 4,
    "split": answered(looked="I have a look."),
    "old-call": SAME,
    "other-model": SAME,
    "no-arguments": SAME,
    "cut-empty": [("ok", None, None, False, [])] * 4,
    "refuses": answered(declined=quirks.REFUSAL),
    "think-tags": answered(looked=THOUGHT, thought=THOUGHT),
    "empty-list": SAME,
    "busy-date": SAME,
}
"""What comes of the decisions under each habit."""
RECORDED = [("ok", None, DECLINED, True, []), ("ok", None, "In Lund.", False, ["read_clock", "find_parcel"])]
TURNS: dict[str, list[Row]] = dict.fromkeys(DECISIONS, RECORDED) | {
    "filter-400": [("failed", "refused", None, False, [])] * 2,
    "moderated-403": [("failed", "refused", None, False, [])] * 2,
    "cut-empty": [("ok", None, None, False, [])] * 2,
    "refuses": [("ok", None, quirks.REFUSAL, True, []), RECORDED[1]],
    "think-tags": [RECORDED[0], ("ok", None, f"{THOUGHT}In Lund.", False, ["read_clock", "find_parcel"])],
}
"""What comes of the turns: the recording, but for these. Reasoning that the candidate's own messages hold is brought back."""
CALLS = {"error-body-2": 3, "overloaded": 3, "busy-date": 2}
"""Calls of each request under a habit; one under all others."""
NOBODY = {"error-choice": "upstream went away", "error-body": "upstream went away", "redirect": "/v2/"}
"""Habits with which nobody is answered, and what the run says of them."""
UNITS = "status, reason, nullif(text, ''), is_refusal, [c.name FOR c IN tool_calls]"


@pytest.fixture
def lake(store: Store, settings: Settings, tmp_path: Path) -> Lake:
    lake = Lake.from_settings(settings)
    add(store, lake, tmp_path, [conversation(habit, day) for day, habit in enumerate(DECISIONS, 1)])
    return lake


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_BACKOFF", lambda _state: 0.0)
    monkeypatch.setattr(quirks, "BUSY_SECONDS", 1)


def experiment(server: ModelServer, api: Api, mode: str = "decision") -> str:
    candidate = f"{{api: {api}, model: m, base_url: '{server.address(api)}', params: {PARAMS[api]}}}"
    return f"experiment: parcels\ncandidate: {candidate}\nmode: {mode}\ntools: {{unknown: read}}\n"


def units_of(lake: Lake, version: str, columns: str) -> dict[str, list[Row]]:
    """Columns of a version's units, in order, by the habit that they were asked under."""
    found: dict[str, list[Row]] = {}
    rows = query(
        lake,
        f"SELECT source_id, {columns} FROM replays_history "
        "JOIN (SELECT aggregate_id, source_id FROM conversations) USING (aggregate_id) "
        f"WHERE version_id = '{version}' ORDER BY source_id, decision, turn",
    )
    for habit, *row in rows:
        found.setdefault(habit, []).append(tuple(row))
    return found


@pytest.mark.parametrize("api", WIRES)
def test_the_agent_behind_any_endpoint_is_its_recording(
    api: Api, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    """What comes of each habit is the same whatever the wire, in single decisions and in turns; each is asked as often as it must."""
    assert DECISIONS.keys() | NOBODY.keys() == quirks.QUIRKS.keys()
    here = [habit for habit in DECISIONS if api in quirks.QUIRKS[habit]]
    asked: Counter[str] = Counter()

    def quirk(body: dict[str, Any]) -> str | None:
        asked[habit_of(body)] += 1
        return habit if (habit := habit_of(body)) in here else None

    for mode, right in (("decision", DECISIONS), ("turn", TURNS)):
        asked.clear()
        with serving(answer=parcel_agent, quirk=quirk) as server:
            version = replay(lake, settings, experiment(server, api, mode), tmp_path).version_id
        found = units_of(lake, version, UNITS)
        assert {habit: found[habit] for habit in here} == {habit: right[habit] for habit in here}
        if mode == "decision":
            assert asked == {habit: 4 * CALLS.get(habit, 1) if habit in here else 4 for habit in DECISIONS}
            said = units_of(lake, version, "model_requested, model, finish_reason")
            assert said["other-model"] == [("m", quirks.MODEL, said["plain"][n][2]) for n in range(4)]
            assert said["cut-empty"] == [("m", "m", "length")] * 4


@pytest.mark.parametrize("api", WIRES)
def test_an_endpoint_with_which_nobody_is_answered_is_named(
    api: Api, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    """An error in HTTP 200 in whatever place, and a redirect, end the run with the endpoint's own words."""
    for habit in NOBODY.keys() & {name for name, wires in quirks.QUIRKS.items() if api in wires}:
        with (
            serving(answer=parcel_agent, quirk=lambda _body, habit=habit: habit) as server,
            pytest.raises(EndpointError, match=NOBODY[habit]),
        ):
            replay(lake, settings, experiment(server, api), tmp_path)


def test_strict_endpoints_get_names_and_whole_messages(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    """Speakers by name, and no message of the agent's without any content."""
    with serving(answer=parcel_agent, keep_bodies=True) as server:
        replay(lake, settings, experiment(server, "chat"), tmp_path)
    messages = [message for body in server.bodies for message in body["messages"]]
    assert {message.get("name") for message in messages if message["role"] == "user"} == {"Ines"}
    said = [message for message in messages if message["role"] == "assistant"]
    assert all(message.get("content") or message.get("tool_calls") or message.get("refusal") for message in said)


@pytest.mark.parametrize("api", WIRES)
def test_a_key_that_is_repeated_is_in_no_row_file_or_log(
    api: Api,
    lake: Lake,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An endpoint that says the key in texts, reasoning and arguments, as it is and encoded: rows, cache and log hold
    none of it."""
    monkeypatch.setenv("PARCEL_KEY", API_KEY)

    def answer(body: dict[str, Any]) -> Message:
        said = parcel_agent(body)
        spelt = " ".join(SPELT)
        calls = [call(each["function"]["name"], json.dumps({"key": spelt})) for each in said.get("tool_calls", ())]
        told = {**said, "content": f"so {spelt}", "reasoning": f"hm {spelt}"}
        return {**told, "tool_calls": calls} if calls else told

    extra = "api_key_env: PARCEL_KEY, "
    told: list[str] = []
    with serving(answer=answer) as server:
        text = experiment(server, api, "turn").replace("model: m", f"{extra}model: m")
        version = replay(lake, settings, text, tmp_path, tell=told.append).version_id
        sent = {name.lower(): value for name, value in server.headers.items()}
    assert sent.get("x-api-key", sent.get("authorization", "").removeprefix("Bearer ")) == API_KEY
    rows = query(lake, f"SELECT to_json(r)::VARCHAR FROM replays_history AS r WHERE version_id = '{version}'")
    rows += query(lake, f"SELECT to_json(r)::VARCHAR FROM replay_steps AS r WHERE version_id = '{version}'")
    assert any(HIDDEN in row for (row,) in rows)
    texts = {f"row {number}": row.encode() for number, (row,) in enumerate(rows)}
    texts |= {str(path): path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    texts["log"] = (caplog.text + "".join(told)).encode()
    assert leaks_in(texts) == []
