"""What `refold find` finds is what plain Python finds in every event, whatever is escaped how often."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.duck import create_table, quote_literal, scratch
from pipelines.errors import BadInputError
from pipelines.evidence.find import Found, Question, find
from pipelines.evidence.needles import narrows, narrows_number
from pipelines.evidence.values import as_number, values_of
from pipelines.lake.datasets import EVENTS, REDACTED_EVENTS
from pipelines.lake.lake import Lake

ODD = [
    "a",
    "K",
    "k",
    "é",
    "É",
    "ß",
    "ẞ",
    "İ",
    "ı",
    "\u212a",
    "日",
    "😀",
    '"',
    "\\",
    "/",
    "<",
    "&",
    "'",
    "+",
    "=",
    "\n",
    "\x01",
    "\x7f",
    "{",
    "[",
    " ",
]
texts = st.text(st.sampled_from(ODD), max_size=6)
scalars = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.sampled_from([0.5, 1e22, 1.5e-9, -0.0]) | texts
)


def in_strings(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values, and strings that hold them as JSON, in the spellings of several writers."""
    return values | st.builds(
        lambda value, ascii_only, slashes: (
            json.dumps(value, ensure_ascii=ascii_only)
            .replace("/", "\\/" if slashes else "/")
            .replace("<", "\\u003C" if slashes else "<")
        ),
        values,
        st.booleans(),
        st.booleans(),
    )


documents = st.dictionaries(
    texts,
    st.recursive(
        scalars,
        lambda inner: in_strings(st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)),
        max_leaves=6,
    ),
    max_size=3,
)


