"""Importers: foreign formats become events, and can be turned back into what they were.

What importers share lives here: numbered lines of a file (`lines`), JSON that refuses what the store cannot keep
(`strict_json`), the canonical form that is hashed and compared (`canonical`), times (`clock`) and the file of skipped
lines (`bad_lines`). `convert` and `restore` are pure and each other's inverse; `chat` joins them to the store. Nothing
here knows PostgreSQL beyond the store's public calls, and nothing here drops a field: what has no place in a payload
stays verbatim in the event's metadata.
"""
