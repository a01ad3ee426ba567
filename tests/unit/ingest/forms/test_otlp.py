"""OpenTelemetry's files: what the samples hold, by counts and hashes that were made apart, and in whatever way they are written."""

from __future__ import annotations

from pathlib import Path

from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_files import form_lines
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
from tests.support.formats import counts, samples, stream_sha256

NAMES = ("system", "user", "agent_text", "tool_calls", "tool_results", "threads", "model_calls")


def lines_of(files, folder, tally=None, **options):
    folder.mkdir()
    return list(form_lines(FORM, files, Options(folder=folder, **options), tally if tally is not None else Tally()))


def test_samples(shared_data: Path, tmp_path: Path) -> None:
    """Every sample gives the counts and the hash that were made of it apart."""
    for number, sample in enumerate(samples(shared_data, "01-otlp")):
        tally = Tally()
        lines = lines_of([sample.path], tmp_path / str(number), tally)
        found = counts(lines)
        expected = {name: sample.counts[name] for name in NAMES}
        assert {name: getattr(found, name) for name in NAMES} == expected, sample.name
        assert stream_sha256(lines) == sample.counts["stream_sha256"], sample.name
        assert found.tokens == sample.counts["tokens"], sample.name
        assert sorted(found.models) == sample.counts["models"], sample.name
        assert tally.conversations == sample.counts["conversations"], sample.name
        assert tally.wrapper_calls == sample.counts["wrapper_calls"], sample.name
