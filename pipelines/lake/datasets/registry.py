"""What was asked for and what was committed: experiments and the provenance of every commit."""

from __future__ import annotations

from pipelines.lake.dataset import Column as C
from pipelines.lake.dataset import Dataset

EXPERIMENTS = Dataset(
    name="experiments",
    grain="one registration of an experiment",
    key=("experiment",),
    partition_by=(),
    sort_by=("registered_at",),
    layer="registry",
    has_newest_view=True,
    columns=(
        C("experiment", "VARCHAR", "Name of the experiment."),
        C("spec", "VARCHAR", "The experiment file as JSON text, prompt files resolved."),
        C("spec_sha256", "VARCHAR", "Hash of the spec."),
        C("mode", "VARCHAR", "decision, turn, conversation or single."),
        C("is_active", "BOOLEAN", "Whether the nightly schedule runs it."),
        C("registered_at", "TIMESTAMP WITH TIME ZONE", "When it was registered, UTC."),
    ),
)

COMMITS = Dataset(
    name="commits",
    grain="one commit of one partition of one dataset",
    key=("dataset", "partition", "number"),
    partition_by=(),
    sort_by=("committed_at",),
    layer="registry",
    columns=(
        C("dataset", "VARCHAR", "The dataset committed to."),
        C("partition", "VARCHAR", "The partition, as column=value pairs joined by /; empty when there is none."),
        C("number", "BIGINT", "Number of the commit of this partition: the Delta app transaction's version."),
        C("delta_version", "BIGINT", "Version of the Delta table right after the commit."),
        C("row_count", "BIGINT", "Rows in the partition."),
        C("size_bytes", "BIGINT", "Bytes of its files."),
        C(
            "files",
            "STRUCT(path VARCHAR, sha256 VARCHAR, size_bytes BIGINT, row_count BIGINT)[]",
            "Its files, relative to the table.",
        ),
        C("input_hash", "VARCHAR", "Hash of what the partition is a function of; equal means nothing to do."),
        C("provenance", "VARCHAR", "JSON text: what the writer wants remembered (watermarks, counts, hashes)."),
        C("code_version", "VARCHAR", "Version of Refold that wrote it."),
        C("seconds", "DOUBLE", "Time from start to commit, seconds."),
        C("committed_at", "TIMESTAMP WITH TIME ZONE", "When, UTC."),
    ),
)
