"""Answers to questions of the SQL cookbook by another way: plain Python, event by event, without a fold and without SQL."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import floor
from statistics import median
from typing import Any

import pyarrow as pa

from pipelines.lake.lake import Lake

Rows = list[tuple[Any, ...]]
REFUND = "refund_order"


@dataclass
class Call:
    """A tool call, and the result that came for it."""

    name: str
    arguments: Any
    call_id: str | None
    at: datetime
    result: dict[str, Any] | None = None


@dataclass
class Talk:
    """A conversation or a call as its events tell it."""

    aggregate_id: str
    kind: str
    events: list[tuple[int, str, dict[str, Any], dict[str, Any], datetime]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def payloads(self, name: str) -> Iterable[dict[str, Any]]:
        return (payload for _, kind, payload, _, _ in self.events if kind == name)

    def of_start(self, key: str) -> Any:
        return next(self.payloads("conversation.started"), {}).get(key)

    @property
    def outcome(self) -> dict[str, Any]:
        return next(iter([*self.payloads("conversation.ended")][-1:]), {}).get("outcome") or {}

    @property
    def resolved(self) -> str | None:
        found = self.outcome.get("resolved")
        return None if found is None else json.dumps(found)

    @property
    def start(self) -> datetime:
        return self.events[0][4]

    @property
    def end(self) -> datetime:
        return self.events[-1][4]

    @property
    def subject(self) -> str | None:
        return next((found for *_, metadata, _ in self.events if (found := metadata.get("subject_id"))), None)

    @property
    def source(self) -> str | None:
        return next((found for *_, metadata, _ in self.events if (found := metadata.get("source"))), None)

    @property
    def agent_messages(self) -> int:
        """Messages of the agent: its texts and calls, those of one message id together."""
        seen, last = 0, None
        for version, kind, _, metadata, _ in self.events:
            if kind not in ("agent.utterance", "tool.call") or metadata.get("actor", "agent") != "agent":
                continue
            message = metadata.get("message_id") or version
            seen += message != last
            last = message
        return seen


def read_talks(lake: Lake) -> list[Talk]:
    """All conversations and calls by voice."""
    query = (
        "SELECT aggregate_id, aggregate_type, stream_version, event_name, payload, metadata, created_at FROM readable_events "
        "WHERE aggregate_type IN ('conversation', 'call') ORDER BY aggregate_id, stream_version"
    )
    talks: dict[str, Talk] = {}
    with lake.connect(query) as connection:
        for stream, what, version, kind, payload, metadata, at in connection.sql(query).fetchall():
            talk = talks.setdefault(stream, Talk(stream, what))
            talk.events.append((version, kind, json.loads(payload), json.loads(metadata), at))
    for talk in talks.values():
        _pair(talk)
    return list(talks.values())


def _pair(talk: Talk) -> None:
    """A result is of the first call of its id that has none yet."""
    for _, kind, payload, _, at in talk.events:
        if kind == "tool.call":
            talk.calls.append(Call(payload.get("name"), payload.get("arguments"), payload.get("call_id"), at))
        elif kind == "tool.result":
            waiting = [call for call in talk.calls if call.result is None and call.call_id == payload.get("call_id")]
            if waiting:
                waiting[0].result = payload


def _share(part: int, whole: int) -> float:
    return _rounded(part / whole * 1000) / 1000


def _rounded(value: float) -> int:
    """Halves up, as SQL rounds."""
    return floor(value + 0.5)


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def refund_rate(talks: list[Talk]) -> Rows:
    found: dict[tuple[date, Any], list[bool]] = defaultdict(list)
    for talk in talks:
        day = talk.start.date()
        found[day - timedelta(days=day.weekday()), talk.of_start("vertical")].append(
            any(call.name == REFUND for call in talk.calls)
        )
    return [(*key, len(each), sum(each), _share(sum(each), len(each))) for key, each in found.items()]


def time_to_resolution(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for talk in talks:
        if any(True for _ in talk.payloads("conversation.ended")):
            found[talk.of_start("vertical"), talk.resolved].append((talk.end - talk.start).total_seconds())
    return [
        (*key, len(each), round(median(each) / 60, 1), round(_quantile(each, 0.9) / 60, 1))
        for key, each in found.items()
    ]


def cost_per_resolved(talks: list[Talk]) -> Rows:
    found: dict[tuple[str, Any], list[Talk]] = defaultdict(list)
    for talk in talks:
        found[f"{talk.start:%Y-%m}", talk.of_start("vertical")].append(talk)
    rows = []
    for key, each in found.items():
        resolved = sum(talk.resolved == "true" for talk in each)
        costs = [
            payload["cost_usd"]
            for talk in each
            for payload in talk.payloads("model.decision")
            if payload.get("cost_usd") is not None
        ]
        cost = sum(costs) if costs else None
        per = None if cost is None or not resolved else round(cost / resolved, 4)
        rows.append((*key, resolved, None if cost is None else round(cost, 4), per))
    return rows


def repeat_contacts(talks: list[Talk]) -> Rows:
    people: dict[str, list[Talk]] = defaultdict(list)
    for talk in talks:
        if talk.subject is not None:
            people[talk.subject].append(talk)
    total: Counter[Any] = Counter()
    repeated: Counter[Any] = Counter()
    for mine in people.values():
        mine.sort(key=lambda talk: talk.start)
        for talk, following in zip(mine, [*mine[1:], None], strict=True):
            total[talk.of_start("vertical")] += 1
            repeated[talk.of_start("vertical")] += following is not None and following.start <= talk.end + timedelta(
                days=7
            )
    return [(key, total[key], repeated[key], _share(repeated[key], total[key])) for key in total]


def failing_tools(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for talk in talks:
        for call in talk.calls:
            found[call.name].append((call.result or {}).get("error") not in (None, False))
    return [(name, len(each), sum(each), _share(sum(each), len(each))) for name, each in found.items()]


def unanswered_calls(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for talk in talks:
        for call in talk.calls:
            if call.result is None:
                found[call.name].append(call.at)
    return [(name, len(each), min(each), max(each)) for name, each in found.items()]


def handoffs(talks: list[Talk]) -> Rows:
    found: dict[Any, list[set[str]]] = defaultdict(list)
    for talk in talks:
        named = {
            call.name for call in talk.calls if re.search("transfer_to|hand_?off|escalate", call.name, re.IGNORECASE)
        }
        found[talk.of_start("vertical")].append(named)
    rows = []
    for vertical, each in found.items():
        handed, total = sum(map(bool, each)), len(each)
        tools = sorted(set().union(*each)) or None
        rows.append((vertical, total, handed, _share(handed, total), tools))
    return rows


def latency_by_model(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for payload in (payload for talk in talks for payload in talk.payloads("model.decision")):
        found[payload.get("model")].append(payload)
    rows = []
    for model, each in found.items():
        latencies = [payload["latency_ms"] for payload in each if payload.get("latency_ms") is not None]
        rows.append((model, len(latencies), _rounded(median(latencies)), _rounded(_quantile(latencies, 0.95)), None))
    return rows


def prompt_versions(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for talk in talks:
        for payload in talk.payloads("model.decision"):
            found[payload.get("prompt_sha256")].append((talk.aggregate_id, payload.get("model")))
    return [
        ((sha or "")[:12], len(each), len({talk for talk, _ in each}), sorted({model for _, model in each}))
        for sha, each in found.items()
    ]


def freshness(talks: list[Talk]) -> Rows:
    found: dict[Any, datetime] = {}
    for talk in talks:
        found[talk.source] = max(found.get(talk.source, talk.end), talk.end)
    return list(found.items())


def longest_conversations(talks: list[Talk]) -> Rows:
    rows = [
        (
            talk.aggregate_id,
            talk.agent_messages,
            len(talk.calls),
            round((talk.end - talk.start).total_seconds() / 60, 1),
        )
        for talk in talks
    ]
    return sorted(rows, key=lambda row: (-row[1], -row[2], row[0]))[:20]


def duplicate_calls(talks: list[Talk]) -> Rows:
    found: Counter[tuple[str, str, str]] = Counter()
    for talk in talks:
        for call in talk.calls:
            found[talk.aggregate_id, call.name, _canonical(call.arguments)] += 1
    return [(*key[:2], count) for key, count in found.items() if count > 1]


def _canonical(arguments: Any) -> str:
    """Arguments as one text: a string that holds JSON is what it holds."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return arguments
    return json.dumps(arguments if arguments is not None else {}, sort_keys=False)


