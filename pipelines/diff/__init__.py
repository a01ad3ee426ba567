"""What differs between two agents: tool calls, text, and the class of a decision or conversation.

Pure functions of values: nothing here opens a file, a table or a connection, apart from `dataset`, which writes what
the others find. The diff measures change; it never calls a change good or bad.
"""
