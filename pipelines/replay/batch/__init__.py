"""Decisions asked in batches: submitted, left alone for a day, read into the same store as answers that came at once.

What is asked and what an answer is are decided elsewhere; here is how many requests go out together, how a batch is found
again by whoever goes on after a kill, and what becomes of those that brought nothing.
"""
