"""Who is compared with whom: the form of `baseline`, `candidate` and `control` in an experiment file.

How each of them is asked is decided elsewhere; here is only what may be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipelines.address import read_address
from pipelines.documents import Document, Place
from pipelines.experiment.agents import AgentSide, callable_name, variable_name
from pipelines.experiment.budget import Budget
from pipelines.experiment.prices import Price
from pipelines.experiment.strict import StrictModel

Side = Literal["candidate", "control"]
"""Who is asked: the side that is tried, or the one that the noise floor is made of."""

Api = Literal["chat", "responses", "messages"]
"""The wire that a model is asked over: OpenAI's chat completions or Responses, Anthropic's Messages."""

FIRST_CONTROL_DRAW = 1_000
"""Draws of a candidate are 0, 1, 2 …, those of a control this and on: whatever K, the two never share a response, and
a larger K pays for the new draws alone."""

_OWN_PARAMS = frozenset(
    {
        "model",
        "messages",
        "tools",
        "stream",
        "stream_options",
        "n",
        "input",
        "instructions",
        "system",
        "prompt",
        "background",
    }
)
_KEPT_THERE = frozenset({"previous_response_id", "conversation", "container"})
"""Parameters that go on from what a provider has kept."""


def _base_url(value: str) -> str:
    read_address(value)
    return value.rstrip("/")


def _params(value: dict[str, Any]) -> dict[str, Any]:
    wrong = sorted(_OWN_PARAMS & value.keys())
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be set: requests are one message each, made from the recording")
    kept = sorted(_KEPT_THERE & value.keys())
    if kept:
        raise ValueError(
            f"{', '.join(kept)} cannot be set: what the endpoint keeps is no part of the recording; every request carries its whole "
            "context"
        )
    json.dumps(value, allow_nan=False)
    return value


class Recorded(StrictModel):
    """Recorded conversations: all, or those of one source and variant.

    Attributes:
        source: Where they were recorded; null: anywhere.
        variant: Which variant of the agent; null: any.
    """

    source: str | None = None
    variant: str | None = None

    def describe(self) -> str:
        """In words, for a page."""
        return " ".join(["recorded", *(text for text in (self.source, self.variant) if text)])


class RecordedRuns(StrictModel):
    """Recorded runs that stand for somebody who is asked: the first runs of each task, one draw per variant and run.

    Attributes:
        source: Where they were recorded; null: anywhere.
        variant: A variant of the agent, or a list of them.
        runs: How many runs of each task by a variant, the first ones, as the epochs of an evaluation.
    """

    source: str | None = None
    variant: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    runs: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variant: the same variant is named twice, and a run is one draw")
        return self

    @property
    def variants(self) -> tuple[str | None, ...]:
        """The variant of each draw; None for any."""
        return self.variant if isinstance(self.variant, tuple) else (self.variant,)

    @property
    def draws(self) -> tuple[tuple[str | None, int], ...]:
        """Variant and number of the run of each draw; all first runs, then all second ones."""
        return tuple((variant, run) for run in range(1, self.runs + 1) for variant in self.variants)

    def describe(self) -> str:
        """In words, for a page."""
        variants = " and ".join(variant for variant in self.variants if variant)
        return " ".join(["recorded", *(text for text in (self.source, variants) if text)])


def _variants(value: Any) -> Any:
    """A list of variants alone: of whatever source the task is."""
    return {"variant": value} if isinstance(value, list) else value


RunsOrVariants = Annotated[RecordedRuns, BeforeValidator(_variants, json_schema_input_type=RecordedRuns | list[str])]


class Baseline(StrictModel):
    """Side A: what happened.

    Attributes:
        recorded: Which recorded conversations.
    """

    recorded: Recorded = Recorded()


class Edit(StrictModel):
    """One replacement in the recorded system message.

    Attributes:
        find: Text that must be in it exactly once.
        replace: What stands there instead; `{{name}}` is a recorded variable.
    """

    find: str = Field(min_length=1)
    replace: str


class Asked(AgentSide):
    """Somebody who is asked anew: a model behind an endpoint, a Python callable, or an agent; `draws` times each.

    Attributes:
        model: Name of a model, as its endpoint knows it; of an agent the one that it may ask, left out: any.
        api: The wire it is asked over: `chat` (completions), `responses` or `messages`.
        base_url: Address of the endpoint, such as `http://127.0.0.1:8000/v1`; those that texts may go to are in
            `REFOLD_ENDPOINTS`.
        api_key_env: Environment variable that holds the key; the key itself is kept nowhere.
        prompt_file: File with a system message instead of the recorded one, beside the experiment; `{{name}}` is a recorded
            variable.
        prompt_edit: Or edits of the recorded system message, one after the other.
        params: Settings of each request, such as `temperature`, sent as they stand.
        price: What the model costs, where the price table does not know it.
        python: Or a Python callable `module:function`, looked for beside the experiment.
        draws: How often it is asked about each unit.
    """

    model: str | None = Field(default=None, min_length=1)
    api: Api | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    api_key_env: Annotated[str, AfterValidator(variable_name)] | None = None
    prompt_file: str | None = Field(default=None, min_length=1)
    prompt_edit: tuple[Edit, ...] = Field(default=(), strict=False)
    params: Annotated[dict[str, Any], AfterValidator(_params)] = Field(default_factory=dict)
    price: Price | None = None
    python: Annotated[str, AfterValidator(callable_name)] | None = None
    draws: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="after")
    def _of_a_model(self) -> Self:
        if self.prompt_file is not None and self.prompt_edit:
            raise ValueError("give either prompt_file or prompt_edit")
        names = ("api", "params", "base_url", "api_key_env", "prompt_file", "prompt_edit", "price")
        given = [name for name in names if getattr(self, name)]
        if self.is_agent:
            self._require_agent(given)
        elif self.model is None and given:
            raise ValueError(f"{', '.join(given)} belong to a model; name it with model")
        return self

    def _require_agent(self, given: list[str]) -> None:
        """An agent writes its own requests, over whichever wire it likes."""
        own = [name for name in given if name in ("api", "params")]
        if own:
            raise ValueError(f"{', '.join(own)}: an agent writes its requests itself")
        if self.answers and self.base_url is not None:
            raise ValueError("base_url: with answers: recorded no endpoint is asked")
        if self.base_url is None and (self.api_key_env or self.price):
            raise ValueError("api_key_env and price belong to an endpoint; name it with base_url")

    @property
    def asks_models(self) -> bool:
        """Whether an endpoint is asked for this side, by the replay or by an agent through the gateway."""
        return self.base_url is not None if self.is_agent else self.model is not None

    def _describe_model(self) -> str:
        prompt = (
            f" with {self.prompt_file}" if self.prompt_file else " with an edited prompt" if self.prompt_edit else ""
        )
        over = f" over {self.api}" if self.api not in (None, "chat") else ""
        return f"{self.model}{over}{prompt}"


class Candidate(Asked):
    """Side B: exactly one of a model, a Python callable, an agent, a recorded variant, or the recording itself (`echo: true`).

    Attributes:
        recorded: Or recorded runs of the same tasks, compared in mode `conversation`.
        echo: Or `true` for the recording itself, which must give no change.
    """

    recorded: RunsOrVariants | None = None
    echo: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = ("model", "python", "agent", "command", "recorded", "echo")
        given = [kind for kind in kinds if getattr(self, kind) is not None and not (kind == "model" and self.is_agent)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(kinds)}; given: {', '.join(given) or 'none'}")
        if self.kind == "model" and self.base_url is None:
            raise ValueError("base_url: a model needs the address of its endpoint, such as http://127.0.0.1:8000/v1")
        if self.draws > 1 and self.kind in {"recorded", "echo"}:
            raise ValueError(f"draws: {self.kind} is what it is; only a model or a callable can be asked again")
        return self

    @property
    def kind(self) -> Literal["model", "python", "agent", "recorded", "echo"]:
        """Which of the five it is."""
        if self.is_agent:
            return "agent"
        if self.model is not None:
            return "model"
        return "recorded" if self.recorded is not None else "python" if self.python is not None else "echo"

    def describe(self) -> str:
        """In words, for a page."""
        if self.is_agent:
            return self.describe_agent()
        if self.model is not None:
            return self._describe_model()
        if self.recorded is not None:
            return self.recorded.describe()
        return f"python {self.python}" if self.python is not None else "echo: the recording itself"


class Control(Asked):
    """What stands for the baseline today, for the noise floor: a model, a Python callable, an agent, or further recorded runs.

    A control on the candidate's model endpoint need not repeat `base_url` and `api_key_env`.

    Attributes:
        recorded: Or further recorded runs of the same tasks.
    """

    recorded: RunsOrVariants | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        model = None if self.is_agent else self.model
        if sum(given is not None for given in (model, self.python, self.agent, self.command, self.recorded)) != 1:
            raise ValueError("give exactly one of model, python, agent, command, recorded")
        if self.draws > 1 and self.recorded is not None:
            raise ValueError("draws: recorded runs are drawn by naming their variants")
        return self

    @property
    def kind(self) -> Literal["model", "python", "agent", "recorded"]:
        """Which of the four it is."""
        if self.is_agent:
            return "agent"
        return "model" if self.model is not None else "python" if self.python is not None else "recorded"

    def describe(self) -> str:
        """In words, for a page."""
        if self.is_agent:
            return self.describe_agent()
        if self.recorded is not None:
            return self.recorded.describe()
        return self._describe_model() if self.model is not None else f"python {self.python}"


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


class Judge(StrictModel):
    """A model that says of pairs which side is better: a number beside what people say, never instead of it.

    Each pair is put before it twice, the sides in both orders and without names; where the two disagree it is a tie, and so is a pair of sides that are alike, about which it is not asked. What it says
    is shown only together with how far it agrees with the verdicts of people. It is no part of a version.

    Attributes:
        model: Name of the model, as its endpoint knows it.
        api: The wire it is asked over: `chat` (completions), `responses` or `messages`.
        base_url: Address of the endpoint; those that texts may go to are in `REFOLD_ENDPOINTS`.
        api_key_env: Environment variable that holds the key.
        params: Settings of each request, such as `temperature`, sent as they stand.
        price: What the model costs, where the price table does not know it.
        rubric_file: File that says what is good, beside the experiment.
        pairs: How many pairs it judges: a uniform sample of those that both sides answered.
        seed: Another number, another sample.
        budget: What may be spent on one version, and how fast.
    """

    model: str = Field(min_length=1)
    api: Api = "chat"
    base_url: Annotated[str, AfterValidator(_base_url)]
    api_key_env: Annotated[str, AfterValidator(variable_name)] | None = None
    params: Annotated[dict[str, Any], AfterValidator(_params)] = Field(default_factory=dict)
    price: Price | None = None
    rubric_file: str = Field(min_length=1)
    pairs: int = Field(default=200, ge=1, le=100_000)
    seed: int = 0
    budget: Budget = Budget()

    @property
    def asked(self) -> Candidate:
        """The model, as one who is asked."""
        names = ("model", "api", "base_url", "api_key_env", "params", "price")
        return Candidate(**{name: getattr(self, name) for name in names})
