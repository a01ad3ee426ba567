"""The story of a stream, in order: who asked, what the agent was sent at each decision, what it said and did, what came of it.

The story is told from the lake, as every reader tells. What it shows, and what it says when it cannot:

- Every event is one part, also one of a type that is not known: it is named and counted, and shown as it was recorded.
- Decisions have the numbers of the view `decisions`. Which messages the agent was sent at one are numbered parts before it;
  the messages themselves, as they stood in the request, are there where one decision is asked for.
- A user's own tool calls are parts, and no messages: the agent is not shown them.
- A redacted text is what the redactions of today leave of it, also in a story of before they were applied; each says why.
  Read as recorded (`is_original`) nothing is hidden: who asks for that has the access recorded first, which is not done here.
- An erased event has its place, its time and its type, and who erased it why.
- Whether the log holds what the agent was sent is said of each decision, with the reason where nobody can say.
- Streams that are no conversations are told the same way: rows that changed, prompts, records of what was done to the log.

Speed: the events of one stream are found by the bounds of row groups; of the rest of the lake nothing is read but the types
of events, when a decision names a prompt or tools by their hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from pipelines.duck import scratch
from pipelines.errors import BadInputError
from pipelines.evidence.parts import Erased, Part, Story, StoryMonth
from pipelines.evidence.parts_of_events import make_parts, text_or_none
from pipelines.evidence.registrations import find_registrations
from pipelines.evidence.story_decisions import make_decisions, named_hashes
from pipelines.evidence.stream_events import StreamEvent, StreamEvents, load_events
from pipelines.lake.datasets import HOME_LOG
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import read_erasure
from pipelines.proof.states import final_states

_HOME_LOG = """
SELECT DISTINCT entry, kind, month, generation, noted_at, CASE WHEN kind = 'erased' THEN document END AS document
FROM read_parquet($files)
WHERE kind NOT IN ('redacted', 'scrubbed') AND (list_contains($months, month) OR (kind = 'erased' AND $with_erasures))
ORDER BY entry
"""


class _Entry(NamedTuple):
    """An entry of the home log; the document is an erasure's, else None."""

    kind: str
    month: str | None
    generation: int | None
    noted_at: datetime
    document: str | None


def read_story(lake: Lake, stream: str, *, decision: int | None = None, is_original: bool = False) -> Story:
    """Read the story of one stream.

    Args:
        lake: Holds `events`; and `home_log`, if months were sealed or events erased.
        stream: An id or `source/conversation_id`; with `@VERSION` the story up to that version.
        decision: The number of a decision: the story is that decision at length, with its context, from what was asked until
            the next decision. None is the whole story.
        is_original: Whether texts are as recorded, redactions not applied.

    Raises:
        BadInputError: There is no such stream in the lake, or more than one; it has no such version or decision.
        StreamTooLargeError: It would take more than the lake's memory bound; it says which would do.
    """
    told = load_events(lake, stream)
    numbers = [row["decision"] for row in told.decisions]
    if decision is not None and decision not in numbers:
        known = f"it has decisions 1 to {len(numbers)}" if numbers else "the agent said and called nothing in it"
        raise BadInputError(f"{stream} has no decision {decision}; {known}")
    months = sorted({event.month for event in told.events})
    has_erased = any(event.is_erased for event in told.events)
    entries = _home_log(lake, months, with_erasures=has_erased)
    parts, _ = make_parts(told, _erasures(entries, told), is_original=is_original)
    wanted = numbers if decision is None else [decision]
    registered = find_registrations(lake, *named_hashes(told, wanted, is_original=is_original), is_original=is_original)
    decisions = make_decisions(told, parts, registered, focus=decision, is_original=is_original)
    story = _head(told, _months(told.events, entries), is_original=is_original)
    return replace(
        story,
        parts=parts if decision is None else _around(parts, told, decision, decisions[0].asked),
        decisions=decisions,
        decision_count=len(numbers),
        redacted_events=sum(bool(part.hidden) for part in parts),
        erased_events=sum(part.erased is not None for part in parts),
        missing=_missing([part.version for part in parts]),
        focus=decision,
    )


