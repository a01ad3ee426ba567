"""The demo's history as a whole: the same every time, well-formed, and holding what its readers look for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.demo.desk import MIN_EVENTS, generate
from pipelines.demo.toolbox import VERTICALS, prompt, tools
from pipelines.errors import BadInputError
from pipelines.log.context import tools_sha256
from pipelines.store.events import NewEvent, StreamBatch
from pipelines.store.registry import Registry

START, END = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def fingerprint(batches: Iterable[StreamBatch]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(f"{batch.aggregate_id} {batch.aggregate_type} {batch.expected_version}\n".encode())
        for e in batch.events:
            digest.update(json.dumps([e.event_type, e.payload, e.metadata, e.created_at.isoformat()]).encode())
    return digest.hexdigest()


def streams(history: Iterable[StreamBatch]) -> dict[object, list[NewEvent]]:
    """All events of each stream, batches joined."""
    joined = defaultdict(list)
    for batch in history:
        joined[batch.aggregate_id].extend(batch.events)
    return joined


def of_type(history, prefix):
    return [event for batch in history for event in batch.events if event.event_type.startswith(prefix)]


def test_same_arguments_give_same_events_in_another_process():
    """The history is a function of its arguments: a process with another hash seed writes the same bytes."""
    code = f"import {__name__.rpartition('.')[2]} as t; print(t.fingerprint(t.generate(1500)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONHASHSEED": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == fingerprint(generate(1500))


def test_another_seed_gives_another_history():
    """Two seeds share no conversation."""
    said = [{e.payload["text"] for e in of_type(generate(1500, seed=s), "user.")} for s in (7, 8)]
    assert fingerprint(generate(1500, seed=7)) != fingerprint(generate(1500, seed=8))
    assert len(said[0] & said[1]) < 0.3 * len(said[0])


@pytest.mark.parametrize("events", [2_000, 5_000, 20_000])
@pytest.mark.parametrize("seed", [7, 8])
def test_about_as_many_events_as_asked_for(events, seed):
    """The number of events is within 2 % of what was asked for."""
    assert sum(len(batch.events) for batch in generate(events, seed=seed)) == pytest.approx(events, rel=0.02)


def test_more_events_are_spread_over_the_same_months():
    """The history fills its months from the first to the last day, whatever its size."""
    for events in (1_000, 10_000):
        times = [e.created_at for batch in generate(events) for e in batch.events]
        days = {at.date() for at in times}
        assert START <= min(times) <= max(times) < END
        assert min(days) <= date(2026, 4, 3)
        assert max(days) >= date(2026, 6, 26)
        assert len(days) > 40


@pytest.mark.parametrize(
    ("end", "months", "first"), [(date(2026, 3, 31), 2, (2026, 1)), (date(2024, 3, 1), 1, (2024, 2))]
)
def test_months_are_whole_and_end_before_the_given_day(end, months, first):
    """Only whole months before `end` hold events, and each of them does."""
    seen = {
        (e.created_at.year, e.created_at.month)
        for batch in generate(1_000, end=end, months=months)
        for e in batch.events
    }
    assert seen == {(first[0], first[1] + i) for i in range(months)}


def test_too_few_events_or_months_are_refused():
    """A history that cannot be made is refused before the first event, naming the value."""
    with pytest.raises(BadInputError, match="10 events"):
        generate(10)
    with pytest.raises(BadInputError, match="0 months"):
        generate(MIN_EVENTS, months=0)


def test_payloads_fit_their_schemas(history):
    """Every payload is valid against the JSON Schema of its type."""
    registry = Registry.shipped()
    for batch in history:
        for event in batch.events:
            registry.validate(event.event_type, event.payload)


def test_batches_continue_their_streams(history):
    """Each batch expects exactly the version that the batches before it have reached, and fixes one type."""
    versions: Counter = Counter()
    types = {}
    for batch in history:
        assert batch.expected_version == (versions[batch.aggregate_id] or "no_stream")
        assert types.setdefault(batch.aggregate_id, batch.aggregate_type) == batch.aggregate_type
        versions[batch.aggregate_id] += len(batch.events)


def test_streams_never_go_back_in_time(history):
    """Times never decrease inside a stream, and streams come in the order of their first events."""
    joined = streams(history)
    for events in joined.values():
        times = [event.created_at for event in events]
        assert times == sorted(times)
    firsts = [events[0].created_at for events in joined.values()]
    assert firsts == sorted(firsts)


def test_envelopes_are_complete(history):
    """Every event says who, from where and about whom; the subject is a customer's stream."""
    customers = {str(batch.aggregate_id) for batch in history if batch.aggregate_type == "customer"}
    for batch in history:
        for event in batch.events:
            envelope = event.metadata
            assert envelope["actor"] in {"agent", "user", "system", "service"}
            assert (envelope["source"], envelope["time_source"]) == ("demo", "message")
            assert {"message_id", "source_id", "source_ordinal"} <= set(envelope)
            if batch.aggregate_type == "prompt":
                assert "subject_id" not in envelope
            else:
                assert envelope["subject_id"] in customers
            if batch.aggregate_type == "customer":
                assert envelope["subject_id"] == str(batch.aggregate_id)


