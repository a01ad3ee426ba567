"""A finding: what was looked at, how it stands, what was seen, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import RefoldError
from pipelines.foreign import describe, find_cause

State = Literal["ok", "warn", "fail"]
"""`warn`: it works and will not stay so, or should not be so. `fail`: something does not work, or may be lost."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What: a short name, of several findings where there is more to say.
        state: How it stands.
        seen: What was seen, one sentence without a full stop.
        todo: What to do; None where there is nothing to do.
    """

    check: str
    state: State
    seen: str
    todo: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings of a home.

    Attributes:
        home: The home.
        state: The worst of the findings' states.
        findings: In the order in which they were looked for.
    """

    home: str
    state: State
    findings: list[Finding]


def diagnose(home: str, findings: Iterable[Finding]) -> Diagnosis:
    """The findings with the worst of their states."""
    found = list(findings)
    states = {finding.state for finding in found}
    return Diagnosis(home, "fail" if "fail" in states else "warn" if "warn" in states else "ok", found)


def ask(check: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What `look` finds; what stops it is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a home that is broken is what this is for, and Rust's panics are no Exceptions
        cause = find_cause(error)
        words = str(cause) if isinstance(cause, RefoldError) else describe(cause)
        seen, _, todo = words.partition("; ")
        found.append(Finding(check, "fail", seen, todo or "see to that, and run `refold doctor` again"))
    return found
