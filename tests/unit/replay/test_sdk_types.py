"""The judge of requests by the SDKs' types, judged: what is wrong is found, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from tests.support.sdk_types import faults_of

MESSAGE: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
RESPONSE: dict[str, Any] = {"model": "m", "input": [{"role": "user", "content": "Hi"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "kind", "fault"),
    [
        (MESSAGE, MessageCreateParamsNonStreaming, None),
        (RESPONSE, ResponseCreateParamsNonStreaming, None),
        ({**RESPONSE, "input": [CALL]}, ResponseCreateParamsNonStreaming, None),
        ({**MESSAGE, "max_tokens": "1"}, MessageCreateParamsNonStreaming, "max_tokens: '1' is no"),
        ({**MESSAGE, "seed": 1}, MessageCreateParamsNonStreaming, "seed is not known"),
        ({"model": "m", "messages": []}, MessageCreateParamsNonStreaming, "max_tokens is missing"),
        (
            {**MESSAGE, "messages": [{"role": "tool", "content": "Hi"}]},
            MessageCreateParamsNonStreaming,
            "'tool' is none of",
        ),
        (
            {**MESSAGE, "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]},
            MessageCreateParamsNonStreaming,
            "x is not known",
        ),
        ({**RESPONSE, "input": [{**CALL, "call_id": 5}]}, ResponseCreateParamsNonStreaming, "$.input[0]"),
        ({**RESPONSE, "input": [{**CALL, "tool": 5}]}, ResponseCreateParamsNonStreaming, "tool is not known"),
        (
            {**RESPONSE, "input": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
            ResponseCreateParamsNonStreaming,
            "$.input[0]",
        ),
        ({**RESPONSE, "tools": [{"type": "function", "name": "f"}]}, ResponseCreateParamsNonStreaming, "is missing"),
    ],
)
def test_a_fault_is_found_and_named(body, kind, fault):
    """Unknown keys, missing ones, values of another type, deep inside unions and lists."""
    faults = faults_of(body, kind)
    assert (faults == []) if fault is None else any(fault in each for each in faults), faults
