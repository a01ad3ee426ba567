"""Several candidates in one file: each is an experiment of its own, `EXPERIMENT/CANDIDATE`, over the same units as the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from pipelines.documents import Document, Place
from pipelines.experiment.sides import Candidate

MOST = 20
"""Candidates of a file."""
NAME = r"[a-z0-9][a-z0-9._-]{0,99}"
_NAME = re.compile(NAME)


def candidate_name(value: str) -> str:
    """A name as it stands in `EXPERIMENT/CANDIDATE`; two that differ in case alone are none, since there is no upper case."""
    if not _NAME.fullmatch(value):
        raise ValueError("use lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return value


class NamedCandidate(Candidate):
    """One of several candidates: a candidate with a name.

    Attributes:
        name: Its versions are those of `EXPERIMENT/NAME`: lower-case letters, digits, `.`, `_` and `-`.
    """

    name: Annotated[str, AfterValidator(candidate_name)]

    @property
    def alone(self) -> Candidate:
        """Side B of its own experiment."""
        return Candidate(**{name: getattr(self, name) for name in Candidate.model_fields})


def require_names(candidates: Sequence[NamedCandidate]) -> None:
    """Check that every candidate has a name of its own.

    Raises:
        ValueError: Two have the same.
    """
    names = [each.name for each in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"candidates: {', '.join(twice)} is named twice; give each its own name")


def require_one_control(candidates: Iterable[Candidate]) -> None:
    """Check that a control without an endpoint of its own is asked at one: the candidates' must be the same.

    Raises:
        ValueError: They are not.
    """
    places = {(each.base_url, each.api, each.api_key_env) for each in candidates}
    if len(places) > 1:
        raise ValueError(
            "control.base_url: the candidates are asked at different endpoints, and the control is one for all; name its own"
        )


def as_one(document: Document) -> Any:
    """What a file with `candidates` says, with the first of them as `candidate`: what all experiments have.

    Raises:
        DocumentError: It has both keys.
    """
    value = document.value
    if "candidate" in value:
        document.refuse([(("candidates",), "give either candidate or candidates")])
    first = value["candidates"][0] if isinstance(value["candidates"], list) and value["candidates"] else None
    if not isinstance(first, dict):
        document.refuse([(("candidates",), "candidates is a list of candidates, each with a name")])
    return {**value, "candidate": {key: each for key, each in first.items() if key != "name"}}


def of_the_file(findings: Iterable[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Findings without those about the candidate that `as_one` made: they stand where it is written."""
    return [(place, told) for place, told in findings if place[:1] != ("candidate",)]
