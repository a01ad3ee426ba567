"""Calls as a trace store holds them, each with a copy of its history, become conversations: one stream each, nothing twice.

Pure: rows of an adapter in, run lines out; no file, no database. The order of work is in `conversation`.
"""
