"""The recognizers of Microsoft's Presidio as one more detector, where the extra `presidio` is installed; none of it is imported before.

Nothing is fetched, ever: without a model no model is loaded, a named one must be installed already (Presidio would download it), and the one
recognizer that asks for a list of domains, that of e-mail addresses, is left out, since `email` is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.detect.context import spelled_out
from pipelines.detect.detector import Span
from pipelines.errors import BadInputError

KINDS = {
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "network",
    "MAC_ADDRESS": "network",
    "PHONE_NUMBER": "phone",
}
"""Its names of classes that are shipped here, too; others are in small letters, such as `us_ssn` or `person`."""
_FETCHES = "EmailRecognizer"
_LANGUAGE = "en"
_WORD = re.compile(r"\w+")


class PresidioDetector:
    """What Presidio recognizes in English.

    Args of its constructor: `model`, an installed spaCy model for names of persons and places, or None for patterns alone; `least_score`,
    below which nothing is taken.
    """

    name = "presidio"

    def __init__(self, model: str | None = None, least_score: float = 0.4) -> None:
        self._engine = _make_engine(model)
        self._least_score = least_score

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        """Spans of all its classes; the words of the key are its context."""
        context = _WORD.findall(spelled_out(key).lower()) if key else None
        for result in self._engine.analyze(
            text, language=_LANGUAGE, context=context, score_threshold=self._least_score
        ):
            kind = KINDS.get(result.entity_type, result.entity_type.lower())
            yield Span(result.start, result.end, kind, min(result.score, 1.0))


def _make_engine(model: str | None) -> Any:
    try:
        import presidio_analyzer  # noqa: PLC0415 -- the extra need not be installed
        from presidio_analyzer import nlp_engine  # noqa: PLC0415
        from spacy.util import is_package  # noqa: PLC0415
    except ImportError:
        raise BadInputError(
            "the detector presidio needs the extra of that name: pip install 'refold[presidio]'"
        ) from None
    if model is not None and not is_package(model):
        raise BadInputError(
            f"the model is {model!r}, which is not installed as a package; nothing is downloaded: install it, or name none"
        )
    models = [{"lang_code": _LANGUAGE, "model_name": model or ""}]
    language = nlp_engine.SpacyNlpEngine(models=models) if model else nlp_engine.NoOpNlpEngine(models=models)
    engine = presidio_analyzer.AnalyzerEngine(nlp_engine=language, supported_languages=[_LANGUAGE])
    engine.registry.remove_recognizer(_FETCHES)
    return engine
