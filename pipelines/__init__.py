"""Refold's library: event store, lake, folds, replay, diff, statistics, audit.

Nothing in here imports Dagster; `assets/` wraps these functions for it.
"""
