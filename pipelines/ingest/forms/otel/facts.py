"""What the spans of a conversation say of it as a whole, and the scores that were given to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.rows import Facts, Group
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.events import EVALUATION
from pipelines.ingest.forms.otel.filling import session_ranks
from pipelines.ingest.forms.otel.groups import AMBIGUOUS
from pipelines.ingest.forms.otel.names import FACTS
from pipelines.ingest.forms.otel.span import Span, name_of

_SCORE_FIELDS = {
    "gen_ai.evaluation.name": "name",
    "gen_ai.evaluation.score.value": "value",
    "gen_ai.evaluation.score.label": "label",
    "gen_ai.evaluation.explanation": "comment",
}
_VOICE = ("lk.", "conversation.type")


class Known:
    """What was said of a conversation so far; a fact is told once.

    Args:
        group: The conversation.
        options: What was asked of the import.
    """

    def __init__(self, group: Group, options: Options) -> None:
        self._key = group.key
        self._is_named = group.is_named
        self._source = options.source
        self._sessions = tuple(session_ranks(options))
        self._facts = {**({options.subject_key: "subject_id"} if options.subject_key else {}), **FACTS}
        self._names = frozenset((*self._sessions, *self._facts))
        self._order = {name: place for place, name in enumerate(self._facts)}
        self._told: dict[str, Any] = {}
        self._traces: set[str] = set()

    def facts_of(self, span: Span) -> Iterator[Facts]:
        """What a span adds; it is taken out of it, and so is what was told before."""
        fields = dict(self._of_attributes(span))
        trace = span.value.get("traceId")
        if trace and (trace in self._traces or (trace == self._key and not self._is_named)):
            del span.value["traceId"]
            span.record.repeated += 1 if trace in self._traces else 0
        elif trace:
            self._traces.add(trace)
        resource = span.value.get("resource")
        if resource is not None:
            fields |= self._of_resource(resource)
        if span.value.pop(AMBIGUOUS, False):
            fields["fidelity"] = ["session_ambiguous"]
        scores = list(_scores(span)) if span.events or span.logs else []
        if fields or scores:
            yield Facts(span.record.place, fields, scores)

    def _of_attributes(self, span: Span) -> Iterator[tuple[str, Any]]:
        attributes = span.attributes
        there = self._names & attributes.keys()
        if not there:
            return
        for name in there.intersection(self._sessions):
            if str(attributes[name]) == self._key:
                del attributes[name]
        for name in sorted(there & self._facts.keys() & attributes.keys(), key=self._order.__getitem__):
            field = self._facts[name]
            if attributes[name] in (None, "") or isinstance(attributes[name], (dict, list)):
                continue
            value = str(attributes[name])
            if self._told.setdefault(field, value) != value:
                continue
            del attributes[name]
            if (field, value) not in self._told.items() or f"{field} told" not in self._told:
                self._told[f"{field} told"] = True
                yield field, value

    def _of_resource(self, resource: dict[str, Any]) -> dict[str, Any]:
        attributes = resource.get("attributes") or {}
        service = attributes.get("service.name")
        if self._source is not None or not isinstance(service, str) or "source" in self._told:
            return {}
        self._told["source"] = service
        resource["attributes"] = {name: value for name, value in attributes.items() if name != "service.name"}
        return {"source": f"otel/{service}"}


def _scores(span: Span) -> Iterator[dict[str, Any]]:
    """Evaluations, which are events or log records on the span that they are of."""
    for event in (*span.events, *span.logs):
        if name_of(event) != EVALUATION:
            continue
        attributes = event.get("attributes") or {}
        if isinstance(event.get("body"), dict):
            attributes |= event.pop("body")
        score = {
            field: attributes.pop(name) for name, field in _SCORE_FIELDS.items() if attributes.get(name) is not None
        }
        if not score:
            continue
        at = event.pop("timeUnixNano", None) or event.pop("observedTimeUnixNano", None)
        for name in ("eventName", "name"):
            event.pop(name, None)
        value = score.get("value")
        kind = "numeric" if isinstance(value, (int, float)) and not isinstance(value, bool) else "categorical"
        yield {"name": "evaluation", **score, "kind": kind, "source": "model", **({"recorded_at": at} if at else {})}
