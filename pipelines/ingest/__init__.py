"""Importers: foreign formats become events, and can be turned back into what they were.

What importers share lives here: numbered lines of a file (`lines`), JSON that refuses what the store cannot keep
(`strict_json`), the canonical form that is hashed and compared (`canonical`), times (`clock`) and the file of skipped
lines (`bad_lines`). `convert` and `restore` are pure and each other's inverse; `chat` joins them to the store. The same of streams that no import wrote
are `recorded` and `run_line`, which `line_files` joins to it.
`postgres` imports another database's events table, which `postgres_source` reads; `event_types` is the registry that new
types come into. Nothing here drops a field: what has no place in a payload stays verbatim in the event's metadata.
"""
