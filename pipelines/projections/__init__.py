"""A person's own projections: a SQL file or a Polars function becomes a table, folded month by month like the shipped ones.

What such a file says of itself is in `projection`, what it may read in `relations`, what it asks for in `select` or `function`,
and how a month of it is folded in `fold`. Nothing here knows Dagster; what a person wrote runs in a child process.
"""
