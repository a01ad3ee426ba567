"""What was asked for and what was committed: experiments, what they were planned as, and the provenance of every commit."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets.columns import EXPERIMENT, VERSION_ID

EXPERIMENTS = Dataset(
    name="experiments",
    grain="one registration of an experiment",
    key=("experiment",),
    partition_by=(),
    sort_by=("registered_at",),
    layer="registry",
    has_newest_view=True,
    columns=(
        Column("experiment", "VARCHAR", "Name of the experiment."),
        Column("spec", "VARCHAR", "The experiment as JSON text, defaults included."),
        Column("spec_sha256", "VARCHAR", "Hash of the spec."),
        Column("folder", "VARCHAR", "Folder of the experiment file, where a Python candidate is looked for."),
        Column("mode", "VARCHAR", "decision, conversation or single."),
        Column("is_active", "BOOLEAN", "Whether the nightly schedule runs it."),
        Column("registered_at", "TIMESTAMP WITH TIME ZONE", "When it was registered, UTC."),
    ),
)

VERSIONS = Dataset(
    name="versions",
    grain="one version of an experiment, as it was planned",
    key=("experiment", "version_id"),
    partition_by=("experiment", "version_id"),
    sort_by=("definition",),
    layer="registry",
    has_newest_view=True,
    columns=(
        EXPERIMENT,
        VERSION_ID,
        Column(
            "definition", "VARCHAR", "JSON text: every setting that changes a cell, with prompts and hashes of code."
        ),
        Column(
            "settings", "VARCHAR", "JSON text: the experiment with its one window; budget, gate and the like included."
        ),
        Column("folder", "VARCHAR", "Folder of the experiment file, where callables are looked for."),
        Column("tools", "VARCHAR", "JSON text: what is known of tools, and how calls are answered."),
        Column(
            "streams",
            "STRUCT(aggregate_id VARCHAR, recorded_aggregate_id VARCHAR, source VARCHAR, agent VARCHAR, vertical VARCHAR, "
            'channel VARCHAR, task VARCHAR, variant VARCHAR, started_at TIMESTAMP WITH TIME ZONE, "cluster" VARCHAR, '
            "last_version INTEGER, last_hash VARCHAR, erased_events INTEGER, recorded_last_version INTEGER, "
            "recorded_last_hash VARCHAR, "
            "is_noise_sampled BOOLEAN)[]",
            "The conversations, with the heads of both sides, by aggregate_id.",
        ),
        Column(
            "runs",
            "STRUCT(side VARCHAR, draw INTEGER, aggregate_id VARCHAR, recorded_aggregate_id VARCHAR, last_version INTEGER, "
            "last_hash VARCHAR)[]",
            "Further recorded runs of the same tasks, where a recorded side names several.",
        ),
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
        Column("dataset", "VARCHAR", "The dataset committed to."),
        Column("partition", "VARCHAR", "The partition, as column=value pairs joined by /; empty when there is none."),
        Column("number", "BIGINT", "Number of the commit of this partition: the Delta app transaction's version."),
        Column("delta_version", "BIGINT", "Version of the Delta table right after the commit."),
        Column("row_count", "BIGINT", "Rows in the partition."),
        Column("size_bytes", "BIGINT", "Bytes of its files."),
        Column(
            "files",
            "STRUCT(path VARCHAR, sha256 VARCHAR, size_bytes BIGINT, row_count BIGINT)[]",
            "Its files, relative to the table.",
        ),
        Column("input_hash", "VARCHAR", "Hash of what the partition is a function of; equal means nothing to do."),
        Column("provenance", "VARCHAR", "JSON text: what the writer wants remembered (watermarks, counts, hashes)."),
        Column("code_version", "VARCHAR", "Version of Refold that wrote it."),
        Column("seconds", "DOUBLE", "Time from start to commit, seconds."),
        Column("committed_at", "TIMESTAMP WITH TIME ZONE", "When, UTC."),
    ),
)
