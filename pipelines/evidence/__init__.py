"""What is claimed about a stream, for people who know neither Refold nor JSON: its story, where something stands, and evidence.

Reads the lake. What an outsider checks evidence with imports nothing of Refold. Nothing here changes the log.
"""
