"""What the review reads from a lake: versions, headline, pages of changed pairs, one pair with its context."""

from __future__ import annotations

from typing import get_args

import pytest

from pipelines.diff.names import DIFFERENCES
from pipelines.diff.names import SHARES as MEASURED_SHARES
from pipelines.diff.pair.align import PairClass
from pipelines.diff.pair.arguments import OpKind
from pipelines.diff.pair.classify import UnitClass
from pipelines.diff.pair.text import TextClass
from pipelines.diff.revised import BEFORE
from pipelines.diff.version_diff import compare_versions
from pipelines.diff.versions import list_versions
from pipelines.errors import BadInputError
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.review import words
from pipelines.review.changes import PAGE, Filter, count_pages, list_choices, list_metrics, load_changes
from pipelines.review.conversation import FIRST, LAST, load_conversations
from pipelines.review.headline import describe_side, find_version, load_headline
from pipelines.review.pair import load_pair, load_pairs
from pipelines.review.pair_html import render_pair
from pipelines.review.version_diff import render_versions
from pipelines.review.widgets import NUMBER, change_rows, class_choices, find_opening, order_choices, selected_pair
from pipelines.review.words import repeated
from pipelines.stats.estimate import Reason, Verdict
from tests.support.small_lake import (
    CHANGED,
    EXPERIMENT,
    OTHER_EXPERIMENT,
    PICTURE,
    SCRIPT,
    event,
    unit,
    write_rows,
    write_small,
    write_version,
)


def ids(page):
    return [row.unit_id for row in page.rows]


@pytest.fixture
def version(small):
    return find_version(small.lake, EXPERIMENT)


def test_every_code_has_words():
    """A reviewer never meets a bare code: each code of the datasets has words, and words have no code that is gone."""
    assert set(words.UNIT_CLASSES) == set(get_args(UnitClass))
    assert set(words.PAIR_CLASSES) == set(get_args(PairClass))
    assert set(words.TEXT_CLASSES) == set(get_args(TextClass))
    assert set(words.ARGUMENT_CHANGES) == set(get_args(OpKind))
    assert set(words.REASONS) == {*get_args(Reason), BEFORE}
    assert set(words.VERDICTS) == set(get_args(Verdict))
    assert set(words.SHARES) == set(MEASURED_SHARES)
    assert set(words.METRICS) == set(DIFFERENCES)


def test_opens_the_newest_version_unless_told(small):
    """Without a wish the experiment with the newest version opens; within one, newest first."""
    opening = find_opening(small.lake)
    assert (opening.experiment, opening.message, list(opening.versions)) == (
        EXPERIMENT,
        None,
        [EXPERIMENT, OTHER_EXPERIMENT],
    )
    assert tuple(version.version_id for version in opening.versions[EXPERIMENT]) == small.version_ids
    assert [label.endswith("(newest)") for label in opening.labels(EXPERIMENT)] == [True, False]
    assert find_opening(small.lake, OTHER_EXPERIMENT).experiment == OTHER_EXPERIMENT


def test_a_wish_that_cannot_be_met_is_said(small):
    """An unknown experiment opens the newest one and says so."""
    opening = find_opening(small.lake, "nope")
    assert opening.experiment == EXPERIMENT
    assert opening.message is not None
    assert "'nope'" in opening.message


def test_an_empty_home_says_what_to_do(tmp_path):
    """Without any version there is nothing to open, and the message names the command; nothing is written."""
    opening = find_opening(Lake(tmp_path / "none"))
    assert opening.experiment is None
    assert opening.message is not None
    assert "refold demo" in opening.message
    assert not (tmp_path / "none").exists()


def test_a_version_that_is_not_there_is_an_error(small):
    """Asking for another version names those that exist."""
    with pytest.raises(BadInputError, match="v2, v1"):
        find_version(small.lake, EXPERIMENT, "v3")
    assert find_version(small.lake, EXPERIMENT, "v1").version_id == "v1"


