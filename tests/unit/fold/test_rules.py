"""The rules of the fold one by one, against loops in plain Python: what precedes a row, pairs, turns, sums, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical.content import is_input
from pipelines.errors import BadInputError
from pipelines.fold import columns
from pipelines.fold.carry import number_messages
from pipelines.fold.messages import find_turns
from pipelines.fold.pairing import NOBODY, pair
from pipelines.fold.schemas import MONEY
from pipelines.fold.sums import as_floats, sums
from pipelines.folds.event_columns import find_inputs
from pipelines.log.context import Context

many = settings(max_examples=300, deadline=None)
ids = st.sampled_from([None, None, "", "a", "b"])


def owned(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[int, Any]]]:
    """Rows of owners 0 … n-1, ascending, each with a value."""
    of_owners = st.lists(st.lists(values, min_size=1, max_size=6), max_size=5)
    return of_owners.map(lambda each: [(owner, value) for owner, rows in enumerate(each) for value in rows])


@many
@given(rows=owned(st.tuples(st.integers(-9, 9), st.booleans())))
def test_what_came_before_a_row(rows: list[tuple[int, tuple[int, bool]]]) -> None:
    """The newest row before it that counts, and sums up to it, of its owner alone."""
    owners = np.array([owner for owner, _ in rows], np.int64)
    values = np.array([value for _, (value, _) in rows], np.int64)
    counts = np.array([counted for _, (_, counted) in rows], bool)
    first = columns.first_rows(owners)
    before, sums_so_far = [], []
    for place, owner in enumerate(owners):
        of_owner = [n for n in range(len(rows)) if owners[n] == owner]
        earlier = [n for n in of_owner if n < place and counts[n]]
        before.append(values[earlier[-1]] if earlier else 100 + owner)
        sums_so_far.append(sum(values[n] for n in of_owner if n <= place))
    assert columns.previous(values, counts, first, 100 + owners).tolist() == before
    assert columns.running(values, first).tolist() == sums_so_far


@many
@given(rows=owned(st.tuples(ids, st.sampled_from(["call", "call", "result"]), st.integers(0, 3))))
def test_a_result_answers_the_first_unanswered_call_of_the_last_message_that_asked(
    rows: list[tuple[int, tuple[str | None, str, int]]],
) -> None:
    """By id, null and empty alike; a message that asks hides older calls of the id; results that come too early answer nothing."""
    answers: dict[int, int] = {}
    hidden: dict[int, int] = {}
    waiting: dict[tuple[int, str], tuple[int, list[int]]] = {}
    for place, (stream, (call_id, kind, message)) in enumerate(rows):
        key = (stream, call_id or "")
        asked_in, calls = waiting.get(key, (None, []))
        if kind == "result":
            open_calls = [call for call in calls if call not in answers]
            if open_calls:
                answers[open_calls[0]] = place
            continue
        if asked_in != message:
            hidden |= dict.fromkeys(calls, place)
            calls = []
        waiting[key] = (message, [*calls, place])
    (numbers,) = columns.encode(pa.array([call_id or "" for _, (call_id, _, _) in rows], pa.string()))
    is_call = np.array([kind == "call" for _, (_, kind, _) in rows], bool)
    asked = np.array([message for _, (_, _, message) in rows], np.int64)
    found = pair(np.array([stream for stream, _ in rows], np.int64), numbers, asked, is_call)
    assert found.calls.tolist() == np.flatnonzero(is_call).tolist()
    assert found.answers.tolist() == [answers.get(call, NOBODY) for call in found.calls.tolist()]
    assert found.hidden_by.tolist() == [hidden.get(call, NOBODY) for call in found.calls.tolist()]


_parts = st.sampled_from(
    [{"type": "text", "text": "so"}, {"type": "image_url"}, {"type": None}, {"text": "so"}, "", "so", None, []]
)
_utterances = st.tuples(ids, st.sampled_from(["", "so"]), st.none() | st.just("so") | st.lists(_parts, max_size=2))


@many
@given(rows=owned(_utterances), at=st.integers(0, 12))
def test_turns_are_those_of_the_context(rows: list[tuple[int, tuple[str | None, str, Any]]], at: int) -> None:
    """Wherever utterances are cut in two, with the message of the one before as a snapshot keeps it."""
    contexts: dict[int, Context] = {}
    expected: list[int] = []
    for stream, (message_id, text, content) in rows:
        context = contexts.setdefault(stream, Context())
        payload = {"text": text} | ({} if content is None else {"content": content})
        context.apply("user.utterance", payload, {"message_id": message_id})
        expected.append(context.turn)
    turns: dict[int, int] = {}
    said_in: dict[int, str] = {}
    found: list[int] = []
    for piece in (rows[:at], rows[at:]):
        streams = sorted({stream for stream, _ in piece})
        keys = pa.array([said_in.get(stream) for stream in streams], pa.string())
        (before,), (messages,) = number_messages([keys], [pa.array([each[0] for _, each in piece], pa.string())])
        inputs = np.array(
            [is_input(text, text if content is None else content) for _, (_, text, content) in piece], bool
        )
        owners = np.searchsorted(streams, [stream for stream, _ in piece]) if piece else np.zeros(0, np.int64)
        for (stream, (message_id, _, _)), begins in zip(
            piece, find_turns(owners, messages, inputs, before), strict=True
        ):
            turns[stream] = turns.get(stream, 0) + int(begins)
            said_in[stream] = "-" if message_id is None else f"={message_id}"
            found.append(turns[stream])
    assert found == expected


def test_content_is_read_where_a_text_says_nothing() -> None:
    """An utterance with text is an input whatever its content, which is then not read."""
    has_text = np.array([True, False, False, False])
    contents = pa.array([None, '[{"type":"image_url"}]', '[{"type":"text"}]', None], pa.string())
    assert find_inputs(has_text, contents).tolist() == [True, True, False, False]


@many
@given(rows=owned(st.none() | st.integers(-(2**62), 2**62)))
def test_counts_are_summed_exactly_or_not_at_all(rows: list[tuple[int, int | None]]) -> None:
    """In whatever order; what does not fit into 64 bits is refused, never rounded."""
    expected = summed(rows)
    owners = np.array([owner for owner, _ in rows], np.int64)
    values = pa.array([value for _, value in rows], pa.int64())
    if any(total is not None and not -(2**63) <= total < 2**63 for total in expected):
        with pytest.raises(BadInputError, match="too large to be summed"):
            sums([values], [owners], len(expected))
        return
    assert sums([values], [owners], len(expected)).to_pylist() == expected


_money = (
    st.none() | st.decimals(-(10**20), 10**20, places=12) | st.sampled_from([Decimal("0.1"), Decimal("0.000000000001")])
)


@many
@given(rows=owned(_money))
def test_money_is_summed_exactly(rows: list[tuple[int, Decimal | None]]) -> None:
    """As decimals of 12 places, shown as the nearest float."""
    expected = summed(rows)
    owners = np.array([owner for owner, _ in rows], np.int64)
    found = sums([pa.array([value for _, value in rows], MONEY)], [owners], len(expected))
    assert found.to_pylist() == expected
    assert as_floats(found).to_pylist() == [None if total is None else float(total) for total in expected]


def summed(rows: Sequence[tuple[int, Any]]) -> list[Any]:
    """The sum of each owner's values; None for none."""
    of_owners: dict[int, list[Any]] = {}
    for owner, value in rows:
        of_owners.setdefault(owner, []).extend([] if value is None else [value])
    with localcontext(prec=77):
        return [sum(values) if values else None for values in of_owners.values()]


@many
@given(
    st.lists(st.none() | st.text(alphabet=" \t\x1c\x85\u2003\u200ba\x00é", max_size=3), max_size=8), st.integers(0, 2)
)
def test_what_is_blank_is_what_python_takes_for_white_space(texts: list[str | None], start: int) -> None:
    """Also of a slice of a column."""
    column = pa.array(texts, pa.string()).slice(min(start, len(texts)))
    assert columns.is_said(column).tolist() == [bool(text and not text.isspace()) for text in texts[start:]]
