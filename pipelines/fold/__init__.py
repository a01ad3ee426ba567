"""The one fold: what streams say at a point, from events in columns and where the streams stood before them.

Pure: NumPy and Arrow in, NumPy and Arrow out; no database, no lake, no files. `fold` is the entry; callers differ in what
they feed it: a month of the lake, a month up to a time, one stream.
"""
