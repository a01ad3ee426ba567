"""What proves that a log is whole and unaltered: the hash chain, the Merkle tree, the manifest and its signature.

Nothing here reaches a store or knows a lake: it works on values and on Parquet files that it is given.
"""