def test_source_ids_and_ordinals_name_one_stream(history):
    """A source id belongs to one stream, and an ordinal to one stream of its type."""
    ids = {(e.metadata["source_id"], b.aggregate_id) for b in history for e in b.events}
    ordinals = {
        (
            b.aggregate_type in ("conversation", "call"),
            b.aggregate_type == "customer",
            e.metadata["source_ordinal"],
            b.aggregate_id,
        )
        for b in history
        for e in b.events
    }
    assert len(ids) == len({source_id for source_id, _ in ids}) == len({stream for _, stream in ids})
    assert len(ordinals) == len({key[:3] for key in ordinals})


def test_desk_has_all_verticals_channels_and_kinds(history, talks):
    """Three verticals by chat and by voice; conversations, calls, customers and prompts are streams of their own."""
    started = [e.payload for e in of_type(talks, "conversation.started")]
    assert {(s["vertical"], s["channel"]) for s in started} == {(v, c) for v in VERTICALS for c in ("chat", "voice")}
    assert {b.aggregate_type for b in history} == {"conversation", "call", "customer", "prompt"}
    for batch in talks:
        channel = batch.events[0].payload["channel"]
        assert (channel == "voice") == (batch.aggregate_type == "call")


def test_customers_return(history, talks):
    """There is about one customer to several conversations."""
    customers = {batch.aggregate_id for batch in history if batch.aggregate_type == "customer"}
    assert 2 < len(talks) / len(customers) < 8


def test_a_customer_is_served_once_at_a_time(talks):
    """No two conversations of one customer overlap."""
    ends: dict[str, datetime] = {}
    for batch in talks:
        who = batch.events[0].metadata["subject_id"]
        assert who not in ends or batch.events[0].created_at > ends[who]
        ends[who] = batch.events[-1].created_at


def test_some_conversations_cross_a_months_end(talks):
    """At each turn of a month some conversations go on, over midnight or after days of silence."""
    crossing = [b for b in talks if b.events[0].created_at.month != b.events[-1].created_at.month]
    assert {b.events[0].created_at.month for b in crossing} == {4, 5}
    assert len(crossing) >= 4
    assert any((b.events[-1].created_at - b.events[0].created_at).days >= 1 for b in talks)


def test_decision_schema_changes_half_way(history):
    """Decisions are of version 1 up to the middle of the history and of version 2 after it."""
    old = [e.created_at for e in of_type(history, "model.decision.v1")]
    new = [e.created_at for e in of_type(history, "model.decision.v2")]
    middle = START + (END - START) / 2
    assert old
    assert new
    assert max(old) < middle <= min(new)


def test_decisions_have_costs(history):
    """Each decision counts tokens, milliseconds and US dollars, all above zero, and knows prompt and tools."""
    prompts = {hashlib.sha256(prompt(v).encode()).hexdigest() for v in VERTICALS}
    offered = {tools_sha256(tools(v)) for v in VERTICALS}
    for event in of_type(history, "model.decision"):
        decision = event.payload
        assert min(decision["usage"].values()) > 0
        assert min(decision["latency_ms"], decision["cost_usd"]) > 0
        assert decision["prompt_sha256"] in prompts
        assert decision["tools_sha256"] in offered


def test_prompts_and_tools_are_registered_under_their_hashes(history):
    """What a decision names by hash is registered, and its text gives that hash."""
    registered = {e.payload["sha256"]: e.payload for e in of_type(history, "prompt.") + of_type(history, "tools.")}
    for sha256, payload in registered.items():
        again = (
            hashlib.sha256(payload["text"].encode()).hexdigest()
            if "text" in payload
            else tools_sha256(payload["tools"])
        )
        assert again == sha256
    for event in of_type(history, "model.decision"):
        assert {event.payload["prompt_sha256"], event.payload["tools_sha256"]} <= set(registered)


def test_rows_continue_from_their_last_state(history):
    """Each changed row starts from what the change before left, and the first one from nothing."""
    rows: dict[str, object] = {}
    for event in of_type(history, "row.changed"):
        change = event.payload
        key = json.dumps([change["table"], change["key"]])
        assert change["before"] == rows.get(key)
        rows[key] = change["after"]
    tables = {json.loads(key)[0] for key in rows}
    assert tables == {"customers", "orders", "refunds"}


