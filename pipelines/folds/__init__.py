"""Fold the log into state: monthly projections in SQL, upcasters, redaction, and any state at any time.

`ladder` knows the event types, `steps` runs the SQL of a month, `run` commits it to the lake, `state` answers for one
stream, `context` rebuilds what an agent saw, `reference` is the plain left fold that all of it is held to.
"""
