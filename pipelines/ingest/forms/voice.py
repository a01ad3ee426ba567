"""Reports of calls by voice: ElevenLabs, Retell, Vapi, LiveKit.

A report is one JSON document a call, as a webhook sends it or the API gives it. Its items are what was said and called, in order;
which fields say what is the vendors' (`voice_vendors`). A call is met again when a vendor sends it twice: the fullest report is
read, and what the others say besides is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Facts, Group, Record, Row
from pipelines.ingest.forms.fields import at, named, without
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects
from pipelines.ingest.forms.voice_vendor import Vendor
from pipelines.ingest.forms.voice_vendors import VENDORS

_ITEM = "item"


class Voice:
    """The form `voice`."""

    name = "voice"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with a vendor's report."""
        return _vendor(head.first) is not None

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """A call each: its report without the items, then the items.

        Raises:
            BadInputError: A file is no JSON, or a document of it is no report of these vendors.
        """
        reports = (found for path in files for found in _reports(path, options))
        for group in gathered(reports, options):
            yield Group(group.key, group.is_named, _items(group.records))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said and called, in the order of its start, and what is known of the call."""
        header = next(group.records)
        vendor = next(each for each in VENDORS if each.name == header.kind)
        call = vendor.call(header.value)
        facts = Facts(header.place, {"source": vendor.name, "kind": "call"}, [], header.value)
        if subject := named(call, options.subject_key, ()):
            facts.fields["subject_id"] = subject
        start = vendor.facts(call, facts)
        steps: list[tuple[int, Row]] = []
        is_answered, last = False, start or 0
        for item in group.records:
            for step in vendor.steps(item, start):
                role = step.message.chat["role"] if step.message else None
                is_answered |= role == "user"
                if role == "assistant" and is_answered and vendor.decision and step.message:
                    step.message.chat.setdefault("decision", vendor.decision(call))
                last = step.start if step.start is not None and not vendor.is_ordered else last
                steps.append((last, step))
        yield facts
        yield from (step for _, step in sorted(steps, key=lambda each: each[0]))


def _reports(path: Path, options: Options) -> Iterator[Found]:
    for place, report in objects(path, options.memory_bytes):
        vendor = _vendor(report)
        if vendor is None:
            raise BadInputError(
                f"{place}: is no report of a call by ElevenLabs (data.transcript), Retell (call.transcript_object), Vapi "
                f"(message.artifact.messages) or LiveKit (chat_history.items); it has {', '.join(list(report)[:8]) or 'nothing'}"
            )
        call = vendor.call(report)
        paths = (options.conversation_key.split("."),) if options.conversation_key else ()
        key = next(
            (value for each in (*paths, *vendor.ids) if isinstance(value := at(call, *each), str) and value), None
        )
        yield Found(key or path.name.split(".")[0], key is not None, place, report, vendor.name)


def _vendor(report: dict[str, Any]) -> Vendor | None:
    return next((vendor for vendor in VENDORS if isinstance(at(vendor.call(report), *vendor.items), list)), None)


def _items(reports: Iterable[Record]) -> Iterator[Record]:
    """The fullest report of a call without its items, and then these."""
    *others, fullest = sorted(reports, key=lambda report: report.leaves)
    vendor = next(each for each in VENDORS if each.name == fullest.kind)
    call = vendor.call(fullest.value)
    items = at(call, *vendor.items)
    unlike = [left for each in others if (left := without(each.value, fullest.value))]
    parent = at(call, *vendor.items[:-1]) if len(vendor.items) > 1 else call
    parent[vendor.items[-1]] = []
    if unlike:
        fullest.value["other_reports"] = unlike
    repeated = sum(each.leaves for each in others) - leaves(unlike)
    repeated += vendor.drop_repeated(call, items)
    count = fullest.leaves + sum(each.leaves for each in others) - leaves(items)
    yield Record(fullest.place, fullest.value, count, vendor.name, len(others), repeated)
    where = "#$." if "#" not in fullest.place else "."
    path = ".".join([*vendor.within, *vendor.items])
    for index, item in enumerate(items):
        place = f"{fullest.place}{where}{path}[{index}]"
        if not isinstance(item, dict):
            raise BadInputError(f"{place}: an item of a call is a JSON object")
        yield Record(place, item, leaves(item), _ITEM)


FORM = Voice()
