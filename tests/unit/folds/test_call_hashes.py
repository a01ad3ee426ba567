"""Hashes of calls in SQL: whatever SQL hashes, it hashes as `pipelines.canonical.calls` does."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.canonical.calls import Canonicaliser
from pipelines.sqlfiles import read_sql
from tests.support.equality import connect

_KEYS = st.one_of(st.sampled_from(["a", "a_b", "aB", "B", "_", "0", "ab", "a-b", "é", ""]), st.text(max_size=3))
_TEXTS = st.one_of(
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    st.sampled_from([" x", "x ", "a\\b", 'say "no"', "é", "\n", "\x7f", "}", "a,b", '"k":1', "1", "true", ""]),
)
_NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(min_value=-(10**12), max_value=10**12, places=4).map(float),
    st.sampled_from([0, -0.0, 1.0, 1e-7, 0.1, 1e21, 123456789012345, 1234567890123456, 0.00001, 99999999999.9999]),
)
_PLAIN = st.one_of(_TEXTS, _NUMBERS, st.booleans(), st.none())
_ARGUMENTS = st.one_of(
    st.dictionaries(_KEYS, st.one_of(_PLAIN, _PLAIN, _PLAIN, st.lists(_PLAIN, max_size=2)), max_size=5), _PLAIN
)


def hash_in_sql(calls: list[tuple[str, str]]) -> list[tuple[Any, ...]]:
    """(l0, l1, l2) of each call, in order; null where SQL leaves it to Python."""
    with connect() as connection:
        asked = {
            "stream_no": pa.array(range(len(calls)), pa.int32()),
            "decision": pa.array([1] * len(calls), pa.int32()),
            "stream_version": pa.array([1] * len(calls), pa.int32()),
            "name": pa.array([name for name, _ in calls]),
            "arguments": pa.array([arguments for _, arguments in calls]),
        }
        connection.register("fold_asked", pa.table(asked))
        query = read_sql("folds/steps/call_hashes.sql").strip().rstrip(";")
        return connection.sql(f"SELECT l0, l1, l2 FROM ({query}) ORDER BY stream_no").fetchall()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(calls=st.lists(st.tuples(st.one_of(st.just("find.it"), _TEXTS), _ARGUMENTS), min_size=1, max_size=40))
@example(calls=[("find", {"b": 1, "a": "x"}), ("find", {}), ("find", {"a": 1.5, "a_": -0.25, "aB": None})])
def test_sql_hashes_as_python_does(calls: list[tuple[str, Any]]) -> None:
    """Where SQL gives hashes they are RFC 8785's, whatever keys, texts and numbers there are."""
    spelled = [
        (name, json.dumps(value, ensure_ascii=bool(number % 2), separators=(",", ":")))
        for number, (name, value) in enumerate(calls)
    ]
    canonical = Canonicaliser()
    for (name, arguments), found in zip(spelled, hash_in_sql(spelled), strict=True):
        expected = canonical.hash_call(name, arguments)
        assert found in {(expected.l0, expected.l1, expected.l2), (None, None, None)}, (name, arguments)


@pytest.mark.parametrize(
    "arguments",
    ['{"b":1,"a":"x"}', "{}", '{"note":"red shoes, size 9","order_id":"A-1","amount_usd":0.5,"is_new":true,"by":null}'],
)
def test_plain_calls_are_hashed_in_sql(arguments: str) -> None:
    """Flat objects of plain texts and numbers, in any order of members, need no Python."""
    expected = Canonicaliser().hash_call("find", arguments)
    assert hash_in_sql([("find", arguments)]) == [(expected.l0, expected.l1, expected.l2)]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a":1,"a":2}',
        '{"a": 1}',
        '{"a":1.50}',
        '{"a":1e3}',
        '{"a":-0}',
        '{"a":01}',
        '{"a":1',
        '{"a":{"b":1}}',
        '{"a":" x"}',
        '{"a":"x","b":}',
        '{"a":"\\u0041"}',
        '"{}"',
        "null",
    ],
)
def test_other_calls_are_left_to_python(arguments: str) -> None:
    """Whatever is not surely its own canonical form has no hash in SQL."""
    assert hash_in_sql([("find", arguments)]) == [(None, None, None)]
