"""The experiment file: what is compared with what, read and checked before anything runs.

A key that this version does not act on is refused, never ignored: a budget that nobody checks would be worse than none.
What the fields mean for the numbers is decided where they are used; here is only their form.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import BadInputError
from pipelines.stats.gate import parse_gate

Mode = Literal["decision", "conversation", "single"]
SEGMENTS = ("source", "agent", "vertical", "channel", "task")
"""Columns of a unit that results can be split by."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_DAYS = re.compile(r"([1-9]\d{0,3})d")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("use lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return value


def _callable(value: str) -> str:
    if not _CALLABLE.fullmatch(value):
        raise ValueError("write module:function, for example my_agent:decide")
    return value


def _gate(value: str) -> str:
    parse_gate(value)
    return value


def _time(value: Any) -> Any:
    """Dates mean midnight; times without a zone are UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("write a date or time such as 2026-10-01 or 2026-10-01T12:00:00Z") from None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recorded(_Strict):
    """Recorded conversations: all, or those of one source and variant."""

    source: str | None = None
    variant: str | None = None

    def describe(self) -> str:
        """In words, for a page."""
        return " ".join(["recorded", *(text for text in (self.source, self.variant) if text)])


class Baseline(_Strict):
    """Side A: what happened."""

    recorded: Recorded = Recorded()


class Candidate(_Strict):
    """Side B: exactly one of a recorded variant, a Python callable, or the recording itself (`echo: true`)."""

    recorded: Recorded | None = None
    python: Annotated[str, AfterValidator(_callable)] | None = None
    echo: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Candidate:
        given = [kind for kind in ("recorded", "python", "echo") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of recorded, python, echo; given: {', '.join(given) or 'none'}")
        return self

    @property
    def kind(self) -> Literal["recorded", "python", "echo"]:
        """Which of the three it is."""
        return "recorded" if self.recorded is not None else "python" if self.python is not None else "echo"

    def describe(self) -> str:
        """In words, for a page."""
        if self.recorded is not None:
            return self.recorded.describe()
        return f"python {self.python}" if self.python is not None else "echo: the recording itself"


Time = Annotated[datetime, BeforeValidator(_time)]


class Window(_Strict):
    """Half-open, UTC, over the conversation's start. `last: 7d` is that many whole days before the newest event."""

    last: str | None = None
    start: Time | None = Field(default=None, alias="from")
    stop: Time | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _form(self) -> Window:
        if self.last is not None and (self.start or self.stop):
            raise ValueError("give either last or from/to")
        if self.last is not None and not _DAYS.fullmatch(self.last):
            raise ValueError(f"last is {self.last!r}; write a number of days such as 7d")
        if self.start and self.stop and self.start >= self.stop:
            raise ValueError(f"from {self.start:%F %T} is not before to {self.stop:%F %T}")
        return self

    @property
    def is_relative(self) -> bool:
        """Whether it depends on where the log ends."""
        return self.last is not None

    def resolve(self, newest: datetime | None) -> tuple[datetime | None, datetime | None]:
        """The bounds, given the time of the newest event that may enter; None for no bound."""
        if self.last is None:
            return self.start, self.stop
        if newest is None:
            return None, None
        stop = newest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return stop - timedelta(days=int(self.last[:-1])), stop


def _window(value: Any) -> Any:
    return {"last": "1d"} if value == "yesterday" else value


class Sample(_Strict):
    """A random sample of conversations: the same for the same seed."""

    conversations: int = Field(gt=0)
    seed: int = 0


class Metric(_Strict):
    """A number per side of a unit: a SQL expression, the direction that is good, and the difference that matters.

    The expression is evaluated for each side of each unit over the columns `text`, `tool_calls` (a list of structs with
    `name` and `arguments`, JSON), `call_count`, `output_tokens`, `latency_ms` and `cost_usd`.
    """

    sql: str
    goal: Literal["higher", "lower"] | None = None
    margin: float | None = Field(default=None, gt=0)


class Experiment(_Strict):
    """One experiment file."""

    experiment: Annotated[str, AfterValidator(_name)]
    baseline: Baseline = Baseline()
    candidate: Candidate
    mode: Mode = "decision"
    window: Annotated[Window, BeforeValidator(_window)] = Window()
    where: str | None = None
    sample: Sample | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)
    primary: str | None = None
    segments: tuple[Literal["source", "agent", "vertical", "channel", "task"], ...] = Field(default=(), strict=False)
    gate: Annotated[str, AfterValidator(_gate)] | None = None
    active: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        if self.candidate.kind == "recorded" and self.mode != "conversation":
            raise ValueError(f"a recorded candidate is compared in mode conversation, not {self.mode}")
        if self.candidate.kind == "python" and self.mode == "conversation":
            raise ValueError("a python candidate is compared in mode decision or single, not conversation")
        for name in self.metrics:
            if not _METRIC.fullmatch(name):
                raise ValueError(f"metric {name!r}: use lower-case letters, digits and '_', beginning with a letter")
        return self

    def to_json(self) -> str:
        """The experiment as JSON text with sorted keys, defaults included; equal text means equal meaning."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """Hash of `to_json`, hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def parse_experiment(text: str, origin: str) -> Experiment:
    """Read an experiment from YAML (or JSON) text.

    Args:
        text: The file's content.
        origin: Where it came from, for errors.

    Raises:
        BadInputError: Not YAML, an unknown or unsupported key, or a value that does not fit; every fault is named.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInputError(f"{origin}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise BadInputError(
            f"{origin}: an experiment is a mapping with the key `experiment`; this is {type(document).__name__}"
        )
    try:
        return Experiment.model_validate_json(json.dumps(document, default=_plain))
    except ValidationError as error:
        raise BadInputError(f"{origin}: " + "; ".join(_faults(error))) from None
    except BadInputError as error:
        raise BadInputError(f"{origin}: {error}") from error


def read_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        BadInputError: It cannot be read, or is not an experiment.
    """
    try:
        return parse_experiment(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"]) or "experiment"
        if fault["type"] == "extra_forbidden":
            faults.append(f"{place} is not a key that this version knows")
        else:
            faults.append(f"{place}: {fault['msg'].removeprefix('Value error, ')}")
    return faults
