"""Presidio's recognizers as a detector: said when they are missing, and nothing fetched when they are there."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from pipelines.detect import find_spans
from pipelines.detect.presidio import PresidioDetector
from pipelines.errors import BadInputError

IS_INSTALLED = importlib.util.find_spec("presidio_analyzer") is not None


@pytest.mark.skipif(IS_INSTALLED, reason="the extra presidio is installed")
def test_a_missing_extra_is_said():
    """The error names the extra."""
    with pytest.raises(BadInputError, match="refold\\[presidio\\]"):
        PresidioDetector()


@pytest.mark.skipif(not IS_INSTALLED, reason="the extra presidio is not installed")
def test_nothing_is_fetched(monkeypatch):
    """Without a network it works and asks for none, and a model that is not installed is refused, not downloaded."""
    asked = []
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, lambda *given, **_: asked.append(given))
    detector = PresidioDetector()
    text = "card 4111 1111 1111 1111, mail joe@example.com, wallet 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
    found = {(text[span.start : span.end], span.kind) for span in find_spans(text, [detector])}
    assert {("4111 1111 1111 1111", "card"), ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "crypto")} <= found
    with pytest.raises(BadInputError, match="nothing is downloaded"):
        PresidioDetector("en_core_web_none")
    assert asked == []
