"""Pages served to one person on this machine: who may ask, and the server. Knows no page.

What is shown comes as an ASGI application: Dagster's from `assets`, marimo's from `pipelines.notebooks`.
"""
