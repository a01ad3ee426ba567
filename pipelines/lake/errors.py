"""What can go wrong with the lake."""

from __future__ import annotations

from pipelines.errors import RefoldError


class CommitLostError(RefoldError):
    """Another writer committed this partition first; nothing of this attempt is visible. Run the verb again."""

    def __init__(self, dataset: str, partition: str, number: int) -> None:
        self.dataset, self.partition, self.number = dataset, partition, number
        super().__init__(
            f"{dataset} {partition or '(whole table)'}: another writer made commit {number} first; "
            "nothing of this attempt is visible, run the command again",
        )
