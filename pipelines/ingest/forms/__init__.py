"""The forms in which teams have their logs, a module each: how its files are read, and what a record of it says.

A form reads its files into `Group`s of records and adapts them to the rows of `pipelines.ingest.assemble.rows`; what follows is
shared by all.
"""