def test_headline_carries_what_the_version_kept(small, version):
    """The headline is what the diff kept with the version, and the summary's lines over the whole before segments."""
    headline = load_headline(small.lake, version)
    assert headline.version.pairs == small.unit_count
    assert (headline.failed, sum(headline.classes.values())) == (1, small.unit_count)
    assert headline.side_a == "what was recorded (source desk)"
    assert headline.side_b == "the Python agent agents:second"
    assert [line.metric for line in headline.shares] == ["same_calls"]
    assert [(line.metric, line.estimate) for line in headline.differences] == [("refund_usd", -15.71)]
    assert [line.segment for line in headline.segments] == ["vertical"]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ({"recorded": {"source": None, "variant": None}}, "what was recorded"),
        ({"recorded": {"source": "s", "variant": "v"}}, "what was recorded (source s, variant v)"),
        ({"echo": True, "python": None, "recorded": None}, "the recording itself"),
        ({"model": "gpt"}, "the model gpt"),
        ({"agent": "a:run", "model": "gpt", "sandbox": True}, "the agent a:run in a sandbox"),
        (
            {"command": ["node", "a.mjs"], "protocol": "lines", "answers": "recorded"},
            "the agent node a.mjs, answered by the recording",
        ),
    ],
)
def test_sides_in_words(side, expected):
    """Each kind of side has words."""
    assert describe_side(side) == expected


def test_only_changed_pairs_the_biggest_change_first(small, version):
    """Most changed calls first, then most changed words; a pair without an answer is not comparable and comes last."""
    page = load_changes(small.lake, version)
    assert ids(page) == ["s3/1", "s1/1", "s5/1", "s2/1", "s4/1"]
    assert (page.page, page.pages, page.total, page.first) == (1, 1, len(CHANGED), 1)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("text", ["s5/1", "s2/1", "s1/1", "s3/1", "s4/1"]),
        ("conversation", ["s1/1", "s2/1", "s3/1", "s4/1", "s5/1"]),
        ("refund_usd", ["s3/1", "s1/1", "s2/1", "s5/1", "s4/1"]),
    ],
)
def test_other_orders(small, version, order, expected):
    """By words, by time, and by any metric of the experiment; unknown values last."""
    assert ids(load_changes(small.lake, version, order=order)) == expected


