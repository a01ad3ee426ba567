"""The detectors that are shipped, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipelines.detect.card import CardDetector
from pipelines.detect.detector import Detector
from pipelines.detect.email import EmailDetector
from pipelines.detect.iban import IbanDetector
from pipelines.detect.network import NetworkDetector
from pipelines.detect.phone import PhoneDetector
from pipelines.detect.secret import SecretDetector

DETECTORS: Mapping[str, Callable[[str | None], Detector]] = {
    "email": lambda _region: EmailDetector(),
    "iban": lambda _region: IbanDetector(),
    "card": lambda _region: CardDetector(),
    "network": lambda _region: NetworkDetector(),
    "phone": PhoneDetector,
    "secret": lambda _region: SecretDetector(),
}
"""Name → a detector for a region."""


def shipped_detectors(region: str | None) -> list[Detector]:
    """One of each class.

    Args:
        region: Two letters of ISO 3166 whose national forms of phone numbers count, such as `US`, or None for international numbers and
            those beside a word for a phone.

    Raises:
        BadInputError: There is no such region.
    """
    return [make(region) for make in DETECTORS.values()]
