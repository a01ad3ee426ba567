"""`refold import litellm --dsn`: calls from the table that LiteLLM's proxy keeps in its own database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.verbs import Verbs

# As the schema in LiteLLM's wheel (1.110) makes it.
TABLE = """
CREATE TABLE "LiteLLM_SpendLogs" (
    "request_id" text PRIMARY KEY, "call_type" text NOT NULL, "api_key" text NOT NULL DEFAULT '', "spend" double precision NOT NULL DEFAULT 0,
    "total_tokens" integer NOT NULL DEFAULT 0, "prompt_tokens" integer NOT NULL DEFAULT 0, "completion_tokens" integer NOT NULL DEFAULT 0,
    "startTime" timestamp(3) NOT NULL, "endTime" timestamp(3) NOT NULL, "request_duration_ms" integer, "completionStartTime" timestamp(3),
    "model" text NOT NULL DEFAULT '', "model_id" text DEFAULT '', "model_group" text DEFAULT '', "custom_llm_provider" text DEFAULT '',
    "api_base" text DEFAULT '', "user" text DEFAULT '', "metadata" jsonb DEFAULT '{}', "cache_hit" text DEFAULT '', "cache_key" text DEFAULT '',
    "request_tags" jsonb DEFAULT '[]', "team_id" text, "organization_id" text, "end_user" text, "requester_ip_address" text,
    "messages" jsonb DEFAULT '{}', "response" jsonb DEFAULT '{}', "session_id" text, "status" text, "mcp_namespaced_tool_name" text,
    "billing_agent_id" text, "agent_id" text, "proxy_server_request" jsonb DEFAULT '{}'
)
"""
ASKED = [{"role": "user", "content": "Where is my parcel?"}]
TOLD = {"role": "assistant", "content": "It is at the depot."}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "resp-1", "model": "gpt-x-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
    }  # fmt: skip


@pytest.fixture
def proxy(empty_dsn: str) -> str:
    """The proxy's database, without calls."""
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(TABLE)
    return empty_dsn


def call(dsn: str, number: int, **fields: Any) -> None:
    """Log a call of the minute `number`."""
    row = {
        "request_id": f"q{number}", "call_type": "acompletion", "startTime": f"2026-03-01 10:{number:02}:00", "endTime": f"2026-03-01 10:{number:02}:01.5",
        "model": "openai/gpt-x", "model_group": "desk", "custom_llm_provider": "openai", "spend": 0.25, "prompt_tokens": 10, "completion_tokens": 4,
        "end_user": "ann", "session_id": "s1", "status": "success", **fields,
    }  # fmt: skip
    with psycopg.connect(dsn) as conn:
        names = ", ".join(f'"{name}"' for name in row)
        values = [Jsonb(each) if isinstance(each, dict | list) else each for each in row.values()]
        conn.execute(
            f'INSERT INTO "LiteLLM_SpendLogs" ({names}) VALUES ({", ".join(["%s"] * len(row))})'.encode(), values
        )


def imported(refold: Verbs, dsn: str, *options: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a dry run of an import says, and its run lines."""
    code, told, error = refold(
        "import", "litellm", "--dsn", dsn, "--dry-run", "--json", "--to-lines", "lines.jsonl", *options
    )
    assert code == 0, error
    with Path("lines.jsonl").open(encoding="utf-8") as file:
        return json.loads(told), [json.loads(line) for line in file]


def test_calls_of_a_session_are_a_conversation(refold: Verbs, proxy: str) -> None:
    """Messages stand in their column, or in the request as the proxy got it; a call without a session is by itself."""
    call(proxy, 1, messages=ASKED, response=answer(TOLD))
    more = [*ASKED, TOLD, {"role": "user", "content": "Thanks"}]
    request = {
        "model": "desk",
        "messages": more,
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {"name": "track"}}],
    }
    call(proxy, 2, proxy_server_request=request, response=answer({"role": "assistant", "content": "Bye."}))
    call(proxy, 3, session_id=None, messages=ASKED, response=answer(TOLD))
    counts, lines = imported(refold, proxy)
    by_id = {line["conversation_id"]: line for line in lines}
    assert set(by_id) == {"s1", "q3"}
    line = by_id["s1"]
    assert [each["content"] for each in line["messages"]] == [
        "Where is my parcel?",
        "It is at the depot.",
        "Thanks",
        "Bye.",
    ]
    assert (line["source"], line["subject_id"]) == ("litellm", "ann")
    decision = line["messages"][3]["decision"]
    assert (decision["model"], decision["model_requested"], decision["provider"]) == ("gpt-x-1", "desk", "openai")
    assert decision["usage"] == {"input_tokens": 10, "output_tokens": 4, "cached_input_tokens": 3}
    assert (decision["cost_usd"], decision["latency_ms"], decision["params"]) == (0.25, 1500, {"temperature": 0.5})
    assert counts["history"] == {"exact": 1, "opened": 2}
    assert counts["conversations_without_id"] == 1


def test_prompts_that_are_not_stored_and_calls_that_failed(refold: Verbs, proxy: str) -> None:
    """The summary names the switch; an error is a decision's."""
    call(proxy, 1)
    call(
        proxy,
        2,
        status="failure",
        session_id="s2",
        messages=ASKED,
        metadata={"error_information": {"error_class": "RateLimitError"}},
    )
    counts, lines = imported(refold, proxy)
    assert counts["calls_without_content"] == 1
    assert "store_prompts_in_spend_logs" in counts["content_switches"][0]
    failed = next(
        each for line in lines if line["conversation_id"] == "s2" for each in line["messages"] if "decision" in each
    )
    assert failed["decision"]["error"] == {"error_class": "RateLimitError"}


def test_what_is_new_comes_with_its_whole_session(refold: Verbs, proxy: str) -> None:
    """`--since` leaves out sessions in which nothing happened from then on, and nothing of the others."""
    call(proxy, 1, messages=ASKED, response=answer(TOLD))
    call(proxy, 2, session_id="s2", messages=ASKED, response=answer(TOLD))
    call(
        proxy,
        9,
        messages=[*ASKED, TOLD, {"role": "user", "content": "And now?"}],
        response=answer({"role": "assistant", "content": "Still."}),
    )
    _, lines = imported(refold, proxy, "--since", "2026-03-01T10:05:00")
    assert [line["conversation_id"] for line in lines] == ["s1"]
    assert len(lines[0]["messages"]) == 4


def test_importing_again_appends_nothing(refold: Verbs, proxy: str) -> None:
    call(proxy, 1, messages=ASKED, response=answer(TOLD))
    told = [json.loads(refold("import", "litellm", "--dsn", proxy, "--json")[1])["imported"] for _ in range(2)]
    assert [(each["conversations"], each["already_present"]) for each in told] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--dsn"),
        (["calls.jsonl", "--dsn", "postgresql://x"], "no files"),
        (["calls.jsonl", "--since", "2026-01-01"], "--since"),
    ],
)
def test_files_or_a_database(refold: Verbs, arguments: list[str], reason: str) -> None:
    code, _, error = refold("import", "litellm", *arguments)
    assert code != 0
    assert reason in error


def test_a_database_without_the_table(refold: Verbs, empty_dsn: str) -> None:
    code, _, error = refold("import", "litellm", "--dsn", empty_dsn)
    assert code != 0
    assert "--table" in error
