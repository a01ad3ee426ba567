"""How the two answers of a pair differ: tool calls aligned, arguments, text, and the class of it all. No lake, no experiment.

Shapes are one pair, or Arrow columns with a row a pair.
"""
