"""A whole agent as a side of an experiment: a program that acts in a recorded turn, its models and tools behind a gateway."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipelines.experiment.strict import StrictModel

_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIMEOUT_SECONDS = 600.0


def callable_name(value: str) -> str:
    """Check the form `module:function`."""
    if not _CALLABLE.fullmatch(value):
        raise ValueError("write module:function, for example my_agent:decide")
    return value


def variable_name(value: str) -> str:
    """Check the form of an environment variable's name."""
    if not _VARIABLE.fullmatch(value):
        raise ValueError("write the name of an environment variable, never a key itself")
    return value


class AgentSide(StrictModel):
    """What is said of an agent; all of it left out where a side is none.

    Attributes:
        agent: A Python function `module:function`, looked for beside the experiment; it is given a `Session` and returns its final
            text.
        command: Or a program in any language, as a list of words, run in the experiment's folder.
        protocol: How a command is talked to: `lines`, one of JSON per unit each way.
        answers: `recorded` answers its model calls with the recorded decisions by their place, and checks what it asks; left out, an
            endpoint does.
        files: Files and folders, relative to the experiment, whose content is the command: a change of one is another version. Words of
            the command that are files there are among them.
        env: Environment variables of a command, beside the few that every program gets; no keys: they are in no place that an agent sees.
        timeout_seconds: For one run of the agent, a turn.
        memory_mb: Of a command and all that it starts, in megabytes of 10^6 bytes; left out, no bound.
        sandbox: Whether it runs without a network but the gateway, and without writing anywhere but in a scratch folder.
    """

    agent: Annotated[str, AfterValidator(callable_name)] | None = None
    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)] | None = None
    protocol: Literal["lines"] | None = None
    answers: Literal["recorded"] | None = None
    files: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    env: dict[Annotated[str, AfterValidator(variable_name)], str] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=_TIMEOUT_SECONDS, gt=0, le=86_400)
    memory_mb: int | None = Field(default=None, gt=0)
    sandbox: bool = False

    @property
    def is_agent(self) -> bool:
        """Whether this side is an agent."""
        return self.agent is not None or self.command is not None

    @model_validator(mode="after")
    def _of_an_agent(self) -> Self:
        names = ("protocol", "answers", "files", "env", "memory_mb", "sandbox")
        given = [name for name in names if getattr(self, name)]
        # what is registered says every default: to say one is to say nothing
        given += ["timeout_seconds"] if self.timeout_seconds != _TIMEOUT_SECONDS else []
        if given and not self.is_agent:
            raise ValueError(f"{', '.join(given)} belong to an agent; name it with agent or command")
        if self.command is not None and self.protocol is None:
            raise ValueError("protocol: a command is talked to in lines; write protocol: lines")
        if self.agent is not None and self.protocol is not None:
            raise ValueError("protocol: belongs to a command")
        if self.agent is not None and not self.sandbox:
            of_process = [name for name in ("env", "memory_mb", "files") if getattr(self, name)]
            if of_process:
                raise ValueError(
                    f"{', '.join(of_process)}: an agent in this process has none of its own; use command, or sandbox: true"
                )
        return self

    def describe_agent(self) -> str:
        """In words, for a page."""
        name = self.agent or " ".join(self.command or ())
        where = " in a sandbox" if self.sandbox else ""
        by = ", answered by the recording" if self.answers else ""
        return f"agent {name}{where}{by}"