def leaves(value: Any, name: str | None = None, depth: int = 0) -> Iterator[tuple[str | None, Any]]:
    """The plain reading: every value with the member that it is of, JSON in strings read, up to eight times."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and depth < 8:
        try:
            inner = json.loads(value, parse_int=Decimal, parse_float=Decimal)
        except ValueError:
            yield name, value
        else:
            yield from leaves(inner, None if isinstance(inner, list) else name, depth + 1)
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, key, depth)
    elif isinstance(value, list):
        for child in value:
            yield from leaves(child, None, depth)
    else:
        yield name, value


def written(document: Any) -> str:
    """As jsonb has it: what is not ASCII as it is."""
    return json.dumps(document, ensure_ascii=False)


def same(text: str) -> str:
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def stands(text: str, value: Any, *, ignore_case: bool) -> bool:
    if isinstance(value, str):
        return same(text) in same(value) if ignore_case else text in value
    return False


def holds(condition: str, document: str) -> bool:
    with scratch() as connection:
        query = f"SELECT {condition} FROM (SELECT {quote_literal(document)} AS payload)"
        return bool(connection.sql(query).fetchall()[0][0])


@settings(max_examples=200)
@given(documents, texts.filter(bool), st.booleans())
@example({"a": json.dumps({"b": "é/<"})}, "é/<", False)
@example({"a": json.dumps(["\u212a"], ensure_ascii=True)}, "k", True)
@example({"a": json.dumps([json.dumps(["😀"], ensure_ascii=True)])}, "😀", False)
def test_the_scan_leaves_nothing_out(document: dict, text: str, ignore_case: bool) -> None:
    """Where a text stands in a value, however deep and however it is spelled, the condition of the scan holds."""
    if any(stands(text, value, ignore_case=ignore_case) for _, value in leaves(document)):
        assert holds(narrows(("payload",), [text], ignore_case=ignore_case), written(document))


@settings(max_examples=150)
@given(documents)
def test_values_are_those_of_the_plain_reading(document: dict) -> None:
    """The same values with the same names in the same order; numbers by what they are worth."""
    plain = [
        (
            name,
            Decimal(str(value)) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value,
        )
        for name, value in leaves(document)
    ]
    found = [
        (each.name, as_number(each.value) if type(each.value).__name__ == "Number" else each.value)  # type: ignore[arg-type]
        for each in values_of(written(document))
    ]
    assert [value for _, value in found] == [value for _, value in plain]


@settings(max_examples=150)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9), st.booleans())
@example(Decimal("5E+1"), True)
@example(Decimal(0), False)
def test_a_number_is_found_in_every_spelling(number: Decimal, is_inner: bool) -> None:
    """Plain, with zeros behind it, with an exponent: the condition holds and the value is the same."""
    spelled = [f"{number:f}", f"{number:e}"] + ([f"{number:f}000"] if number.as_tuple().exponent < 0 else [])  # type: ignore[operator]
    for each in spelled:
        document = f'{{"n": {each}}}'
        document = json.dumps({"arguments": document}) if is_inner else document
        (value,) = values_of(document)
        assert value.equals(f"{number:f}")
        assert holds(narrows_number("payload", number), document)


@pytest.mark.parametrize(
    ("value", "told", "is_same"),
    [
        ("50", "50", True),
        ("50.0", "50", True),
        ("5e1", "50", True),
        ('"50"', "50", True),
        ('"50.0"', "50", False),
        ("50", "5", False),
        ("true", "true", True),
        ("null", "null", True),
        ('"true"', "true", True),
        ('""', "", True),
        ("1", "１", False),
        ("1", "1_0", False),
        ('"a"', "A", False),
    ],
)
def test_when_a_value_is_the_one(value: str, told: str, is_same: bool) -> None:
    """Strings by their letters, numbers by what they are worth, the words of JSON by themselves."""
    (found,) = values_of(f'{{"n": {value}}}')
    assert found.equals(told) is is_same


def test_places_go_on_in_strings() -> None:
    """A JSON Pointer, escaped, through documents in strings; a name that comes twice is read twice."""
    inner = json.dumps({"order/id": ["A-1"]})
    document = '{"arguments": ' + json.dumps(inner) + ', "x": {"a": 1, "a": 2}}'
    assert [(each.path, each.name, each.value) for each in values_of(document)] == [
        ("/arguments/order~1id/0", None, "A-1"),
        ("/x/a", "a", "1"),
        ("/x/a", "a", "2"),
    ]


def rows_of(count: int) -> list[dict[str, Any]]:
    """Events of many streams over two months, with odd documents as payloads; the same every time."""
    draw = random.Random(7)
    made = []
    for number in range(count):
        words = ["".join(draw.choices(ODD, k=draw.randrange(5))) for _ in range(4)]
        inner: Any = {
            "order_id": f"A-{draw.randrange(40)}",
            "note": words[0],
            "amount": draw.choice([50, 50.0, "50", 7]),
        }
        if number % 3 == 0:
            inner = json.dumps(inner, ensure_ascii=draw.random() < 0.5)
        if number % 9 == 0:
            inner = json.dumps({"inner": inner})
        payload = {"text": words[1], "arguments": inner, words[2]: [words[3], None, True]}
        about = draw.choice(["joe", "ana", None])
        metadata = {"source": "s", "source_id": f"c-{number // 10}"} | ({"subject_id": about} if about else {})
        made.append(
            {
                "month": "2026-01" if number % 10 < 6 else "2026-02",
                "aggregate_id": f"{number // 10:08x}-0000-4000-8000-000000000000",
                "aggregate_type": "conversation",
                "stream_version": number % 10 + 1,
                "event_type": "row.changed.v1",
                "event_version": 1,
                "payload": written(payload),
                "metadata": written(metadata),
                "created_at": datetime(2026, 1, 1, tzinfo=UTC)
                + timedelta(days=32 * (number % 10 >= 6), seconds=number),
                "epoch": 1,
                "xid": number,
                "position": number,
                "hash": b"h",
                "salt": b"s",
                "digest": b"",
            }
        )
    return made


def lake_of(root: Path, rows: list[dict[str, Any]]) -> Lake:
    lake = Lake(root)
    with scratch() as connection:
        create_table(connection, "made", pa.Table.from_pylist(rows, schema=EVENTS.arrow_schema()))
        for month in sorted({row["month"] for row in rows}):
            query = f"SELECT * FROM made WHERE month = {quote_literal(month)}"
            lake.write_partition(EVENTS, {"month": month}, connection, query, input_hash="made")
    return lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, list[dict[str, Any]]]:
    rows = rows_of(1_500)
    return lake_of(tmp_path_factory.mktemp("find") / "lake", rows), rows


def oracle(rows: list[dict[str, Any]], look: Any) -> list[tuple[str, int]]:
    """Every event, read whole: one (stream, version) for each value that is looked for."""
    places = [
        (row["created_at"], row["aggregate_id"], row["stream_version"])
        for row in rows
        for name, value in leaves(json.loads(row["payload"], parse_int=Decimal, parse_float=Decimal))
        if look(name, value)
    ]
    return [(stream, version) for _, stream, version in sorted(places)]


def places(found: Found) -> list[tuple[str, int]]:
    assert found.places == len(found.hits)
    assert found.events == len({(each.stream, each.version) for each in found.hits})
    return [(each.stream, each.version) for each in found.hits]


@pytest.mark.parametrize("ignore_case", [False, True])
def test_texts_are_found_where_they_stand(made: Any, ignore_case: bool) -> None:
    """Sixty texts, plain and odd: exactly the places that reading every event gives, in order."""
    lake, rows = made
    draw = random.Random(11)
    wanted = ["A-1", "A-17", "é", "K", '"', "\\", "order_id", "日😀"]
    wanted += ["".join(draw.choices(ODD, k=draw.randrange(1, 4))) for _ in range(22)]
    for text in wanted:
        if not text.strip():
            continue
        found = find(lake, Question(text=text, ignore_case=ignore_case), limit=10**6)
        in_payload = [each for each in found.hits if not (each.path or "").startswith("metadata")]
        assert [(each.stream, each.version) for each in in_payload] == oracle(
            rows, lambda _name, value, text=text: stands(text, value, ignore_case=ignore_case)
        ), text


@pytest.mark.parametrize(
    "field", [("order_id", "A-7"), ("amount", "50"), ("amount", "5e1"), ("amount", "7.00"), ("note", ""), ("text", "")]
)
def test_members_are_found_by_their_values(made: Any, field: tuple[str, str]) -> None:
    """In arguments given as text, too, and as text in text."""
    lake, rows = made
    name, wanted = field

    def look(member: str | None, value: Any) -> bool:
        if member != name:
            return False
        if isinstance(value, Decimal):
            return as_number(wanted) == value
        return bool(value == wanted)

    assert places(find(lake, Question(member=field), limit=10**6)) == oracle(rows, look)


def test_a_person_is_their_streams_and_single_events_in_others(made: Any) -> None:
    """A stream about one person alone counts whole; of one about several, the events about the person."""
    lake, rows = made
    subjects: dict[str, set[str]] = {}
    for row in rows:
        subjects.setdefault(row["aggregate_id"], set()).add(json.loads(row["metadata"]).get("subject_id"))

    def is_about(row: dict[str, Any]) -> bool:
        named = subjects[row["aggregate_id"]] - {None}
        return named == {"joe"} or json.loads(row["metadata"]).get("subject_id") == "joe"

    kept = [row for row in rows if is_about(row)]
    found = find(lake, Question(member=("order_id", "A-7"), customer="joe"), limit=10**6)
    assert places(found) == oracle(kept, lambda name, value: (name, value) == ("order_id", "A-7"))
    alone = find(lake, Question(customer="joe"), limit=10**6)
    assert {each.stream for each in alone.hits} == {row["aggregate_id"] for row in kept}
    assert alone.streams == len(alone.hits)
    assert find(lake, Question(customer="jo")).places == 0


def test_all_is_counted_and_the_first_are_shown(made: Any) -> None:
    """The limit changes what is shown and no count; the order is time, stream, version."""
    lake, _ = made
    all_of_it, few = (find(lake, Question(text="A-1"), limit=limit) for limit in (10**6, 3))
    assert few.hits == all_of_it.hits[:3]
    assert (few.places, few.events, few.streams) == (all_of_it.places, all_of_it.events, all_of_it.streams)
    assert all_of_it.hits == sorted(all_of_it.hits, key=lambda each: (each.at, each.stream, each.version))


def test_what_is_redacted_is_not_found(tmp_path: Path) -> None:
    """Payloads as redactions leave them; the envelope of such an event is not searched; before the fold it is withheld and counted."""
    rows = rows_of(10)
    rows[0] |= {"payload": '{"text": "grace"}', "metadata": '{"subject_id": "grace"}'}
    target = {"target": {"stream_version": 1}, "path": "/text", "method": "mask", "reason": "asked"}
    rows[9] |= {"payload": written(target), "event_type": "redaction.applied.v1"}
    lake = lake_of(tmp_path / "lake", rows)
    before = find(lake, Question(text="grace"))
    assert (before.places, before.withheld) == (0, 1)
    hidden = f"SELECT '2026-01' AS month, '{rows[0]['aggregate_id']}' AS aggregate_id, 1 AS stream_version, '{{\"text\": \"[redacted]\"}}' AS payload, [10] AS redaction_versions"
    with scratch() as connection:
        lake.write_partition(REDACTED_EVENTS, {"month": "2026-01"}, connection, hidden, input_hash="made")
    after = find(lake, Question(text="grace"))
    assert (after.places, after.withheld) == (0, 0)
    assert places(find(lake, Question(text="[redacted]"))) == [(rows[0]["aggregate_id"], 1)]


def test_what_is_shown_is_on_one_line_and_short(tmp_path: Path) -> None:
    """The hit in its sentence, shortened on both sides, without new lines or half characters."""
    rows = rows_of(1)
    rows[0]["payload"] = written({"text": "x" * 100 + "\n needle \r\n" + "y" * 100, "arguments": '["needle \\ud800"]'})
    first, second = find(lake_of(tmp_path / "lake", rows), Question(text="needle")).hits
    assert (first.text[0], first.text[-1], " needle " in first.text, "\n" in first.text) == ("…", "…", True, False)
    assert len(first.text) < 150
    assert second.text == "needle ?"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "say what to find"),
        ({"text": "a", "tool": "b"}, "TEXT and --tool are different questions"),
        ({"text": " "}, "TEXT is empty"),
        ({"customer": ""}, "--customer is empty"),
        ({"member": ("", "1")}, "the NAME of --field is empty"),
        ({"where": "true", "text": "a"}, "--where narrows the calls of --tool"),
        ({"tool": "a", "ignore_case": True}, "--ignore-case is for TEXT"),
        ({"text": "a\udc80"}, "is no text"),
    ],
)
def test_a_question_that_is_none_is_refused(given: dict[str, Any], told: str) -> None:
    """Before the lake is read."""
    with pytest.raises(BadInputError, match=told):
        Question(**given)
