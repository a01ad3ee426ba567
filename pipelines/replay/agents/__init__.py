"""Whole agents as candidates: a program of the user's that acts in a recorded turn, with models and tools behind a gateway.

The agent asks models through a loopback server or a call, and its tools are answered from the recording. Nothing here executes a
tool.
"""
