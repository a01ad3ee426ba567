"""The lake: Delta tables on a file system, written partition by partition and read by DuckDB.

`datasets` says what there is, `table` writes and commits one partition, `lake` opens it all, `catalog` publishes the
SQL views. Nothing in here knows what the rows mean.
"""