def redacted(talks: list[Talk]) -> Rows:
    found = defaultdict(list)
    for talk in talks:
        for payload in talk.payloads("redaction.applied"):
            found[talk.subject, payload.get("reason"), payload["method"]].append(talk.aggregate_id)
    return [(*key, len(each), len(set(each))) for key, each in found.items()]


def fidelity_by_source(talks: list[Talk]) -> Rows:
    return list(Counter(talk.source for talk in talks).items())


Proof = tuple[Callable[[list[Talk]], Rows], list[int] | None]
PROOFS: dict[str, Proof] = {
    "refund_rate": (refund_rate, None),
    "time_to_resolution": (time_to_resolution, None),
    "cost_per_resolved": (cost_per_resolved, None),
    "repeat_contacts": (repeat_contacts, None),
    "failing_tools": (failing_tools, None),
    "unanswered_calls": (unanswered_calls, None),
    "handoffs": (handoffs, None),
    "freshness": (freshness, [0, 1]),
    "longest_conversations": (longest_conversations, [0, 3, 4, 5]),
    "duplicate_calls": (duplicate_calls, [0, 1, 3]),
    "redacted": (redacted, None),
    "fidelity_by_source": (fidelity_by_source, [0, 1]),
}
"""By the name of the query: what answers it from events, and which of its columns; None for all."""
MODELS: dict[str, Proof] = {
    "latency_by_model": (latency_by_model, None),
    "prompt_versions": (prompt_versions, [0, 3, 4, 5]),
}
"""Likewise, where calls of models were recorded."""


STREAMS = {"failing_tools", "unanswered_calls", "duplicate_calls", *MODELS}
"""Questions about calls by voice, too."""


def answer(name: str, talks: list[Talk]) -> list[str]:
    """What plain Python says to a question, to be compared."""
    of = talks if name in STREAMS else [talk for talk in talks if talk.kind == "conversation"]
    return comparable((PROOFS | MODELS)[name][0](of))


def answer_of(name: str, found: pa.Table) -> list[str]:
    """What the query of the cookbook says to it, to be compared: the columns that the other way has."""
    rows = list(zip(*(column.to_pylist() for column in found.columns), strict=True))
    columns = (PROOFS | MODELS)[name][1]
    return comparable(rows if columns is None else [tuple(row[index] for index in columns) for row in rows])


def comparable(rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """Rows in one order; times and whole numbers in one form."""
    return sorted(repr(tuple(map(_plain, row))) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if isinstance(value, float) and value.is_integer() else value
