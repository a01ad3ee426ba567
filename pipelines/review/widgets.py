"""What the widgets hold: choices with their words, and the rows of the table of changed pairs.

Texts in the table cannot become links or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.console import printable
from pipelines.diff.versions import Version, list_versions
from pipelines.lake.lake import Lake
from pipelines.review.changes import Change, ChangedCall, ChangePage, Choices
from pipelines.review.headline import Headline
from pipelines.review.location import Location, Wanted
from pipelines.review.numbers import metric_name
from pipelines.review.words import FAILURES, TEXT_CLASSES, UNIT_CLASSES, in_words, pointer_steps, repeated

NUMBER = "No."
"""Column that holds a row's place on all pages, from 1."""
COLUMN_WIDTHS = {"What changed": 200, "Tool calls": 230, "Text": 120, "A said": 220, "B said": 220}
"""Pixels."""
WRAPPED = ("Tool calls", "A said", "B said")
"""Columns whose text goes on in a second line; the widget makes such columns at least 200 pixels wide."""
VIEW_CHOICES = {"all pairs": "pairs", "pairs to judge, blind": "judge"}
"""Label → view, as an address has it."""
_CALLS = 200
_EXCERPT = 110
_LABEL = 60
# What every address holds; a word joiner behind it is invisible and leaves no address.
_ADDRESS = re.compile(r"[:/@]|www", re.IGNORECASE)
_WORD_JOINER = "\u2060"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a reviewer can open.

    Attributes:
        versions: Complete versions by experiment; the experiment with the newest version first, and newest first in each.
        experiment: The one to open; None when there is nothing to open.
        message: Why there is nothing to open, or not what was asked for; None when all is well.
        version_id: The version to open; None for the newest of the experiment.
    """

    versions: Mapping[str, tuple[Version, ...]]
    experiment: str | None
    message: str | None
    version_id: str | None = None

    def labels(self, experiment: str) -> dict[str, Version]:
        """The versions of an experiment under labels that tell them apart."""
        versions = self.versions[experiment]
        return {
            f"{version.committed_at:%Y-%m-%d %H:%M} {version.version_id[:8]}{'' if place else ' (newest)'}": version
            for place, version in enumerate(versions)
        }

    def opened(self, experiment: str) -> str:
        """The label of the version to open of an experiment."""
        labels = self.labels(experiment)
        wanted = (label for label, version in labels.items() if version.version_id == self.version_id)
        return next(wanted, next(iter(labels)))


def find_opening(lake: Lake, wanted: str | None = None, version_id: str | None = None) -> Opening:
    """Look for versions to review.

    Args:
        lake: Where they are.
        wanted: The experiment to open; None for the one with the newest version, or with the version asked for.
        version_id: The version to open; None for the newest.
    """
    versions: dict[str, tuple[Version, ...]] = {}
    for version in list_versions(lake):
        versions[version.experiment] = (*versions.get(version.experiment, ()), version)
    if not versions:
        return Opening({}, None, f"no version yet in {lake.root}: run refold demo, or refold ab with your experiment")
    newest = next(iter(versions))
    if version_id is not None:
        holders = [name for name, held in versions.items() if any(each.version_id == version_id for each in held)]
        if holders:
            return Opening(versions, wanted if wanted in holders else holders[0], None, version_id)
        shown = wanted if wanted in versions else newest
        message = f"there is no complete version {version_id!r}: showing the newest of {shown}"
        return Opening(versions, shown, message)
    if wanted and wanted not in versions:
        message = f"experiment {wanted!r} has no complete version: showing {newest}. Run refold ab with its file first."
        return Opening(versions, newest, message)
    return Opening(versions, wanted or newest, None)


def open_at(lake: Lake, wanted: Wanted, environment: Mapping[str, str]) -> Opening:
    """What an address asks for; where it names neither experiment nor version, what the command was given."""
    if wanted.experiment or wanted.version_id:
        return find_opening(lake, wanted.experiment, wanted.version_id)
    return find_opening(lake, environment.get("REFOLD_EXPERIMENT"), environment.get("REFOLD_VERSION"))


def class_choices(headline: Headline) -> dict[str, str]:
    """Label → unit class, for those that the version holds, the deepest change first."""
    known = [name for name in UNIT_CLASSES if name in headline.classes]
    return {f"{UNIT_CLASSES[name]} ({headline.classes[name]:,})": name for name in known}


def order_choices(headline: Headline, metrics: Sequence[str]) -> dict[str, str]:
    """Label → order of changed pairs; the first is what the experiment is decided by, if that is one of its metrics."""
    orders = {f"largest difference: {metric_name(name)}": name for name in metrics if name == headline.primary}
    orders |= {"most tool calls changed": "calls", "most words changed": "text"}
    orders |= {f"largest difference: {metric_name(name)}": name for name in metrics if name != headline.primary}
    return orders | {"as they happened": "conversation"}


def segment_choices(choices: Choices) -> dict[str, str]:
    """Label → value of a segment, as a filter has it."""
    return {table_cell(f"{each.replace('=', ': ', 1)} ({pairs:,})", _LABEL): each for each, pairs in choices.segments}


def tool_choices(choices: Choices) -> dict[str, str]:
    """Label → tool."""
    return {table_cell(name, _LABEL): name for name in choices.tools}


def move_choices(choices: Choices) -> dict[str, str]:
    """Label → a metric and how it moved, as an address has it."""
    words = {"any": "differs", "up": "is higher in B", "down": "is lower in B"}
    return {f"{metric_name(name)} {told}": f"{move}:{name}" for name in choices.metrics for move, told in words.items()}


def labels_of(choices: Mapping[str, Any], wanted: Collection[Any]) -> list[str]:
    """The labels of what is wanted and can be chosen."""
    return [label for label, value in choices.items() if value in wanted]


def label_of(choices: Mapping[str, Any], wanted: Any) -> str | None:
    """The label of one choice; None where it cannot be chosen."""
    return next(iter(labels_of(choices, [wanted])), None)


def selected_pair(page: ChangePage, rows: Sequence[Mapping[str, object]], wanted: str | None = None) -> str | None:
    """The pair of the first selected row of the table; the one wanted when none is selected."""
    return page.rows[int(str(rows[0][NUMBER])) - page.first].unit_id if rows else wanted


def keeping_pair(location: Location, page: ChangePage) -> Callable[[Sequence[Mapping[str, object]]], None]:
    """A function that keeps the pair of a table's selected row in the address."""
    return lambda rows: location.keep("unit", selected_pair(page, rows))


