"""Tool calls in canonical form: JSON as RFC 8785, normalisation rules, and hashes at levels of equality.

Folds, replay and diff share it, so that "the same call" means the same everywhere. Nothing here knows about tables.
"""
