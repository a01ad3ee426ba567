"""Logs of coding agents, a form each: Claude Code, Codex, ATIF, SWE-agent, OpenHands.

They are streams already: what was said stands once, in order. What a form says beside is in its module.
"""