def first_selected(page: ChangePage, wanted: str | None) -> list[int]:
    """The rows of a table that are selected when it is opened: the pair that is wanted, by default the first; none for one on no row."""
    if wanted is None:
        return [0]
    return [place for place, change in enumerate(page.rows) if change.unit_id == wanted]


def change_rows(page: ChangePage, metrics: Sequence[str]) -> list[dict[str, str | float | None]]:
    """One row per changed pair of a page, in its order; each of the experiment's own metrics is a column, B − A."""
    rows: list[dict[str, str | float | None]] = []
    for place, change in enumerate(page.rows, start=page.first):
        row: dict[str, str | float | None] = {
            NUMBER: place,
            "What changed": in_words(UNIT_CLASSES, change.unit_class),
            "Tool calls": _calls(change),
        }
        row |= {f"{metric_name(name)}, B − A": _difference(change, name) for name in metrics}
        row |= {
            "Text": _text(change),
            "A said": table_cell(change.text_a, _EXCERPT),
            "B said": table_cell(change.text_b, _EXCERPT),
            "About": table_cell(" · ".join(filter(None, (change.vertical, change.agent, change.task))), _LABEL),
        }
        rows.append(row)
    return rows


def table_cell(value: str | None, characters: int) -> str:
    """Text for a cell of a table widget, on one line, cut, and nothing that the widget would make a link or fetch.

    The widget escapes tags, but it turns addresses into links and loads the images that they name.
    """
    line = " ".join((value or "").split())
    line = printable(line if len(line) <= characters else line[: characters - 1] + "…")
    return _ADDRESS.sub(lambda match: match[0] + _WORD_JOINER, line)


def _calls(change: Change) -> str:
    """The tool calls that are not the same: another tool, a call of one side alone, or the arguments that differ."""
    if change.status != "ok":
        return in_words(FAILURES, change.reason)
    shown = repeated(map(_call, change.calls))
    more = (change.changed_calls or 0) - len(change.calls)
    return table_cell("; ".join([*shown, f"and {more:,} more"] if more > 0 else shown), _CALLS)


def _call(call: ChangedCall) -> str:
    if call.name_a is None or call.name_b is None:
        return f"only A {call.name_a}" if call.name_b is None else f"only B {call.name_b}"
    if call.name_a != call.name_b:
        return f"{call.name_a} → {call.name_b}"
    names = dict.fromkeys(pointer_steps(path)[0] if path else "all arguments" for path in call.paths)
    return f"{call.name_a} ({', '.join(names) or 'another place'})"


def _text(change: Change) -> str:
    if change.status == "ok" and (change.text_a is None) != (change.text_b is None):
        return "only B speaks" if change.text_a is None else "only A speaks"
    return in_words(TEXT_CLASSES, change.text_class) if change.text_class else ""


def _difference(change: Change, metric: str) -> float | None:
    a, b = change.metrics_a.get(metric), change.metrics_b.get(metric)
    return None if a is None or b is None else round(b - a, 6)
