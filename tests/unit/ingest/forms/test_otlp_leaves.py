"""Where the leaves of OpenTelemetry's samples go, as the adapter leaves them: a name that is no longer taken changes the table."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Group, Record
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel import calls, facts, steps
from pipelines.ingest.forms.otlp import FORM
from tests.support.formats import Sample, samples

TABLE = {
    "emitted.calendar-openinference.otlp.jsonl.gz": (1278, 336, 476),
    "emitted.calendar-openllmetry-0.30.otlp.jsonl.gz": (884, 292, 154),
    "emitted.calendar-openllmetry.otlp.jsonl.gz": (1060, 266, 180),
    "emitted.calendar-semconv-events.otlp.jsonl.gz": (1674, 338, 870),
    "emitted.calendar-semconv.otlp.jsonl.gz": (1032, 280, 180),
    "emitted.openhands-openinference.otlp.jsonl.gz": (1469, 146, 658),
    "emitted.openhands-openllmetry-0.30.otlp.jsonl.gz": (821, 125, 76),
    "emitted.openhands-openllmetry.otlp.jsonl.gz": (963, 120, 88),
    "emitted.openhands-semconv-events.otlp.jsonl.gz": (773, 148, 330),
    "emitted.openhands-semconv.otlp.jsonl.gz": (936, 120, 88),
    "emitted.tau2-openinference.otlp.jsonl.gz": (3703, 499, 1638),
    "emitted.tau2-openllmetry-0.30.otlp.jsonl.gz": (2181, 459, 282),
    "emitted.tau2-openllmetry.otlp.jsonl.gz": (2717, 425, 328),
    "emitted.tau2-semconv-events.otlp.jsonl.gz": (3796, 565, 1920),
    "emitted.tau2-semconv.otlp.jsonl.gz": (2666, 451, 328),
    "openinference-openai-smolagents.base64ids.json.gz": (805, 191, 287),
    "openllmetry-0.26-openai-streaming.json": (54, 40, 0),
    "openllmetry-langchain-workflow.json": (16, 14, 0),
    "strands-1.14-span-events.json": (245, 129, 59),
}
"""Leaves of the records, those that rows keep verbatim, and those that say again what a record said before."""

ELSEWHERE = ("gen_ai.request.", "gen_ai.agent.", "agent.")
"""Names that are parameters by themselves, too, or that only spans of agents have, which keep them."""


def sums(sample: Sample, folder: Path) -> tuple[int, int, int]:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    records: list[Record] = []
    kept = 0
    for group in FORM.groups([sample.path], Options(folder=folder)):
        own = list(group.records)
        records += own
        kept += sum(leaves(row.rest) for row in FORM.adapt(Group(group.key, group.is_named, iter(own)), Options()))
    return sum(record.leaves for record in records), kept, sum(record.repeated for record in records)


def test_table(shared_data: Path, tmp_path: Path) -> None:
    """Every sample's leaves go where they went when this was written."""
    assert {each.name: sums(each, tmp_path / "scratch") for each in samples(shared_data, "01-otlp")} == TABLE


def test_names_that_are_not_taken(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of the names that a sample has, more of it is kept verbatim than the table says."""
    small = [
        each
        for each in samples(shared_data, "01-otlp")
        if "openhands" in each.name or not each.name.startswith("emitted")
    ]
    text = {each.name: _text(each.path) for each in small}
    tried = 0
    for table in (calls._FIELDS, facts.FACTS, steps.TOOL_KINDS):
        for name, field in [*table.items()]:
            value = field if table is steps.TOOL_KINDS else name
            sample = next(
                (each for each in small if f'"{name}"' in text[each.name] and f'"{value}"' in text[each.name]), None
            )
            if sample is None or name.startswith(ELSEWHERE):
                continue
            with monkeypatch.context() as without:
                without.delitem(table, name)
                assert sums(sample, tmp_path / "scratch") != TABLE[sample.name], name
            tried += 1
    assert tried > 20


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