def test_pages_are_bounded_and_never_overlap(small, version):
    """Pages of any size hold every row once, in one order; a page beyond the last is the last."""
    whole = ids(load_changes(small.lake, version, Filter(is_all=True)))
    assert len(whole) == small.unit_count
    for size in (1, 3, small.unit_count):
        pages = [
            load_changes(small.lake, version, Filter(is_all=True), page=number, page_size=size)
            for number in range(1, -(-len(whole) // size) + 1)
        ]
        assert [row for page in pages for row in ids(page)] == whole
        assert [page.first for page in pages] == [1 + size * index for index in range(len(pages))]
    assert load_changes(small.lake, version, page=99, page_size=2).page == 3
    assert count_pages(small.lake, version) == count_pages(small.lake, version, Filter(classes=("unparseable",))) == 1
    with pytest.raises(BadInputError, match="page_size is 501"):
        load_changes(small.lake, version, page_size=PAGE + 1)


def test_filter_by_class(small, version):
    """Only the classes asked for; a class without pairs gives an empty page."""
    assert ids(load_changes(small.lake, version, Filter(classes=("error", "args_only")))) == ["s1/1", "s4/1"]
    empty = load_changes(small.lake, version, Filter(classes=("unparseable",)))
    assert (empty.rows, empty.total, empty.pages) == ((), 0, 1)


def test_versions_do_not_mix(small):
    """An older version is read as it was."""
    older = find_version(small.lake, EXPERIMENT, "v1")
    assert load_changes(small.lake, older).total == 0
    assert load_changes(small.lake, older, Filter(is_all=True)).total == 3


def test_rows_name_the_calls_that_differ(small, version):
    """A row of the table says which tools and arguments differ, and by how much the metrics do."""
    page = load_changes(small.lake, version)
    rows = {row[NUMBER]: row for row in change_rows(page, list_metrics(small.lake, version))}
    assert rows[1]["Tool calls"].startswith("refund → escalate; only B <script>")
    assert rows[2]["Tool calls"] == "refund (usd, note)"
    assert [rows[n]["Refund (USD), B − A"] for n in range(1, 6)] == [-80.0, -30.0, 0.0, 0.0, None]
    assert [rows[n]["Text"] for n in range(1, 6)] == [
        "same text",
        "a few words differ",
        "only A speaks",
        "partly rewritten",
        "",
    ]
    assert rows[5]["Tool calls"] == "the candidate raised an error"
    assert not any(PICTURE in str(value) for row in rows.values() for value in row.values())


def test_the_selected_row_is_the_pair(small, version):
    """A row's number leads back to its pair, on every page; no selection is no pair."""
    for number in (1, 2, 3):
        page = load_changes(small.lake, version, page=number, page_size=2)
        rows = change_rows(page, [])
        assert [selected_pair(page, [row]) for row in rows] == ids(page)
        assert selected_pair(page, []) is None


def test_choices_begin_with_what_decides(small, version):
    """The first order is the experiment's primary metric; classes are those that the version holds."""
    headline = load_headline(small.lake, version)
    assert next(iter(order_choices(headline, ["refund_usd"]).values())) == "refund_usd"
    assert next(iter(order_choices(headline, ["other"]).values())) == "calls"
    assert list(class_choices(headline).values()) == ["set_changed", "args_only", "error", "same_calls"]


def test_a_pair_has_both_sides_and_its_calls(small, version):
    """One pair: texts and metrics of both sides, calls in order with what differs."""
    pair = load_pair(small.lake, version, "s1/1")
    assert (pair.a.text, pair.b.text) == (f"Hello {SCRIPT} {PICTURE}", f"Goodbye {SCRIPT} {PICTURE}")
    assert (pair.a.metrics, pair.b.metrics) == ({"refund_usd": 80.0}, {"refund_usd": 50.0})
    assert [(change.kind, change.path, change.old, change.new) for change in pair.calls[0].changes] == [
        ("arg_value", "/usd", "80", "50"),
        ("arg_added", "/note", "null", '"<b>half</b>"'),
    ]
    with pytest.raises(BadInputError, match="no pair 'nope'"):
        load_pair(small.lake, version, "nope")


def test_context_ends_before_the_decision_and_is_redacted(small, version):
    """The context is what came before the decision, as a later redaction leaves it."""
    context = load_pair(small.lake, version, "s1/1").context
    assert context is not None
    assert [(message.role, message.text) for message in context.first] == [
        ("system", "Be kind."),
        ("user", f"[redacted]: refund {SCRIPT} {PICTURE}"),
    ]
    assert (context.left_out, context.last, context.count) == (0, (), 2)


def test_a_conversation_shows_both_transcripts(small):
    """Where conversations are paired, both are shown whole; there is no one decision to have a context."""
    pair = load_pair(small.lake, find_version(small.lake, OTHER_EXPERIMENT), "s1")
    assert pair.context is None
    assert pair.transcript_a is not None
    assert pair.transcript_b is not None
    assert [message.role for message in pair.transcript_a.first] == ["system", "user", "assistant", "tool"]
    assert pair.transcript_a.first[2].calls == (("refund", '{"usd":80}'),)


def test_long_conversations_are_bounded(tmp_path):
    """The beginning and the end of a long conversation are kept, and what is left out is counted."""
    lake = Lake(tmp_path)
    count = FIRST + LAST + 7
    rows = [
        event("s", number, "user.utterance.v1", {"text": f"{number} " + "x" * 5_000}, message_id=f"m{number}")
        for number in range(1, count + 1)
    ]
    write_rows(lake, EVENTS, {"month": "2026-06"}, rows)
    with lake.connect() as connection:
        (found,) = load_conversations(connection, [("s", None)])
    assert (len(found.first), found.left_out, len(found.last), found.count) == (FIRST, 7, LAST, count)
    assert [message.text.split()[0] for message in found.last[-2:]] == [str(count - 1), str(count)]
    assert {(len(message.text), message.left_out) for message in found.first} == {(4_000, 1_002)}


def test_conversations_read_together_are_those_read_one_by_one(small, version, monkeypatch):
    """Several at once, one of them up to two places, are what each is alone; so are the pairs of a report."""
    ids = ["s1/1", "s2/1", "s3/1"]
    with small.lake.connect() as connection:
        streams = [row[0] for row in connection.sql("SELECT DISTINCT aggregate_id FROM events ORDER BY 1").fetchall()]
        asked = [(stream, stop) for stream in reversed(streams) for stop in (None, 3, 1)]
        together = load_conversations(connection, asked)
        alone = [load_conversations(connection, [each])[0] for each in asked]
        monkeypatch.setattr("pipelines.review.conversation._TOGETHER", 0)
        assert load_conversations(connection, asked) == alone == together
        assert load_conversations(connection, []) == []
    with small.lake.reading():
        assert load_pairs(small.lake, version, ids) == tuple(load_pair(small.lake, version, each) for each in ids)


def test_context_of_a_turn_is_what_was_said_before_its_first_decision(tmp_path):
    """A turn has no decision of its own: its context is that of the first one in it, and its title says which turn."""
    small = write_small(tmp_path)
    turn = {**CHANGED[0], "unit": "turn", "decision": None, "unit_id": "s1/t1"}
    write_version(small.lake, "t1", [turn], experiment="turns")
    pair = load_pair(small.lake, find_version(small.lake, "turns"), "s1/t1")
    assert (pair.turn, pair.decision, pair.transcript_a) == (1, None, None)
    assert pair.context is not None
    assert [message.role for message in pair.context.first] == ["system", "user"]
    assert "Turn 1: " in render_pair(pair)
    assert "What was said before" in render_pair(pair)


def test_pairs_that_flipped_are_listed(tmp_path):
    """Between two versions, the pairs whose class is another, from which to which, and whose the answers are."""
    small = write_small(tmp_path)
    write_version(small.lake, "f1", [unit(n) for n in range(1, 9)], experiment="flips")
    flipped = [unit(n, **({"unit_class": "args_only"} if n < 8 else {})) for n in range(1, 9)]
    write_version(small.lake, "f2", flipped, experiment="flips")
    second, first = list_versions(small.lake, "flips")
    found = compare_versions(small.lake, first, second)
    assert [(flip.first, flip.second, flip.units) for flip in found.flips] == [("same_calls", "args_only", 7)]
    assert found.flips[0].examples == [f"s{n}/1" for n in range(1, 6)]
    page = render_versions(found)
    assert (
        "  7 from same tool calls to same tools, other arguments\n    s1/1, s2/1, s3/1, s4/1, s5/1 and 2 more" in page
    )
    assert "A's (flips f1)" in page
    assert "B's (flips f2)" in page
    assert compare_versions(small.lake, first, first).flips == []


def test_what_comes_again_is_counted():
    """Titles stay short: each word once, with how often it came, in the order in which it came first."""
    assert repeated(["a", "b", "a", "a"]) == ["a ×3", "b"]
    assert repeated([]) == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(tools=("escalate",)), ["s3/1"]),
        (Filter(tools=("refund", "nothing")), ["s3/1", "s1/1", "s2/1"]),
        (Filter(similarity=(0.0, 0.6)), ["s2/1"]),
        (Filter(similarity=(0.9, 1.0), is_all=True), ["s3/1", "s1/1", "s6/1", "s7/1", "s8/1"]),
        (Filter(metric="refund_usd", move="down"), ["s3/1", "s1/1"]),
        (Filter(metric="refund_usd", move="up", is_all=True), []),
        (Filter(metric="refund_usd", is_all=True), ["s3/1", "s1/1"]),
        (Filter(segments=("vertical=nothing",)), []),
        (Filter(classes=("args_only",), tools=("refund",), metric="refund_usd"), ["s1/1"]),
    ],
)
def test_pairs_are_chosen_by_what_they_are(small, version, chosen, expected):
    """By the tools that a side calls, by how alike the texts are, by what a metric did, by a segment; all at once where several are given."""
    assert ids(load_changes(small.lake, version, chosen)) == expected
    assert load_changes(small.lake, version, chosen).total == len(expected)


def test_choices_are_what_the_version_has(small, version):
    """Tools of either side with the most calls first; a segment that all pairs have alike, or none has, is no choice."""
    choices = list_choices(small.lake, version)
    assert choices.tools == ("refund", SCRIPT, "escalate")
    assert (choices.segments, choices.metrics) == ((), ("refund_usd",))
