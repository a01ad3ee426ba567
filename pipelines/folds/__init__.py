"""The fold's callers: what they read of the lake, what streams carry, and where the rows go.

`run` folds a month and commits it, `as_of` folds a month up to a time, `state` one stream; the rules are `pipelines.fold`'s.
"""
