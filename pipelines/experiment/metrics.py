"""What is measured and against what: the form of `metrics`, `expect`, `cluster` and `noise_floor` in an experiment file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipelines.experiment.agents import callable_name
from pipelines.experiment.strict import StrictModel

Cluster = Literal["conversation", "customer", "source", "agent", "vertical", "channel", "task", "variant"]
"""What counts as one independent observation: the conversation, or something coarser that it belongs to."""


class Metric(StrictModel):
    """A number per side of a unit, the direction that is good, and the difference that matters.

    Attributes:
        sql: An expression that is evaluated for each side of each unit over the columns `text`, `tool_calls` (a list of structs
            with `name` and `arguments`, JSON), `call_count`, `output_tokens`, `latency_ms` and `cost_usd`.
        python: Or a function `module:function`, looked for beside the experiment file, that is given each side of each unit as
            a `refold.UnitSide` and returns a number; or, when it takes two arguments, both sides of many units as Polars frames
            `a` and `b` and returns a Series: how far B is from A in each (A's value is 0 then).
        goal: Which direction is good; None for no direction, and then nothing is better or worse.
        margin: The largest difference that does not matter.
    """

    sql: str | None = None
    python: Annotated[str, AfterValidator(callable_name)] | None = None
    goal: Literal["higher", "lower"] | None = None
    margin: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.sql is None) == (self.python is None):
            raise ValueError("give either sql or python")
        return self


class Rule(StrictModel):
    """A rule on actions: a yes/no SQL expression over the columns of a metric; null where it does not apply.

    It is checked on both sides of every unit; `name` in a gate asks that it holds wherever it applies to side B.

    Attributes:
        name: Its name, for gate and results.
        sql: The expression, over the same columns as a metric's.
    """

    name: str
    sql: str


class NoiseFloor(StrictModel):
    """The conversations about which both sides are asked more than once, to tell a change from the model's own noise.

    Attributes:
        conversations: How many, chosen at random; all when there are fewer. Of 50 the excess has a standard error of about
            0.03, of 500 about 0.01.
        seed: The same seed chooses the same.
    """

    conversations: int = Field(default=500, gt=0)
    seed: int = 0


def _noise_floor(value: Any) -> Any:
    """`true` for the defaults, or a number of conversations."""
    if value is True:
        return {}
    if value is False:
        raise ValueError("write true or a number of conversations, or leave it out")
    return {"conversations": value} if isinstance(value, int) else value


NoiseFloorOrSize = Annotated[
    NoiseFloor, BeforeValidator(_noise_floor, json_schema_input_type=NoiseFloor | Literal[True] | int)
]
