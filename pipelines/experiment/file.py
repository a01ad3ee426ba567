"""The experiment file: what is compared with what, read and checked before anything runs.

A key that this version does not act on is refused, never ignored: a budget that nobody checks would be worse than none.
What the fields mean for the numbers is decided where they are used; here is only their form.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipelines.documents import Document, DocumentError, parse_yaml, read_document
from pipelines.experiment.budget import Budget
from pipelines.experiment.metrics import Cluster, Metric, NoiseFloor, NoiseFloorOrSize, Rule
from pipelines.experiment.prices import load_prices
from pipelines.experiment.sides import (
    MOST,
    NAME,
    Api,
    Baseline,
    Candidate,
    Control,
    Judge,
    NamedCandidate,
    Side,
    as_one,
    of_the_file,
    require_names,
    require_one_control,
)
from pipelines.experiment.strict import StrictModel, read_model
from pipelines.experiment.window import Window, WindowOrName
from pipelines.stats.gate import parse_gate

Mode = Literal["decision", "turn", "conversation", "single"]
DivergenceLevel = Literal["name", "args", "bytes"]
Past = Literal["stop", "continue"]
SEGMENTS = ("source", "agent", "vertical", "channel", "task")
"""Columns of a unit that results can be split by."""

_NAME = re.compile(f"{NAME}(?:/{NAME})?")
"""Of an experiment, or of one of its candidates, which no file names itself."""
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_REASON = 2_000
_NIGHTLY = ("1d", "7d")
"""Windows of experiments that ask a model by themselves: yesterday, or the last seven days."""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("use lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return value


def _reason(value: str) -> str:
    if not value.strip() or len(value) > _MAX_REASON or "\x00" in value:
        raise ValueError(f"say why in a text of {_MAX_REASON:,} characters at most, or leave it out")
    return value.strip()


def _gate(value: str) -> str:
    parse_gate(value)
    return value


class Sample(StrictModel):
    """A random sample of conversations: the same for the same seed.

    Attributes:
        conversations: How many.
        seed: Another number, another sample.
    """

    conversations: int = Field(gt=0)
    seed: int = 0


class Tools(StrictModel):
    """What a candidate may call, and how its calls are answered from the recording; no tool is ever executed.

    Attributes:
        schemas: JSON file of tool schemas that are offered instead of those recorded, relative to the experiment.
        manifest: YAML file that says what tools do, likewise.
        on_miss: What a call without a recorded result gets: `stop` ends the unit as `diverged`, `stub_error` answers with
            an error and taints everything after it.
        unknown: Tools of which nothing is known make what follows them `unverified`, or are taken for `read` or `write`.
        max_steps: Messages with tool calls that a candidate may write in a row, or as many as were recorded there.
    """

    schemas: str | None = Field(default=None, min_length=1)
    manifest: str | None = Field(default=None, min_length=1)
    on_miss: Literal["stop", "stub_error"] = "stop"
    unknown: Literal["unverified", "read", "write"] = "unverified"
    max_steps: int = Field(default=50, ge=1, le=10_000)


class Divergence(StrictModel):
    """When a candidate that walks on its own no longer does what was recorded, and what then.

    Attributes:
        level: Tool calls differ by their names, by their arguments (normalised, as the manifest says), or by their bytes.
        past: `stop` ends before the next recorded input; `continue` goes on, and all further steps are `off_policy`.
    """

    level: DivergenceLevel = "args"
    past: Past = "stop"


class Experiment(StrictModel):
    """One experiment file.

    Attributes:
        experiment: Its name: lower-case letters, digits, `.`, `_` and `-`.
        reason: Why recorded texts are sent to an endpoint that is not on this machine, for the record of accesses; left out: the
            experiment's name. Without a word of whom they are about.
        baseline: Side A: what was recorded.
        candidate: Side B: exactly one of `model`, `python`, `agent`, `command`, `recorded`, `echo`.
        candidates: Or several, each with a `name`: all over the same units, beside one control. Each is an experiment of its own,
            `EXPERIMENT/NAME`, with its versions, its gate and its budget; `refold ab` compares them with each other, too.
        control: What stands for today's agent, to measure the noise of being asked anew.
        mode: What is paired: `decision`, `turn`, `conversation`, or `single` (the first decision after the first user's text).
        window: Which conversations, by when they started: `yesterday`, `7d` (whole UTC days before the day of the last export),
            or `{from: 2026-01-01, to: 2026-02-01}`; left out: all.
        windows: Several of them, each a version of its own.
        where: SQL over the conversations, such as `source = 'shop' AND vertical = 'healthcare'`; columns: `refold sql --tables`,
            `conversations`.
        units_file: JSON lines that name the units which are compared, and no others, relative to the experiment; `refold review --pin`
            writes one. What it says is a part of the version.
        sample: A random part of the conversations.
        tools: What the candidate may call, and how its calls are answered.
        divergence: When a candidate that walks on its own no longer does what was recorded.
        metrics: Numbers per side of a unit, by name.
        expect: Rules on actions, checked on both sides.
        primary: The metric that decides.
        segments: Columns by which results are split.
        cluster: What counts as one independent observation.
        gate: Clauses that must hold, such as `refund_usd non_inferior; same_calls >= 0.9`; else exit code 3.
        noise_floor: Conversations in which both are asked twice: a number, or `true` for 500.
        budget: What may be spent, and how fast.
        judge: A model that says of pairs which side is better; shown only beside its agreement with the verdicts of people.
        batch: Whether models are asked in batches, which take up to a day and cost less: `refold ab` submits them and ends, and
            the next one, or the sensor `finished_batches`, goes on. In mode `decision` or `single`.
        workers: Processes for a Python candidate that depends on nothing but the decision; 0: this one.
        active: Whether the nightly schedule runs it.
    """

    experiment: Annotated[str, AfterValidator(_name)]
    reason: Annotated[str, AfterValidator(_reason)] | None = None
    baseline: Baseline = Baseline()
    candidate: Candidate
    candidates: tuple[NamedCandidate, ...] = Field(default=(), strict=False, max_length=MOST)
    control: Control | None = None
    mode: Mode = "decision"
    window: WindowOrName = Window()
    windows: tuple[WindowOrName, ...] = Field(default=(), strict=False)
    where: str | None = None
    units_file: str | None = Field(default=None, min_length=1)
    sample: Sample | None = None
    tools: Tools = Tools()
    divergence: Divergence = Divergence()
    metrics: dict[str, Metric] = Field(default_factory=dict)
    expect: tuple[Rule, ...] = Field(default=(), strict=False)
    primary: str | None = None
    segments: tuple[Literal["source", "agent", "vertical", "channel", "task"], ...] = Field(default=(), strict=False)
    cluster: Cluster = "conversation"
    gate: Annotated[str, AfterValidator(_gate)] | None = None
    noise_floor: NoiseFloorOrSize | None = None
    budget: Budget = Budget()
    judge: Judge | None = None
    batch: bool = False
    workers: int = Field(default=0, ge=0, le=256)
    active: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        if not self.candidates:
            self.require_fit()
            return self
        require_names(self.candidates)
        if self.control is not None and self.control.kind == "model" and self.control.base_url is None:
            require_one_control(self.candidates)
        for named, each in zip(self.candidates, self.by_candidate(), strict=True):
            try:
                each.require_fit()
            except ValueError as error:
                raise ValueError(f"candidates: {named.name}: {error}") from error
        return self

    def require_fit(self) -> None:
        """What is about more than one key."""
        if self.candidate.kind == "recorded" and self.mode != "conversation":
            raise ValueError(f"a recorded candidate is compared in mode conversation, not {self.mode}")
        if self.workers and self.candidate.kind != "python":
            raise ValueError(
                f"workers: processes of their own are for a Python callable, not for {self.candidate.kind}"
            )
        if self.workers and self.control is not None:
            raise ValueError("workers: a control is asked in this process; leave workers out")
        if self.control is not None:
            self._require_comparable(self.control)
        if (
            self.control is not None
            and self.control.kind == "model"
            and not (self.control.base_url or self.candidate.base_url)
        ):
            raise ValueError("control.base_url: a model needs the address of its endpoint")
        self._require_windows()
        self._require_nightly()
        self._require_wires()
        self._require_walks()
        asks_models = any(asked.asks_models for asked in self.sides.values())
        checked = {"concurrency"} if self.candidate.kind in ("python", "agent") else set()
        given = {name for name, value in self.budget if value != Budget.model_fields[name].default}
        unchecked = sorted(given - checked)
        if unchecked and not asks_models:
            raise ValueError(
                f"budget: {', '.join(unchecked)} bounds what models are asked, and this experiment asks none"
            )
        self._require_batch(given, asks_models=asks_models)
        self._require_judge()
        names = [*self.metrics, *(rule.name for rule in self.expect)]
        for name in names:
            if not _METRIC.fullmatch(name):
                raise ValueError(f"metric {name!r}: use lower-case letters, digits and '_', beginning with a letter")
            if names.count(name) > 1:
                raise ValueError(f"metric {name!r} is named twice among metrics and expect; give each its own name")

    def _require_judge(self) -> None:
        """A judge is asked as a candidate is."""
        if self.judge is None:
            return
        try:
            self.for_judge().require_fit()
        except ValueError as error:
            raise ValueError(f"judge: {error}") from error

    def _require_wires(self) -> None:
        """Over Messages an address has no version in it, which is a part of the wire's own path, and every reply has a bound."""
        for side, asked in self.sides.items():
            if asked.kind != "model" or self.api_of(side) != "messages":
                continue
            base_url, _ = self.endpoint_of(side)
            if base_url.endswith("/v1"):
                raise ValueError(
                    f"{side}.base_url: over messages an address ends before /v1: {base_url.removesuffix('/v1')}"
                )
            if "max_tokens" not in self.params_of(side):
                raise ValueError(
                    f"{side}.params: messages needs max_tokens, and no price table bounds a reply of {asked.model}; write max_tokens, "
                    "or price: {max_output_tokens: …}"
                )

    def _require_walks(self) -> None:
        """An agent acts in turns, its messages taking the place of the recorded ones."""
        for side, asked in self.sides.items():
            if asked.is_agent and self.mode not in ("turn", "conversation"):
                raise ValueError(
                    f"{side}: an agent acts in a whole turn; use mode turn or conversation, not {self.mode}"
                )

    def _require_windows(self) -> None:
        """Several windows are different ones, and all of them; what is named unit by unit is no sample."""
        if self.units_file is not None and self.sample is not None:
            raise ValueError("units_file: the units are named; leave sample out")
        if self.windows and self.window != Window():
            raise ValueError("give either window or windows")
        if len(set(self.windows)) < len(self.windows):
            raise ValueError("windows: the same window is named twice")

    def _require_batch(self, bounds: set[str], *, asks_models: bool) -> None:
        """A batch is of single requests to models, and its provider's pace is its own."""
        if not self.batch:
            return
        if not asks_models:
            raise ValueError("batch: models are asked in batches, and this experiment asks none")
        if self.mode not in ("decision", "single"):
            raise ValueError(f"batch: in mode {self.mode} each request follows from an answer; use decision or single")
        unchecked = sorted(bounds & {"concurrency", "rpm", "tpm", "off_peak"})
        if unchecked:
            raise ValueError(f"budget: {', '.join(unchecked)} bounds the pace of calls, which a batch does not have")

    def _require_comparable(self, control: Control) -> None:
        """Draws are compared with draws of the same kind: complete recorded runs, or answers to the same contexts."""
        if self.candidate.kind == "echo":
            raise ValueError("control: an echo candidate is not asked anew, so nothing is to be set beside it")
        if (control.kind == "recorded") != (self.candidate.kind == "recorded"):
            raise ValueError(
                f"control: {control.kind} cannot be set beside a {self.candidate.kind} candidate: it is not asked anew; "
                "recorded runs are compared with recorded runs, and who is asked with who is asked"
            )

    def _require_nightly(self) -> None:
        """What costs money every night must say how much, and must not begin anew with all of history."""
        if not self.active or not any(asked.asks_models for asked in self.sides.values()):
            return
        if self.budget.usd is None and self.budget.requests is None:
            raise ValueError("active: a model that is asked every night needs budget.usd or budget.requests")
        if any(each.window.last not in _NIGHTLY for each in self.by_window()):
            raise ValueError("active: a model is asked every night about `window: yesterday` or `window: {last: 7d}`")

    @property
    def access_reason(self) -> str:
        """Why texts are sent away: `reason`, or the name."""
        return self.reason or self.experiment

    def by_window(self) -> list[Experiment]:
        """The experiment once per window, in the order given; itself alone when it has one. Each is a version of its own."""
        if not self.windows:
            return [self]
        return [self.model_copy(update={"window": window, "windows": ()}) for window in self.windows]

    def for_judge(self) -> Experiment:
        """What its judge is asked by: the judge in the candidate's place, over its endpoint and within its budget."""
        assert self.judge is not None
        only = {
            "candidate": self.judge.asked,
            "budget": self.judge.budget,
            "control": None,
            "candidates": (),
            "noise_floor": None,
            "judge": None,
        }
        return self.model_copy(update={**only, "mode": "decision", "batch": False, "workers": 0})

    def by_candidate(self) -> list[Experiment]:
        """The experiment once per candidate, in the order given; itself alone when it has one. Each has a name of its own."""
        if not self.candidates:
            return [self]
        return [
            self.model_copy(
                update={"experiment": f"{self.experiment}/{each.name}", "candidate": each.alone, "candidates": ()}
            )
            for each in self.candidates
        ]

    @property
    def sides(self) -> dict[Side, Candidate | Control]:
        """Who answers, by side; a control is there only when the experiment has one."""
        return {"candidate": self.candidate, **({"control": self.control} if self.control is not None else {})}

    @property
    def noise(self) -> NoiseFloor | None:
        """The noise floor's sample; a control is for nothing else, so with one there is a sample. None for no noise floor."""
        return self.noise_floor or (NoiseFloor() if self.control is not None else None)

    def draws_of(self, side: Side) -> tuple[int, int]:
        """How often a side is asked about every unit, and about those in the noise floor's sample.

        One draw says nothing of its own noise, so in the sample there are two at least. Nobody needs a control elsewhere.
        Recorded runs are as many draws as variants and runs are named, everywhere.
        """
        asked = self.sides[side]
        if asked.recorded is not None:
            return (len(asked.recorded.draws),) * 2
        if self.control is None:
            return asked.draws, asked.draws
        return (asked.draws if side == "candidate" else 0), max(asked.draws, 2)

    def endpoint_of(self, side: Side) -> tuple[str, str | None]:
        """Address and variable of the key of a side that is a model.

        A control is asked at the candidate's endpoint, with its key, unless it names one of its own.
        """
        if side == "control" and self.control is not None and self.control.base_url is not None:
            return self.control.base_url, self.control.api_key_env
        own_key = self.control.api_key_env if side == "control" and self.control is not None else None
        assert self.candidate.base_url is not None  # checked when the experiment was read
        return self.candidate.base_url, own_key or self.candidate.api_key_env

    def api_of(self, side: Side) -> Api:
        """The wire that a side which is a model is asked over; a control at the candidate's endpoint speaks what is spoken there."""
        asked = self.sides[side]
        is_there = side == "control" and asked.base_url is None
        return asked.api or (self.candidate.api if is_there else None) or "chat"

    def params_of(self, side: Side) -> dict[str, Any]:
        """Parameters of a side's requests: as given, and over Messages, which demands a bound of the reply, the model's own."""
        asked = self.sides[side]
        if self.api_of(side) != "messages" or "max_tokens" in asked.params or asked.model is None or asked.is_agent:
            return asked.params
        price = asked.price or load_prices().find(
            asked.model
        )  # of the shipped table: a version is no matter of the machine
        bound = price.max_output_tokens if price is not None else None
        return asked.params if bound is None else {**asked.params, "max_tokens": bound}

    def is_kept_by(self, side: Side) -> bool | None:
        """Whether the endpoint of a side is asked to keep what it is sent (`store`); None on a wire that does not keep by itself."""
        if self.sides[side].kind != "model" or self.api_of(side) != "responses":
            return None
        return self.params_of(side).get("store", False) is not False

    def to_json(self) -> str:
        """The experiment as JSON text with sorted keys, defaults included; equal text means equal meaning."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """Hash of `to_json`, hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def is_walked(experiment: Experiment) -> bool:
    """Whether side B acts on its own, step by step, instead of once per unit or as it was recorded."""
    return experiment.mode in ("turn", "conversation") and experiment.candidate.kind != "recorded"


def parse_experiment(text: str, origin: str) -> Experiment:
    """Read an experiment from YAML text.

    Args:
        text: The file's content.
        origin: Where it came from, for errors.

    Raises:
        BadInputError: Not YAML, an unknown or unsupported key, or a value that does not fit; every fault is named.
    """
    return experiment_of(parse_yaml(text, origin))


def experiment_of(document: Document) -> Experiment:
    """The experiment that a document says.

    Raises:
        BadInputError: It says none; every fault is named, with its line.
    """
    if not isinstance(document.value, dict):
        document.refuse(
            [((), f"an experiment is a mapping with the key `experiment`; this is {type(document.value).__name__}")]
        )
    # what is sent as it stands must not be taken for something else than its writer meant
    doubts = [(place, told) for place, told in document.doubtful.items() if "params" in place[1:3]]
    if doubts:
        document.refuse(doubts)
    if "/" in str(document.value.get("experiment")):
        document.refuse(
            [(("experiment",), "experiment: a name has no '/'; candidates are named with candidates: [{name: …}]")]
        )
    if not document.value.get("candidates"):
        return read_model(document, Experiment)
    try:
        return read_model(replace(document, value=as_one(document)), Experiment)
    except DocumentError as error:
        document.refuse(of_the_file(error.findings) or error.findings)


def recall_experiment(document: Document) -> Experiment:
    """The experiment that the lake keeps: as `experiment_of`, and of a candidate's own name, too."""
    return read_model(document, Experiment)


def read_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        BadInputError: It cannot be read, or is not an experiment.
    """
    return experiment_of(read_document(path, ""))
