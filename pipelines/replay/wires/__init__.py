"""The wires: how a request of a replay is written for an endpoint, and how what comes back is read.

For an agent that asks over one, its request is read (`agent_request`) and its answer written, whole or as events (`*_writer`).
One wire a module (`chat`, `responses`, `messages`; `registry` has them), each a `Wire`; what they share is said once: `calls` (ids
and arguments), `tools`, `answer` (what is made of a body). Nothing here sends or keeps anything.
"""
