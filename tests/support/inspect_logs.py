"""Two logs of Inspect, made by Inspect: one task by two scripted models. Run as a program, since Inspect takes seconds to load.

python -m tests.support.inspect_logs FOLDER
"""

from __future__ import annotations

import sys
from typing import Any

import inspect_ai
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import Tool, tool

from tests.support.inspect_logs_known import EPOCHS, GUESSED, ITEMS, USAGE


@tool
def stock() -> Tool:
    async def execute(item: str) -> str:
        """Look up how many of an item are in stock.

        Args:
            item: Name of the item.
        """
        return f"{item}: {len(item)} in stock"

    return execute


def answer(name: str, messages: list[ChatMessage]) -> ModelOutput:
    """What a model says: the cautious one looks up every item, the hasty one guesses some."""
    model = f"mockllm/{name}"
    item = next(message.text for message in messages if message.role == "user").split()[4]
    if messages[-1].role == "tool":
        made = ModelOutput.from_content(model, f"There are {len(item)} in stock.")
    elif name == "cautious" or item not in GUESSED:
        made = ModelOutput.for_tool_call(model, "stock", {"item": item})
    else:
        made = ModelOutput.from_content(model, "There are plenty in stock.")
    sent, received = USAGE[name]  # else a tokenizer from the network would count
    made.usage = ModelUsage(input_tokens=sent, output_tokens=received, total_tokens=sent + received)
    return made


def scripted(name: str) -> Model:
    return get_model(f"mockllm/{name}", custom_outputs=lambda messages, *_: answer(name, messages))


def shop() -> Task:
    return Task(
        name="shop",
        dataset=[Sample(id=item, input=f"How many of the {item} are there?", target=str(len(item))) for item in ITEMS],
        solver=[system_message("You answer for a shop."), use_tools(stock()), generate()],
        scorer=includes(),
        epochs=EPOCHS,
    )


def main(folder: str) -> None:
    """Write a log of each model, and print where they are."""
    options: dict[str, Any] = {"log_dir": folder, "display": "none", "max_samples": 1, "max_connections": 1}
    for name in USAGE:
        (log,) = inspect_ai.eval(shop(), model=scripted(name), **options)
        if log.status != "success":
            sys.exit(str(log.error.message if log.error else log.status))
        print(log.location)


if __name__ == "__main__":
    main(sys.argv[1])
