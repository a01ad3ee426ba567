"""Conversations, calls, decisions and tool calls of four months as rows, under names that are hostile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import groupby

from pipelines.explore.overview import FLAGS
from pipelines.lake.datasets import CALL_MONTHS, CONVERSATION_MONTHS, DECISIONS, TOOL_CALLS
from pipelines.lake.lake import Lake
from tests.support.small_lake import SCRIPT, write_rows

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
SOURCES, AGENTS, VERTICALS = ["desk", None], ["alice", f"a{SCRIPT}", "\u202ereversed"], ["retail", "health", ""]
MODELS = ["m-1", "m-2", None]
OUTCOMES = [None, '{"resolved":true,"csat":4}', '{"resolved":false}', '"lost"', '{"id":%d}']


def make_rows() -> tuple[list[dict], list[dict], list[dict]]:
    """Conversations and calls of four months, their decisions and their tool calls."""
    chance = random.Random(7)
    streams, decisions, tools = [], [], []
    for number in range(300):
        at = FIRST + timedelta(minutes=chance.randrange(120 * 24 * 60))
        outcome = chance.choice(OUTCOMES)
        stream = {
            "aggregate_id": f"s{number}",
            "month": f"{at:%Y-%m}",
            "started_at": at,
            "source": chance.choice(SOURCES),
            "agent": chance.choice(AGENTS),
            "vertical": chance.choice(VERTICALS),
            "status": chance.choice(["ended", "open"]),
            "outcome": outcome % number if outcome and "%d" in outcome else outcome,
            "erased_events": chance.randrange(2),
            **{flag: chance.random() < 0.1 for flag in FLAGS},
        }
        streams.append(stream)
        for index in range(chance.randrange(6)):
            then = at + timedelta(minutes=index)
            of = {"month": f"{then:%Y-%m}", "aggregate_id": stream["aggregate_id"], "created_at": then}
            decisions.append(
                of
                | {
                    "decision": index + 1,
                    "model": chance.choice(MODELS),
                    "latency_ms": chance.choice([None, chance.randrange(50, 5000)]),
                    "cost_usd": chance.choice([None, chance.randrange(100) / 1000]),
                    "input_tokens": chance.randrange(1000),
                    "output_tokens": chance.randrange(100),
                    "error": chance.choice([None, None, "{}"]),
                    "context_verified": chance.choice([True, False, None]),
                }
            )
            answered = chance.random() < 0.8
            tools.append(
                of
                | {
                    "stream_version": index + 1,
                    "actor": chance.choice(["agent", "agent", "user"]),
                    "name": chance.choice(["refund", f"look{SCRIPT}", "find"]),
                    "error": "no" if answered and chance.random() < 0.3 else None,
                    "result_version": 9 if answered else None,
                    "answered_at": then + timedelta(milliseconds=chance.randrange(1000)) if answered else None,
                    "is_erased": False,
                }
            )
    return streams, decisions, tools


STREAMS, DECIDED, ASKED = make_rows()


def write_explored(lake: Lake) -> None:
    """Those rows; every tenth stream is a call."""
    of_calls = [row for number, row in enumerate(STREAMS) if number % 10 == 0]
    of_talks = [row for number, row in enumerate(STREAMS) if number % 10]
    written = ((CONVERSATION_MONTHS, of_talks), (CALL_MONTHS, of_calls), (DECISIONS, DECIDED), (TOOL_CALLS, ASKED))
    for dataset, rows in written:
        for month, each in groupby(sorted(rows, key=lambda row: row["month"]), key=lambda row: row["month"]):
            write_rows(lake, dataset, {"month": month}, list(each))
