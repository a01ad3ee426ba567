"""The shell of `refold sql`: statements and commands, typed at a terminal or piped, on one connection to the lake.

`script` cuts what is typed, `asking` holds the connection, `shell` does what a line says, `prompt` is the terminal and the one
module that needs prompt_toolkit.
"""
