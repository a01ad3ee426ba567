"""Carry months of the store into the lake, complete and provably the same.

`month` exports one month; `months` says which months there are to export. Nothing here folds or interprets events.
"""
