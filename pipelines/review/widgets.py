"""What the widgets hold: choices with their words, and the rows of the table of changed pairs.

Texts in the table cannot become links or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.console import printable
from pipelines.diff.versions import Version, list_versions
from pipelines.lake.lake import Lake
from pipelines.review.changes import Change, ChangedCall, ChangePage
from pipelines.review.headline import Headline
from pipelines.review.numbers import metric_name
from pipelines.review.words import FAILURES, TEXT_CLASSES, UNIT_CLASSES, in_words, pointer_steps, repeated

NUMBER = "No."
"""Column that holds a row's place on all pages, from 1."""
COLUMN_WIDTHS = {"What changed": 200, "Tool calls": 230, "Text": 120, "A said": 220, "B said": 220}
"""Pixels."""
WRAPPED = ("Tool calls", "A said", "B said")
"""Columns whose text goes on in a second line; the widget makes such columns at least 200 pixels wide."""
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
    """

    versions: Mapping[str, tuple[Version, ...]]
    experiment: str | None
    message: str | None

    def labels(self, experiment: str) -> dict[str, Version]:
        """The versions of an experiment under labels that tell them apart."""
        versions = self.versions[experiment]
        return {
            f"{version.committed_at:%Y-%m-%d %H:%M:%S} UTC, {version.version_id}{'' if place else ' (newest)'}": version
            for place, version in enumerate(versions)
        }


def find_opening(lake: Lake, wanted: str | None = None) -> Opening:
    """Look for versions to review; `wanted` is the experiment to open, by default the one with the newest version."""
    versions: dict[str, tuple[Version, ...]] = {}
    for version in list_versions(lake):
        versions[version.experiment] = (*versions.get(version.experiment, ()), version)
    if not versions:
        return Opening({}, None, f"no version yet in {lake.root}: run refold demo, or refold ab with your experiment")
    newest = next(iter(versions))
    if wanted and wanted not in versions:
        message = f"experiment {wanted!r} has no complete version: showing {newest}. Run refold ab with its file first."
        return Opening(versions, newest, message)
    return Opening(versions, wanted or newest, None)


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


def selected_pair(page: ChangePage, rows: Sequence[Mapping[str, object]]) -> str | None:
    """The pair of the first selected row of the table; None when none is selected."""
    return page.rows[int(str(rows[0][NUMBER])) - page.first].unit_id if rows else None


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
