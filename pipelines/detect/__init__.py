"""Detectors of personal values and secrets: a text in, spans with class and score out.

One module a class: `email`, `iban`, `card`, `network`, `phone`, `secret`; `presidio` lends those of another library, where it is
installed. `detector` holds what a detector is and how the spans of several become one list; `plain` and `context` what they share. All of it
is pure: nothing here reads a file, a table or the network, and nothing of a text is kept. What is done with a span is decided elsewhere.
"""

from __future__ import annotations

from pipelines.detect.detector import Detector, Span, find_spans
from pipelines.detect.shipped import DETECTORS, named_detector, shipped_detectors

__all__ = ["DETECTORS", "Detector", "Span", "find_spans", "named_detector", "shipped_detectors"]
