"""A simulated support desk: the input that is there before anybody has any.

Everything here is made up and deterministic: names are placeholders, addresses end in example.com, telephone numbers
are 555 numbers. `desk` writes the history, `policies` holds the agent that the desk runs and the candidate to compare
with it; both agents are ordinary Python callables of the kind that a user would bring.
"""
