"""Audit: show that the log is whole and unaltered, in the store and in the lake.

Reads everything and changes nothing. What is wrong is a finding with its month, file and stream; an exception means that
the audit itself could not be made.
"""
