"""When a conversation is expected to have come whole, and which bodies are needed still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.forms.otel.spool import Entry
from pipelines.receive.traces import Traces, Waits

WAITS = Waits(quiet=10, open=100)
SECOND = 10**9


def body(seconds: float, mark: str = "a") -> str:
    return f"{int(seconds * SECOND):020d}-{mark}"


def span(trace: str, own: str, parent: str = "", session: str | None = None) -> Entry:
    return Entry(False, trace, own, parent, 1, 2, session, 0)


def log(trace: str, of: str, session: str | None = None) -> Entry:
    return Entry(True, trace, of, "", 1, 1, session, 0)


def due(traces: Traces, seconds: float, **more) -> list[set[str]]:
    return [set(each.traces) for each in traces.due(int(seconds * SECOND), WAITS, **more)]


def test_a_conversation_waits_until_it_is_quiet():
    """Nothing is due before the last that came of it is so old."""
    traces = Traces()
    traces.add(body(0), [span("t", "root")])
    traces.add(body(5), [span("t", "child", "root")])
    assert due(traces, 14.9) == []
    assert due(traces, 15) == [{"t"}]


def test_a_span_that_is_missing_is_waited_for_longer():
    """A parent, or the span of a log record, that has not come holds the conversation back, at the end too."""
    for entry in (span("t", "child", "root"), log("t", "root")):
        traces = Traces()
        traces.add(body(0), [entry])
        assert due(traces, 99) == due(traces, 1, is_ending=True) == []
        assert due(traces, 100) == [{"t"}]
        traces.add(body(1, "b"), [span("t", "root")])
        assert due(traces, 11) == due(traces, 7, is_ending=True) == [{"t"}]


def test_at_the_end_a_conversation_has_settled():
    """What came just now may still get log records; how long to go on is what is left until then, of those that are whole."""
    traces = Traces()
    traces.add(body(0), [span("old", "a"), span("open", "b", "missing")])
    traces.add(body(4), [span("new", "c")])
    assert due(traces, 6, is_ending=True) == [{"old"}]
    assert traces.unsettled(6 * SECOND, WAITS) == 4
    assert due(traces, 10, is_ending=True) == [{"old"}, {"new"}]
    assert traces.unsettled(10 * SECOND, WAITS) == 0
    assert traces.unsettled(4 * SECOND, Waits(quiet=1, open=100)) == 1
    assert Traces().unsettled(0, WAITS) == 0


def test_traces_of_one_session_are_one_conversation():
    """Whatever names it: a span of another body, or a log record; what is imported of it is all of it."""
    traces = Traces()
    traces.add(body(0), [span("t1", "a", session="s"), span("other", "x")])
    traces.add(body(1), [span("t2", "b"), log("t2", "b", session="s")])
    found = traces.due(11 * SECOND, WAITS)
    assert sorted(sorted(each.traces) for each in found) == [["other"], ["t1", "t2"]]
    assert traces.imported(each for each in found if "t1" in each.traces) == [body(1)]
    assert traces.imported(each for each in found if "other" in each.traces) == [body(0)]
    assert due(traces, 1000) == []
    traces.add(body(20), [span("t3", "c", session="s")])
    (again,) = traces.due(30 * SECOND, WAITS)
    assert (set(again.traces), again.bodies) == ({"t1", "t2", "t3"}, (body(0), body(1), body(20)))


def test_what_comes_during_an_import_is_imported_after_it():
    """What was not there when the import began is not taken for imported."""
    traces = Traces()
    traces.add(body(0), [span("t", "a")])
    found = traces.due(10 * SECOND, WAITS)
    traces.add(body(11), [span("t", "b")])
    assert traces.imported(found) == []
    assert due(traces, 21) == [{"t"}]


def test_bodies_are_kept_as_long_as_their_conversations_go_on():
    """One that is imported goes when nothing came of any of its conversations since; what is not imported stays."""
    traces = Traces()
    traces.add(body(0), [span("t1", "a", session="s"), span("t2", "b")], is_imported=True)
    traces.add(body(50), [span("t3", "c", session="s")], is_imported=True)
    traces.add(body(1), [span("t4", "d")])
    assert traces.forget(50 * SECOND) == []
    assert sorted(traces.forget(51 * SECOND)) == [body(0), body(50)]
    assert due(traces, 60) == [{"t4"}]
    assert traces.forget(1000 * SECOND) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3), st.integers(0, 6)), max_size=20))
def test_conversations_are_the_parts_that_sessions_join(given):
    """Held to a partition made by merging sets; every trace is in one conversation, with every body that has it."""
    traces, parts, bodies = Traces(), [], {}
    for trace, session, number in given:
        traces.add(body(number), [span(f"t{trace}", "a", session=None if session is None else str(session))])
        bodies.setdefault(f"t{trace}", set()).add(body(number))
        joined = {f"t{trace}"} | ({f"s{session}"} if session is not None else set())
        for part in [part for part in parts if part & joined]:
            parts.remove(part)
            joined |= part
        parts.append(joined)
    wanted = sorted(sorted(each for each in part if each[0] == "t") for part in parts)
    found = traces.due(1000 * SECOND, WAITS)
    assert sorted(sorted(each.traces) for each in found) == wanted
    for each in found:
        assert set(each.bodies) == set().union(*(bodies[trace] for trace in each.traces))
