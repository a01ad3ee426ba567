"""Refold's Dagster code location: the one place that imports Dagster.

The listing names the concepts in use: `definitions` joins them, `partitions` and `resources` are what assets stand on,
`log`, `folds` and `experiments` hold the assets, `checks`, `jobs` and `schedules` go with them. `runs` and `ui` are the
way in for the command line. An asset resolves its partition, calls one library function of `pipelines` and answers
counts, hashes and seconds; what is computed is never decided here.
"""
