"""What the verbs of the command line do: which assets for which partitions, in which order.

The assets do the work, as runs that the web page shows; that is where Dagster is imported. Whether there is work is asked of the
library first: a verb that finds nothing to do starts no run. The store is held open over a verb, so the embedded server starts once.
"""
