"""One version on one page of plain text: what changed, in how many conversations, with intervals.

Reads the version's datasets; computes nothing. What it calls change is change: nothing is better or worse without a
metric that has a direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.console import counted
from pipelines.diff.names import ALL
from pipelines.diff.result import DiffResult
from pipelines.diff.versions import read_summary
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.lake import Lake
from pipelines.review.answer import name_window
from pipelines.review.headline import count_calls
from pipelines.review.noise import noise_in_order, tell_noise
from pipelines.review.words import (
    FAILURES,
    NOISE,
    REASONS,
    SHARES,
    UNIT_CLASSES,
    answers_in_words,
    count_streams,
    in_words,
    is_idle,
    name_streams,
    tell_flat,
)

_FAILURES = """
SELECT reason, count(*)
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND status = 'failed' AND reason IS NOT NULL
GROUP BY reason
ORDER BY count(*) DESC, reason
"""


READS = "FROM ab_summary_history, ab_units_history, versions_history, calls"
"""All relations that a page and the answer of its version read, for `Lake.reading`."""


def render_page(lake: Lake, result: DiffResult) -> str:
    """The page of a version, as lines of at most about 100 characters."""
    partition = {"experiment": result.experiment, "version_id": result.version_id}
    with lake.connect() as connection:
        lines = [line for line in read_summary(connection, partition) if line["segment"] == ALL]
        calls = count_calls(connection, partition)
        failures = connection.execute(_FAILURES, partition).fetchall()
    shares = {line["metric"]: line for line in lines if line["kind"] == "change"}
    differences = [
        line
        for line in lines
        if line["kind"] == "metric" and not is_idle(line["metric"], line["total_a"], line["total_b"])
    ]
    out = [
        f"{result.experiment}  version {result.version_id}",
        f"A  {result.side_a}",
        f"B  {result.side_b}",
        *([] if result.revision is None else [result.revision.describe(result.unit)]),
        *([f"{name_streams(calls)} that began from {name_window(result)}, UTC"] if any(result.window) else []),
        f"{counted(result.pairs, f'{result.unit} pair')} in {' and '.join(count_streams(result.conversations, calls))}"
        + (f", {result.failed:,} not answered" if result.failed else ""),
        *(
            [
                f"left out of both sides: {counted(result.not_asked - result.not_asked_erased, result.unit)} before which nothing was said"
            ]
            if result.not_asked > result.not_asked_erased
            else []
        ),
        *(
            [
                f"left out of both sides: {counted(result.not_asked_erased, result.unit)} erased in part, or after what is"
            ]
            if result.not_asked_erased
            else []
        ),
        *(f"  {count:,} {reason}: {in_words(FAILURES, reason)}" for reason, count in failures),
        *(f"  {reason}: {told} (first in {unit})" for reason, unit, told in result.first_failures),
        *_left_out(result),
        *_answers(lake, result),
        *_shared_responses(lake, result),
        f"tool calls differ in {counted(result.pairs - result.failed - result.same_calls, 'pair')}, in {result.changed_conversations:,} of the {name_streams(calls)}",
        "",
        f"{'what stayed the same':<34}{'pairs':>9}{'share':>9}   95 % interval",
    ]
    counts = {"same_names": result.same_names, "same_calls": result.same_calls, "same_final": result.same_final}
    for name, count in counts.items():
        out.append(_share_line(SHARES[name].lower(), count, shares[name]))
    out += ["", f"{'tool calls of a pair':<34}{'pairs':>9}"]
    by_count = sorted(result.classes.items(), key=lambda item: (-item[1], item[0]))
    out += [f"  {in_words(UNIT_CLASSES, name):<32}{count:>9,}   {name}" for name, count in by_count]
    if differences:
        out += ["", f"{'mean per ' + result.unit:<22}{'A':>11}{'B':>11}{'B − A':>11}   95 % interval"]
        out += [_difference_line(line) for line in differences]
        firsts = {(name, why): f": {told} (first in {unit})" for name, why, unit, told in result.first_metric_errors}
        out += [
            f"  {name} has no value on {counted(count, 'side')}: {why}{firsts.get((name, why), '').removeprefix(f': {why}')}"
            for name, why, count in result.metric_errors
        ]
        out += [f"  note: {told}" for told in tell_flat(result.flat_metrics)]
    rules = [line for line in lines if line["kind"] == "rule"]
    if rules:
        out += ["", f"{'rule holds':<34}{'A':>9}{'B':>9}   95 % interval of B"]
        out += [_rule_line(line) for line in rules]
    out += _noise_lines(lines)
    if any((result.outcomes.both, result.outcomes.only_a, result.outcomes.only_b, result.outcomes.neither)):
        good = result.outcomes
        out += [
            "",
            f"outcome good: both {good.both}, only A {good.only_a}, only B {good.only_b}, neither {good.neither}",
        ]
    if result.unit == "decision":
        out += [
            "",
            "Each decision was put before B with the recorded context; no tool ran and no outcome was observed.",
        ]
    return "\n".join(out)


def _left_out(result: DiffResult) -> list[str]:
    """What the shares and means below do not use."""
    others = {name: count for name, count in result.fidelity.items() if name != "exact"}
    if not others:
        return []
    listed = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in others.items())
    return [f"left out of shares and means: {sum(others.values()):,} pairs ({listed})"]


def _answers(lake: Lake, result: DiffResult) -> list[str]:
    """Answers that came from another model, and those that were cut."""
    commit = lake.last_commit(REPLAYS.name, {"experiment": result.experiment, "version_id": result.version_id})
    return answers_in_words(commit.provenance.get("answers")) if commit is not None else []


def _shared_responses(lake: Lake, result: DiffResult) -> list[str]:
    """How many units are one observation with another: the model was asked the same, and was asked once."""
    partition = {"experiment": result.experiment, "version_id": result.version_id}
    commit = lake.last_commit(REPLAYS.name, partition)
    shared = (commit.provenance.get("asked") or {}).get("units_sharing_a_response") if commit is not None else None
    return [f"{shared:,} answers of models stand for more than one pair: the request was the same"] if shared else []


def _share_line(label: str, count: int, line: dict[str, Any]) -> str:
    share = "" if line["estimate"] is None else f"{line['estimate']:.1%}"
    unit = "" if not line["excluded"] else f"   of {line['n']:,} with text on both sides"
    return f"  {label:<32}{count:>9,}{share:>9}   {_interval(line, '{:.1%}')}{unit}"


def _rule_line(line: dict[str, Any]) -> str:
    shares = "".join(f"{'' if line[side] is None else f'{line[side]:.1%}':>9}" for side in ("mean_a", "mean_b"))
    return f"  {line['metric']:<32}{shares}   {_interval(line, '{:.1%}')}"


def _difference_line(line: dict[str, Any]) -> str:
    numbers = (line["mean_a"], line["mean_b"], line["estimate"])
    cells = "".join(f"{'' if value is None else f'{value:.4g}':>11}" for value in numbers)
    verdict = f"   {line['verdict']}" if line["verdict"] else ""
    reason = f"   ({in_words(REASONS, line['reason'])})" if line["reason"] else ""
    return f"  {line['metric']:<20}{cells}   {_interval(line, '{:.3g}')}{verdict}{reason}"


def _noise_lines(lines: list[dict[str, Any]]) -> list[str]:
    """How much of the change is chance, and whether the model changed since the recording."""
    noise = {line["metric"]: line for line in lines if line["kind"] == "noise"}
    if not noise:
        return []
    out = ["", f"{'tool calls differ, of the noise sample':<43}{'share':>9}   95 % interval"]
    for name, line in noise_in_order(noise):
        form = "{:.3f}" if name == "noise_excess" else "{:.1%}"  # the energy distance is no share: it reaches 2
        share = "" if line["estimate"] is None else form.format(line["estimate"])
        reason = f"   ({in_words(REASONS, line['reason'])})" if line["reason"] else ""
        out.append(f"  {in_words(NOISE, name):<41}{share:>9}   {_interval(line, form)}{reason}")
    excess = noise["noise_excess"]
    out.append(f"  {excess['n']:,} points in {excess['g']:,} clusters; {excess['excluded']:,} left out")
    return [*out, *(f"  {told}" for told in tell_noise(noise))]


def _interval(line: Mapping[str, Any], form: str) -> str:
    low, high = (None if line[name] is None else form.format(line[name]) for name in ("low", "high"))
    if low is None or high is None:
        return f"at least {low}" if low is not None else f"at most {high}" if high is not None else "–"
    return f"{low} to {high}"