def _head(told: StreamEvents, months: tuple[StoryMonth, ...], *, is_original: bool) -> Story:
    """The story without its parts: what is known of the stream."""
    events = told.events
    payloads = [(each, each.recorded if is_original else each.shown) for each in events if not each.is_erased]
    started: Mapping[str, Any] = next(
        (said for each, said in payloads if each.event_name == "conversation.started"), {}
    )
    ended = [said for each, said in payloads if each.event_name == "conversation.ended"]
    outcome = ended[-1].get("outcome") if ended else None
    return Story(
        stream=told.target.stream,
        stream_type=told.stream_type,
        source=_first(events, "source"),
        source_id=_first(events, "source_id"),
        subject_id=_first(events, "subject_id"),
        agent=text_or_none(started.get("agent")),
        variant=text_or_none(started.get("variant")),
        channel=text_or_none(started.get("channel")),
        vertical=text_or_none(started.get("vertical")),
        task=text_or_none(started.get("task")),
        status="ended" if any(each.event_name == "conversation.ended" for each in events) else "open",
        outcome=None if outcome is None else text_or_none(outcome),
        started_at=events[0].at,
        last_at=events[-1].at,
        last_version=events[-1].version,
        known_version=told.target.known_version,
        is_original=is_original,
        months=months,
        parts=(),
        decisions=(),
        skipped=dict(Counter(each.event_type for each in events if each.event_name is None)),
    )


def _around(parts: Sequence[Part], told: StreamEvents, decision: int, asked: int | None) -> tuple[Part, ...]:
    """The parts from what the person had said last before a decision to the last before the next."""
    rows = {row["decision"]: row for row in told.decisions}
    first = asked or rows[decision]["first_version"]
    until = rows[decision + 1]["first_version"] if decision + 1 in rows else told.target.version + 1
    return tuple(part for part in parts if first <= part.version < until)


def _missing(versions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Runs of versions that are not among those, which are in order, before the last of them."""
    before = (0, *versions)
    return tuple((low + 1, high - 1) for low, high in zip(before, versions, strict=False) if high - low > 1)


def _first(events: Iterable[StreamEvent], name: str) -> str | None:
    """What the first envelope that has such a member says."""
    return next((text_or_none(each.metadata[name]) for each in events if each.metadata.get(name) is not None), None)


def _home_log(lake: Lake, months: Sequence[str], *, with_erasures: bool) -> list[_Entry]:
    """What the lake knows of what happened to some months; and of erasures, if they are asked for."""
    files = lake.files(HOME_LOG.name)
    if not files:
        return []
    with scratch() as connection:
        params = {"files": files, "months": list(months), "with_erasures": with_erasures}
        return [_Entry(*row[1:]) for row in connection.sql(_HOME_LOG, params=params).fetchall()]


def _months(events: Sequence[StreamEvent], entries: Sequence[_Entry]) -> tuple[StoryMonth, ...]:
    states = final_states([each for each in entries if each.kind != "erased"])
    sealed = {each.month: each.noted_at for each in entries if each.kind == "sealed"}
    found = []
    for month in sorted({each.month for each in events}):
        versions = [each.version for each in events if each.month == month]
        state, _ = states.get(month, ("open", 0))
        at = sealed.get(month) if state == "sealed" else None
        found.append(StoryMonth(month, min(versions), max(versions), state, at))
    return tuple(found)


def _erasures(entries: Sequence[_Entry], told: StreamEvents) -> dict[int, Erased]:
    """What is known of the erasure of each erased event, by version: the first that names it."""
    found: dict[int, Erased] = {}
    gone = [event.version for event in told.events if event.is_erased]
    for entry in (each for each in entries if each.kind == "erased"):
        erasure = read_erasure(entry.document or "")
        for target in erasure.targets:
            if target.stream == told.target.stream:
                known = Erased(erasure.erasure, entry.noted_at, erasure.reason)
                found |= {
                    version: known
                    for version in gone
                    if target.first <= version <= target.last and version not in found
                }
    return found
