"""The cassette: which recorded result answers which call."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.experiment.manifest import Manifest, ToolBook, ToolPolicy, read_manifest, read_schemas
from pipelines.replay.cassette import Block, Cassette, Lookup, RecordedCall, UserCall

EFFECTS = {
    "get": {"effect": "read"},
    "set": {"effect": "write"},
    "sum": {"effect": "pure"},
    "odd": {"effect": "unknown"},
    "find": {"effect": "read", "key_args": ["q"]},
    "log": {"effect": "read", "ignore_args": ["request_id"]},
    "town": {"effect": "read", "lenient": True},
}


def book(schemas: tuple[dict, ...] = (), **settings: Any) -> ToolBook:
    return ToolBook(ToolPolicy(Manifest.model_validate({"tools": EFFECTS}), **settings), schemas)


def call(name: str, arguments: Any = None, turn: int = 1, version: int = 0) -> RecordedCall:
    return RecordedCall(version, turn, name, json.dumps(arguments), answer_place=version, content=f"result {version}")


def sources(found: list[Lookup]) -> list[str]:
    return [lookup.source for lookup in found]


def asked(*calls: tuple[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(arguments)) for name, arguments in calls]


def test_results_are_played_once_and_in_order():
    """The same read twice has two results, given in order; a third time there is none."""
    player = Cassette([[call("get", {}, version=1)], [call("get", {}, version=2)]], book()).player()
    given = [player.answer(asked(("get", {})), 1)[0] for _ in range(3)]
    assert [lookup.recorded and lookup.recorded.version for lookup in given] == [1, 2, None]
    assert given[2].miss is not None
    assert given[2].miss.differs == ("played",)


def test_a_write_separates_what_is_before_and_after():
    """A read after a write that the recording made later is a miss; after the same write it is a hit."""
    tape = [[call("get", {}, version=1)], [call("set", {"x": 1}, version=2)], [call("get", {}, version=3)]]
    player = Cassette(tape, book()).player()
    assert sources(player.answer(asked(("set", {"x": 2})), 1)) == ["miss"]
    missed = player.answer(asked(("get", {})), 1)[0]
    assert missed.miss is not None
    assert missed.miss.differs == ("write_prefix",)
    player = Cassette(tape, book()).player()
    player.answer(asked(("get", {})), 1)
    player.answer(asked(("set", {"x": 1})), 1)
    again = player.answer(asked(("get", {})), 1)[0]
    assert again.recorded is not None
    assert again.recorded.version == 3


def test_the_order_inside_a_parallel_block_makes_no_difference():
    """Two writes of one block hash alike in any order, and advance the write-prefix only at the block's end."""
    block = [call("set", {"x": 1}, version=1), call("get", {}, version=2), call("set", {"x": 2}, version=3)]
    tape = [block, [call("get", {}, version=4)]]
    player = Cassette(tape, book()).player()
    found = player.answer(asked(("set", {"x": 2}), ("set", {"x": 1}), ("get", {})), 1)
    assert sources(found) == ["exact"] * 3
    assert [lookup.recorded and lookup.recorded.version for lookup in found] == [3, 1, 2]
    after = player.answer(asked(("get", {})), 1)[0]
    assert after.recorded is not None
    assert after.recorded.version == 4


def test_the_users_writes_enter_at_their_place():
    """A read after the user's own write is another read; the user's calls themselves answer nobody."""
    tape: list[Block] = [[call("get", {}, version=1)], UserCall("set", '{"x": 1}'), [call("get", {}, version=3)]]
    player = Cassette(tape, book()).player()
    player.pass_by(UserCall("set", '{"x": 1}'))
    found = player.answer(asked(("get", {}), ("set", {"x": 1})), 1)
    assert [lookup.recorded and lookup.recorded.version for lookup in found] == [3, None]