def test_refunds_are_asked_paid_and_refused(history):
    """A refund is asked first; what is paid was asked before, and all three states occur."""
    changes = [e.payload for e in of_type(history, "row.changed") if e.payload["table"] == "refunds"]
    steps = Counter((c["before"] and c["before"]["status"], c["after"]["status"]) for c in changes)
    assert set(steps) == {(None, "asked"), ("asked", "paid"), ("asked", "refused")}


def test_paid_refunds_are_the_ones_that_tools_confirmed(history, talks):
    """The money in `refunds` is the money that `refund_order` confirmed, plus what was approved afterwards."""
    confirmed = {
        e.payload["output"]["refund_id"]: e.payload["output"]["amount_usd"]
        for e in of_type(talks, "tool.result")
        if e.payload["name"] == "refund_order" and e.payload["error"] is None
    }
    paid = {
        e.payload["key"]["refund_id"]: (e.payload["after"]["amount_usd"], "trace_id" in e.metadata)
        for e in of_type(history, "row.changed")
        if e.payload["table"] == "refunds" and e.payload["after"]["status"] == "paid"
    }
    assert confirmed == {refund_id: usd for refund_id, (usd, is_in_talk) in paid.items() if is_in_talk}


def test_tools_fail_hang_and_run_in_parallel(talks):
    """Some calls get an error, some get nothing, some stand in one message with others."""
    calls, results = of_type(talks, "tool.call"), of_type(talks, "tool.result")
    blocks = Counter((e.metadata["source_id"], e.metadata["message_id"]) for e in calls)
    assert any(e.payload["error"] for e in results)
    assert 0 < len(calls) - len(results) < 0.2 * len(calls)
    assert max(blocks.values()) > 1
    assert len({e.payload["name"] for e in calls}) == 10


def test_outcomes_vary(talks):
    """Every conversation ends, resolved or not, with a mark from 1 to 5 or none."""
    ended = of_type(talks, "conversation.ended")
    marks = Counter(e.payload["outcome"]["csat"] for e in ended)
    assert len(ended) == len(talks)
    assert {e.payload["outcome"]["resolved"] for e in ended} == {True, False}
    assert set(marks) == {None, 1, 2, 3, 4, 5}


def test_redactions_point_at_personal_data(history):
    """A redaction's target holds personal data at its place, as a span of a text or as a whole value; both forms occur."""
    personal = re.compile(r"202-555-01\d\d|c\d+@example\.com|\d+ Exämple Street")
    forms: Counter = Counter()
    for events in streams(history).values():
        for event in events:
            if not event.event_type.startswith("redaction."):
                continue
            payload = event.payload
            target = events[payload["target"]["stream_version"] - 1]
            assert target.created_at < event.created_at
            if "span" in payload:
                text, span = target.payload["text"], payload["span"]
                assert personal.fullmatch(text[span["start"] : span["end"]])
                forms["span"] += 1
                continue
            value: object = target.payload
            for key in payload["path"].split("/")[1:]:
                value = value[key]
            assert personal.search(value)
            forms[payload["path"]] += 1
    assert min(forms["span"], forms["/text"], forms["/after/email"]) > 0


def test_personal_data_of_conversations_are_all_redacted(talks):
    """No customer's text shows personal data once its redactions are applied."""
    personal = re.compile(r"-555-|@|Street")
    for batch in talks:
        texts = {v: e.payload["text"] for v, e in enumerate(batch.events, 1) if e.event_type == "user.utterance.v1"}
        for event in of_type([batch], "redaction."):
            version = event.payload["target"]["stream_version"]
            span = event.payload.get("span", {"start": 0, "end": len(texts[version])})
            texts[version] = texts[version][: span["start"]] + texts[version][span["end"] :]
        assert not any(personal.search(text) for text in texts.values())


def test_nothing_looks_like_a_real_person(history):
    """Addresses are at example.com and telephone numbers are in the range kept for fiction."""
    text = json.dumps([e.payload for batch in history for e in batch.events])
    assert {m.rpartition("@")[2] for m in re.findall(r"[\w.]+@[\w.]+\w", text)} == {"example.com"}
    assert all(m.startswith("202-555-01") for m in re.findall(r"\b\d{3}-\d{3}-\d{4}\b", text))


def test_refund_money_differs_above_the_candidates_limit(talks):
    """Between a tenth and a quarter of the refunds paid are above 50 USD, and some need approval."""
    calls = [e.payload for e in of_type(talks, "tool.call")]
    usd = [c["arguments"]["amount_usd"] for c in calls if c["name"] == "refund_order"]
    assert 0.10 <= sum(amount > 50 for amount in usd) / len(usd) <= 0.28
    assert any(c["name"] == "escalate_refund" for c in calls)
