"""What an auditor needs beside the log: the manifests of sealed months."""

from __future__ import annotations

from pipelines.lake.dataset import Column, Dataset

MANIFESTS = Dataset(
    name="manifests",
    grain="one sealed month and generation",
    key=("month", "generation"),
    partition_by=(),
    sort_by=("sealed_at",),
    layer="log",
    columns=(
        Column("month", "VARCHAR", "UTC calendar month, YYYY-MM."),
        Column("generation", "INTEGER", "How often the month was opened when it was sealed; all generations stay."),
        Column(
            "manifest",
            "VARCHAR",
            "What the month held, as canonical JSON text: rows, streams, order, files, Merkle root, versions.",
        ),
        Column("manifest_sha256", "VARCHAR", "SHA-256 of the text, hex."),
        Column("signature", "BLOB", "Ed25519 signature over the text's bytes; null when it is not signed."),
        Column("sealed_at", "TIMESTAMP WITH TIME ZONE", "When the store sealed the month, UTC."),
    ),
)