def test_an_unknown_call_before_makes_hits_unverified():
    """A hit is unverified when tools of unknown effect were called differently before it, unless unknown means read; taken for a write it is a miss."""
    tape = [[call("odd", {}, version=1)], [call("get", {}, version=2)]]
    for unknown, expected in (("unverified", "exact_unverified"), ("read", "exact"), ("write", "miss")):
        player = Cassette(tape, book(unknown=unknown)).player()
        assert sources(player.answer(asked(("get", {})), 1)) == [expected]
    player = Cassette(tape, book()).player()
    player.answer(asked(("odd", {})), 1)
    assert sources(player.answer(asked(("get", {})), 1)) == ["exact"]
    player = Cassette(tape, book()).player()
    player.answer(asked(("odd", {}), ("odd", {})), 1)  # twice is not once
    assert sources(player.answer(asked(("get", {})), 1)) == ["exact_unverified"]


def test_another_turn_answers_reads_alone():
    """A read of another turn answers when the writes before it are the same; a write or an unknown call of another turn does not."""
    tape = [[call(name, {}, turn=1, version=number)] for number, name in enumerate(("get", "odd", "set"), start=1)]
    for name, expected in (("get", "exact_conv"), ("odd", "miss"), ("set", "miss")):
        player = Cassette(tape, book()).player()
        assert sources(player.answer(asked((name, {})), 2)) == [expected]


def test_a_pure_tool_needs_its_arguments_alone():
    """The result of a pure tool is valid after any write, in any turn, as often as it is asked for."""
    player = Cassette([[call("set", {}, version=1)], [call("sum", [1, 2], version=2)]], book()).player()
    again = [player.answer(asked(("sum", [1, 2])), turn)[0] for turn in (1, 1, 2)]
    assert sources(again) == ["exact", "exact", "exact_conv"]
    assert sources(player.answer(asked(("sum", [2, 1])), 1)) == ["miss"]


def test_keys_are_what_the_manifest_says():
    """key_args alone count, ignore_args do not, lenient strings are found on a rung of their own, numbers are values."""
    tape = [
        [call("find", {"q": "a", "page": 1})],
        [call("log", {"id": 1, "request_id": "x"})],
        [call("town", {"name": "New York"})],
        [call("get", {"n": 1, "m": 2})],
    ]
    player = Cassette(tape, book()).player()
    found = [
        *player.answer(asked(("find", {"page": 7, "q": "a"})), 1),
        *player.answer(asked(("log", {"request_id": "y", "id": 1})), 1),
        *player.answer(asked(("town", {"name": "new-york"})), 1),
        *player.answer([("get", '{"m":2.0,"n":1}')], 1),
    ]
    assert sources(found) == ["exact", "exact", "norm", "exact"]


def test_arguments_that_are_not_json_are_their_text_and_null_is_no_object():
    """Unparseable arguments answer the same text alone; null and {} are different calls."""
    tape = [[call("get", '{"broken'), call("get", None)]]
    player = Cassette(tape, book()).player()
    found = player.answer(asked(("get", '{"broken'), ("get", '{"Broken'), ("get", {}), ("get", None)), 1)
    assert sources(found) == ["exact", "miss", "miss", "exact"]


def test_a_call_without_a_recorded_result_is_a_hit_that_ended():
    """The recording has the call and no result: not a miss, and nothing to read."""
    player = Cassette([[RecordedCall(1, 1, "get", "{}")]], book()).player()
    found = player.answer([("get", "{}")], 1)[0]
    assert (found.source, found.is_ended) == ("exact", True)


def test_a_miss_names_the_nearest_call_and_what_differs():
    """The same tool with the fewest differing arguments comes first; without any call there is no nearest."""
    tape = [
        [call("get", {"id": 1, "deep": {"a/b": [1, 2]}}, turn=1, version=11)],
        [call("get", {"id": 2}, turn=1, version=12)],
        [call("find", {"q": "z"}, turn=1, version=13)],
    ]
    missed = Cassette(tape, book()).player().answer(asked(("get", {"id": 1, "deep": {"a/b": [1, 3]}})), 2)[0].miss
    assert missed is not None
    assert (missed.nearest_version, missed.nearest_name) == (11, "get")
    assert missed.differs == ("arguments", "turn")
    assert missed.paths == ("/deep/a~1b/1",)
    nothing = Cassette([], book()).player().answer(asked(("get", {})), 1)[0].miss
    assert nothing is not None
    assert (nothing.nearest_version, nothing.differs) == (None, ())


