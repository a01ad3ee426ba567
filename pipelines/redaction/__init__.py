"""Redaction: what is to be hidden, the events that hide it, everything that was derived of it, and the proof that it is gone."""
