"""What differs between two versions, as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipelines.diff.version_diff import Conclusion, Setting, VersionDiff
from pipelines.review.answer import WORDS
from pipelines.review.numbers import interval, number
from pipelines.review.words import REASONS, UNIT_CLASSES, in_words

_WIDEST = 60
"""Characters of a setting's value that are shown."""


def render_versions(found: VersionDiff) -> str:
    """The page of `refold diffs A B`."""
    first, second = found.first, found.second
    lines = [
        f"A  {first.experiment} {first.version_id}, complete since {first.committed_at:%F %T} UTC",
        f"B  {second.experiment} {second.version_id}, complete since {second.committed_at:%F %T} UTC",
    ]
    if found.is_same:
        lines += ["", "nothing that determines them differs"]
    lines += _section("settings", [_setting(each) for each in found.settings])
    lines += _section("code", [_code(each) for each in found.code])
    for side, diff in found.prompts.items():
        lines += _section(f"prompt of the {side}", diff)
    lines += _section("conversations", list(_streams(found)))
    lines += _section("pairs whose class flipped, A → B", list(_flips(found)))
    lines += _section("conclusions", list(_conclusions(found)))
    words = [WORDS[answer.word] for answer in found.answers]
    is_same = words[0] == words[1]
    whose = [f"{name}'s ({each.experiment} {each.version_id})" for name, each in (("A", first), ("B", second))]
    lines += ["", f"{' and '.join(whose) if is_same else ' → '.join(whose)}, each by its experiment's gate of now"]
    return "\n".join([*lines, f"answer: {words[0]}" if is_same else f"answer: {words[0]} → {words[1]}"])


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _setting(setting: Setting) -> str:
    return f"{setting.path}: {_value(setting.first)} → {_value(setting.second)}"


def _code(setting: Setting) -> str:
    what = setting.path.replace("source_sha256.", "").replace("measures.", "metric ").replace("_sha256", "")
    first, second = (str(value)[:12] if value is not None else "–" for value in (setting.first, setting.second))
    return f"{what.replace('_', ' ')}: {first} → {second}"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def _streams(found: VersionDiff) -> Iterator[str]:
    streams = found.streams
    yield f"{streams.same:,} in both with the same events, {streams.changed:,} in both with others"
    yield f"{streams.only_first:,} only in A, {streams.only_second:,} only in B"
    words = {"changed": "with other events", "only_first": "only in A", "only_second": "only in B"}
    for name, some in streams.examples.items():
        yield f"{words[name]}, for example {', '.join(some)}"


def _flips(found: VersionDiff) -> Iterator[str]:
    for flip in found.flips:
        yield f"{flip.units:,} from {in_words(UNIT_CLASSES, flip.first)} to {in_words(UNIT_CLASSES, flip.second)}"
        more = f" and {flip.units - len(flip.examples):,} more" if flip.units > len(flip.examples) else ""
        yield f"  {', '.join(flip.examples)}{more}"


def _conclusions(found: VersionDiff) -> Iterator[str]:
    for each in found.conclusions:
        place = "" if each.segment == "all" else f" ({each.segment}: {each.segment_value})"
        mark = "moved  " if each.is_moved else "       "
        yield f"{mark}{each.metric}{place}: {_conclusion(each.first)} → {_conclusion(each.second)}"


def _conclusion(said: Conclusion | None) -> str:
    if said is None:
        return "not measured"
    if said.estimate is None:
        return in_words(REASONS, said.reason)
    bounds = f" [{interval(said.low, said.high)}]" if said.low is not None or said.high is not None else ""
    return f"{number(said.estimate)}{bounds}" + (f" {said.verdict}" if said.verdict else "")
