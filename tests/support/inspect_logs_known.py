"""What the logs of `inspect_logs` hold; apart from it, since Inspect takes seconds to load."""

from __future__ import annotations

ITEMS = (
    "lamp", "desk", "chair", "shelf", "sofa", "rug", "bench", "stool", "crib", "vase", "clock", "mirror", "frame", "cushion", "plate",
    "kettle", "bowl", "towel", "quilt", "mat", "tray", "basket", "hook", "jar",
)  # fmt: skip
EPOCHS = 2
USAGE = {"cautious": (90, 20), "hasty": (40, 12)}
"""Models, and the tokens of an answer of each, in and out."""
GUESSED = tuple(item for item in ITEMS if len(item) == 5)
"""What the hasty model does not look up."""
