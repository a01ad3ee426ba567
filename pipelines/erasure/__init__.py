"""Erasure: what is asked for, its record, and everything that held a copy of it."""
