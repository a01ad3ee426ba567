"""Is a home well: its store, its lake, its disk, keys, files, packages and clocks, looked at without changing them.

Each rule is somebody else's: the store's guard, the lake's vacuum, what the lake lacks, who may read a home. Here they are asked, and
what they answer becomes findings that say what to do.
"""
