"""The wire of a model in an experiment file: which it is, what it demands, and what no request may leave to a provider's memory."""

from __future__ import annotations

import pytest

from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment, parse_experiment

TEXT = "experiment: w\ncandidate: {model: %s, base_url: 'http://127.0.0.1:1%s'%s}\n%s\n"


def read(more: str = "", rest: str = "", model: str = "m", path: str = "") -> Experiment:
    return parse_experiment(TEXT % (model, path, more, rest), "w.yaml")


def test_a_control_speaks_what_is_spoken_where_it_is_asked():
    """At the candidate's endpoint the candidate's wire, at its own what it says, and chat completions otherwise."""
    assert read().api_of("candidate") == "chat"
    there = read(", api: responses", "control: {model: m0}\nnoise_floor: 5")
    assert [there.api_of(side) for side in ("candidate", "control")] == ["responses", "responses"]
    own = read(", api: responses", "control: {model: m0, base_url: 'http://127.0.0.1:2'}\nnoise_floor: 5")
    assert own.api_of("control") == "chat"
    said = read("", "control: {model: m0, api: messages, params: {max_tokens: 9}}\nnoise_floor: 5")
    assert said.api_of("control") == "messages"


def test_a_reply_over_messages_has_a_bound():
    """As given, else the model's own by the experiment's price or the shipped table; none is made up."""
    assert read(", api: messages, params: {max_tokens: 7}").params_of("candidate") == {"max_tokens": 7}
    priced = ", api: messages, price: {input_usd: 1, output_usd: 1, max_output_tokens: 64}"
    assert read(priced).params_of("candidate") == {"max_tokens": 64}
    assert read(", api: messages", model="gpt-4o").params_of("candidate") == {"max_tokens": 16384}
    assert read(", api: responses", model="gpt-4o").params_of("candidate") == {}
    with pytest.raises(
        BadInputError, match=r"candidate\.params: messages needs max_tokens, .* a reply of m; write max_tokens"
    ):
        read(", api: messages")


@pytest.mark.parametrize(
    ("more", "path", "fault"),
    [
        (
            ", api: messages, params: {max_tokens: 1}",
            "/v1",
            "over messages an address ends before /v1: http://127.0.0.1:1",
        ),
        (
            ", api: responses, params: {previous_response_id: r}",
            "",
            "previous_response_id cannot be set: what the endpoint keeps",
        ),
        (", api: responses, params: {conversation: c}", "", "conversation cannot be set: what the endpoint keeps"),
        (
            ", api: responses, params: {instructions: x}",
            "",
            "instructions cannot be set: requests are one message each",
        ),
        (", api: messages, params: {system: x, max_tokens: 1}", "", "system cannot be set"),
        (", api: soap", "", "api"),
    ],
)
def test_what_a_wire_cannot_take_is_refused_when_the_file_is_read(more, path, fault):
    """Before a dry run, before anything is asked."""
    with pytest.raises(BadInputError, match=fault):
        read(more, path=path)


def test_what_the_endpoint_keeps_is_known():
    """Nothing, unless the experiment says so; other wires keep nothing by themselves."""
    assert read(", api: responses").is_kept_by("candidate") is False
    assert read(", api: responses, params: {store: true}").is_kept_by("candidate") is True
    assert read().is_kept_by("candidate") is None
