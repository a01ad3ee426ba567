"""What an import of a foreign form came to: counts that its table shows, and where every leaf of its files went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """Counts over any number of conversations.

    Attributes:
        conversations: Groups of records, one conversation each.
        streams: Run lines: conversations, and those of sub-agents and branches by themselves.
        model_calls: Calls of models.
        wrapper_calls: Calls that recorded another one once more.
        system, user, agent_text, tool_calls: What was said and called.
        tool_results: Results that an agent was sent.
        span_results: Results that only the span of the tool says.
        open_tool_calls: Calls of tools without any result.
        input_tokens, output_tokens: Over all model calls.
        models: The models, each by the name that its form lists it by: the one that answered, where it has no lists.
        histories: Model calls by how their history agreed.
        nameless: Conversations that their form does not name.
        contentless: Model calls of which neither what was sent nor what came back was recorded.
        switches: What turns content on in the emitters of those.
        duplicates: Records that came again.
        leaves: Scalars of all records.
        kept: Those that no field says, and that are kept verbatim.
        repeated: Those that say again what was said already.
    """

    conversations: int = 0
    streams: int = 0
    model_calls: int = 0
    wrapper_calls: int = 0
    system: int = 0
    user: int = 0
    agent_text: int = 0
    tool_calls: int = 0
    tool_results: int = 0
    span_results: int = 0
    open_tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    models: set[str] = field(default_factory=set)
    histories: Counter[str] = field(default_factory=Counter)
    nameless: int = 0
    contentless: int = 0
    switches: set[str] = field(default_factory=set)
    duplicates: int = 0
    leaves: int = 0
    kept: int = 0
    repeated: int = 0

    @property
    def mapped(self) -> int:
        """Scalars that a field of a run line says."""
        return self.leaves - self.kept - self.repeated

    def add(self, other: Tally) -> None:
        """Add the counts of other conversations."""
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            else:
                mine.update(theirs)

    def as_json(self) -> dict[str, Any]:
        """The counts by their names in `--json`."""
        return {
            "conversations": self.conversations,
            "streams": self.streams,
            "model_calls": self.model_calls,
            "wrapper_calls": self.wrapper_calls,
            "system": self.system,
            "user": self.user,
            "agent_text": self.agent_text,
            "tool_calls": self.tool_calls,
            "tool_results": self.tool_results,
            "tool_results_of_spans": self.span_results,
            "tool_calls_without_result": self.open_tool_calls,
            "tokens": [self.input_tokens, self.output_tokens],
            "models": sorted(self.models),
            "history": dict(sorted(self.histories.items())),
            "conversations_without_id": self.nameless,
            "calls_without_content": self.contentless,
            "content_switches": sorted(self.switches),
            "duplicates": self.duplicates,
            "leaves": {"mapped": self.mapped, "kept": self.kept, "repeated": self.repeated},
        }
