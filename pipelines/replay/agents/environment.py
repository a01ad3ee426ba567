"""What a candidate's process finds in its environment: nothing of this one's that could open a door, and the gateway in place of providers."""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = frozenset(("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"))
"""Variables that programs need and that hold no secret; and `LC_…`. All others are left out: no list of secrets would be complete."""
PLACEHOLDER_KEY = "refold-placeholder"
"""Stands for an API key: clients refuse to start without one, and the gateway looks at none."""
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
_OPENAI_URLS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""The official clients' name, and that of LiteLLM and of LangChain's older ones."""
_ANTHROPIC_URLS = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_API_URL")
_QUIET = {
    "DO_NOT_TRACK": "1",
    "OTEL_SDK_DISABLED": "true",
    "OPENAI_AGENTS_DISABLE_TRACING": "true",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGFUSE_TRACING_ENABLED": "false",
    "LOGFIRE_SEND_TO_LOGFIRE": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "AGNO_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "ANONYMIZED_TELEMETRY": "false",
    "MASTRA_TELEMETRY_DISABLED": "1",
    "TRACELOOP_TELEMETRY": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NEXT_TELEMETRY_DISABLED": "1",
}
"""Turns off what frameworks report and fetch by themselves: a replay is no traffic of the agent's owner."""


def environment_of(
    own: Mapping[str, str], model_url: str, task: Mapping[str, str], named: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a candidate's process.

    Args:
        own: This process's.
        model_url: Where its model calls go, with `/v1`.
        task: What the run adds.
        named: What the experiment names; it goes before all else.
    """
    kept = {name: value for name, value in own.items() if name in _KEPT or name.startswith("LC_")}
    keys = dict.fromkeys(_KEYS, PLACEHOLDER_KEY)
    openai = dict.fromkeys(_OPENAI_URLS, model_url)
    anthropic = dict.fromkeys(_ANTHROPIC_URLS, model_url.removesuffix("/v1"))
    # a Python program's answer is there when it is printed
    return {**kept, "PYTHONUNBUFFERED": "1", **_QUIET, **keys, **openai, **anthropic, **task, **named}
