"""Verdicts of people over the pairs of a version: recorded as events, drawn by known probability, and what they come to.

`verdict` has the words, `record` the stream that verdicts are in, `sampling` which pairs are drawn and how likely each was, `desk`
what a reviewer sits at, `summary` what all verdicts of a version say of all its pairs, `pin` the pairs of a regression set.
"""