def test_schemas_hint_at_effects_and_the_manifest_overrules_them():
    """readOnlyHint true is a read and false a write; annotations of a tool server and the wire's own form are read."""
    schemas = (
        {"name": "peek", "inputSchema": {}, "annotations": {"readOnlyHint": True}},
        {"type": "function", "function": {"name": "poke", "readOnlyHint": False}},
        {"type": "function", "function": {"name": "mute"}},
        {"name": "set", "annotations": {"readOnlyHint": True}},
    )
    known = book(schemas)
    assert [known.effect(name) for name in ("peek", "poke", "mute", "never", "set")] == [
        "read",
        "write",
        "unknown",
        "unknown",
        "write",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tools: {a: {effect: maybe}}", "tools.a.effect"),
        ("tools: {a: {effects: read}}", "tools.a.effects"),
        ("tools: {a: {key_args: [x], ignore_args: [y]}}", "either key_args or ignore_args"),
        ("tools: {a: {key_args: [x], lenient: true}}", "either key_args or lenient"),
        ("tool: {}", "tool"),
        ("[1", "not valid YAML"),
        ("- a", "a valid dictionary|an object"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path, text: str, message: str):
    """What a manifest cannot say is an error that names the place."""
    path = tmp_path / "tools.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        read_manifest(path)


def test_wrong_schemas_are_refused(tmp_path):
    """Schemas are a JSON list of tools with names, or an object that has it under `tools`."""
    path = tmp_path / "tools.json"
    for text in ("{", '{"a": 1}', "[1]", '[{"description": "nameless"}]'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInputError):
            read_schemas(path)
    path.write_text('{"tools": [{"name": "a"}]}', encoding="utf-8")
    assert read_schemas(path) == ({"name": "a"},)


calls = st.tuples(st.sampled_from(["get", "set", "odd", "sum"]), st.integers(0, 1))
blocks = st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.lists(calls, min_size=1, max_size=3)), max_size=6)


@given(blocks, blocks)
def test_the_cassette_answers_like_a_plain_reading_of_its_rules(recorded, candidate):
    """Oracle: no hashes, no indices; for each call every recorded call is looked at, and worlds are compared as lists."""
    tape: list[Block] = []
    plain: list[dict[str, Any]] = []
    writes: list[list] = []
    unknown: Counter = Counter()

    def pass_on(happened: list[tuple[str, int]]) -> None:
        nonlocal writes
        written = sorted(each for each in happened if each[0] == "set")
        writes = [*writes, written] if written else writes
        unknown.update(each for each in happened if each[0] == "odd")

    for by_user, turn, block in recorded:
        if by_user:
            name, number = block[0]
            tape.append(UserCall(name, json.dumps(number)))
            pass_on([block[0]])
            continue
        made = [call(name, number, turn, len(plain) + place) for place, (name, number) in enumerate(block)]
        tape.append(made)
        plain += [
            {"call": each, "turn": turn, "writes": list(writes), "unknown": Counter(unknown), "recorded": recorded_call}
            for each, recorded_call in zip(block, made, strict=True)
        ]
        pass_on(block)
    player = Cassette(tape, book()).player()
    writes, unknown = [], Counter()
    played: set[int] = set()
    for by_user, turn, block in candidate:
        if by_user:
            player.pass_by(UserCall(block[0][0], json.dumps(block[0][1])))
            pass_on([block[0]])
            continue
        found = player.answer(asked(*block), turn)
        for each, lookup in zip(block, found, strict=True):
            same = [place for place, known in enumerate(plain) if known["call"] == each]
            unplayed = [place for place in same if place not in played]
            here = [
                p for p in unplayed if plain[p]["turn"] == turn and (each[0] == "sum" or plain[p]["writes"] == writes)
            ]
            other = [p for p in unplayed if each[0] == "sum" or (each[0] == "get" and plain[p]["writes"] == writes)]
            place = next(iter(here or other or (same if each[0] == "sum" else [])), None)
            if place is None:
                assert lookup.source == "miss"
                continue
            played.add(place)
            is_verified = each[0] == "sum" or plain[place]["unknown"] == unknown
            rung = "exact" if plain[place]["turn"] == turn else "exact_conv"
            assert lookup.source == (rung if is_verified else "exact_unverified")
            assert lookup.recorded is plain[place]["recorded"]
        pass_on(block)
