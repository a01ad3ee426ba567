"""The detectors that are shipped, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipelines.detect.card import CardDetector
from pipelines.detect.detector import Detector
from pipelines.detect.email import EmailDetector
from pipelines.detect.iban import IbanDetector
from pipelines.detect.network import NetworkDetector
from pipelines.detect.phone import PhoneDetector
from pipelines.detect.presidio import PresidioDetector
from pipelines.detect.secret import SecretDetector
from pipelines.errors import BadInputError

DETECTORS: Mapping[str, Callable[[str | None], Detector]] = {
    "email": lambda _region: EmailDetector(),
    "iban": lambda _region: IbanDetector(),
    "card": lambda _region: CardDetector(),
    "network": lambda _region: NetworkDetector(),
    "phone": PhoneDetector,
    "secret": lambda _region: SecretDetector(),
}
"""Name → a detector for a region."""


def named_detector(name: str, region: str | None) -> Detector:
    """A shipped one, or `presidio`.

    Raises:
        BadInputError: There is none of this name, no such region, or the extra is not installed.
    """
    if name == PresidioDetector.name:
        return PresidioDetector()
    if name not in DETECTORS:
        raise BadInputError(
            f"detector {name!r}: there is none; there are {', '.join(DETECTORS)}, and {PresidioDetector.name}"
        )
    return DETECTORS[name](region)


def shipped_detectors(region: str | None) -> list[Detector]:
    """One of each class.

    Args:
        region: Two letters of ISO 3166 whose national forms of phone numbers count, such as `US`, or None for international numbers and
            those beside a word for a phone.

    Raises:
        BadInputError: There is no such region.
    """
    return [make(region) for make in DETECTORS.values()]
