"""The ladder of event versions, where folds look for it; it is the lake's, since views read through it too."""

from pipelines.lake.ladder import Ladder, build_ladder, load_ladder, load_own_ladder

__all__ = ["Ladder", "build_ladder", "load_ladder", "load_own_ladder"]
