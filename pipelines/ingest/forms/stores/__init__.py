"""What the forms of trace stores and of logs of evaluations share, and what their rows say.

`langfuse`, `langsmith` and `inspect` beside this folder know which records there are and which conversation each is of.
"""
