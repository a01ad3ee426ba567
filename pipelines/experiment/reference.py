"""What an experiment file may say, for people and editors: JSON Schema, key reference and a file to begin with.

All of it is made from the models that read the file: `python -m pipelines.experiment.reference` writes `experiment.schema.json`
beside this module and `docs/experiment.md`, and a test holds both to what is made.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.experiment import budget, file, metrics, prices, sides, window
from pipelines.experiment.file import Experiment

SCHEMA = Path(__file__).with_name("experiment.schema.json")
_ATTRIBUTE = re.compile(r"    (\w+): (.*)")
_ALIASES = {"from": "start", "to": "stop"}
_STARTER = """# yaml-language-server: $schema={schema}
# An experiment: what is compared with what. Every key: docs/experiment.md. Try it with `refold ab FILE --dry-run`.
experiment: {name}

# Side B. The recording itself must give no change; put one of these in its place:
candidate: {{echo: true}}
# candidate: {{python: "my_agent:decide"}}          # def decide(decision) -> Reply, in my_agent.py beside this file
# candidate:
#   model: gpt-5-mini
#   base_url: https://api.openai.com/v1           # REFOLD_ENDPOINTS must name it
#   api_key_env: OPENAI_API_KEY
#   prompt_file: prompt_v2.md                     # beside this file; {{{{name}}}} is a recorded variable
#   params: {{temperature: 0, max_completion_tokens: 2000}}
#   price: {{input_usd: 0.25, output_usd: 2}}       # per million tokens, for a model that the price table does not know

mode: decision                                    # decision | single | turn | conversation
# window: 7d                                      # yesterday | 7d | {{from: 2026-01-01, to: 2026-02-01}}; left out: all
# where: "source = 'shop'"                        # SQL over the conversations

metrics:
  calls: {{sql: "call_count", goal: lower, margin: 0.1}}
# expect:
#   - {{name: at_most_five_calls, sql: "call_count <= 5"}}
primary: calls
# gate: "calls non_inferior; same_calls >= 0.9"

# tools: {{manifest: tools.yaml}}                   # refold tools suggest -o tools.yaml
# budget: {{usd: 5, requests: 1000}}
"""


def experiment_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of an experiment file, with what every key means."""
    schema = Experiment.model_json_schema(by_alias=True)
    models = {
        name: each for module in (sides, budget, file, metrics, prices, window) for name, each in vars(module).items()
    }
    for name, definition in [("Experiment", schema), *schema["$defs"].items()]:
        told = descriptions(models[name])
        definition["description"] = _first_paragraph(models[name])
        for key, each in definition["properties"].items():
            each.pop("title", None)
            each["description"] = told[_ALIASES.get(key, key)]
    schema["required"] = [key for key in schema["required"] if key != "candidate"]
    schema["oneOf"] = [{"required": ["candidate"]}, {"required": ["candidates"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and of what it is made of say of its fields."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        text = inspect.cleandoc(each.__doc__ or "") if each.__module__.startswith("pipelines.") else ""
        name = None
        for line in text.partition("Attributes:\n")[2].splitlines():
            match = _ATTRIBUTE.fullmatch(line)
            if match:
                name = match[1]
                found[name] = match[2]
            elif name is not None and line.startswith("     "):
                found[name] += f" {line.strip()}"
            else:
                name = None
    return found


def render_reference() -> str:
    """The key reference, Markdown."""
    schema = experiment_schema()
    out = [
        "# The experiment file",
        "",
        "Written by `python -m pipelines.experiment.reference`. YAML by the core schema of version 1.2: `1e-3` is a number, `yes` and",
        "`22:00` are text, a key stands once. `refold ab --init FILE` writes a file to begin with, and an editor that knows JSON",
        "Schema reads the one named in its first line. `refold ab FILE --dry-run` says all that is wrong with a file, with lines.",
        "Files that it names are in its folder, or in one that `--allow-files DIR` or `REFOLD_ALLOW_FILES` names.",
    ]
    for title, definition in [("Experiment", schema), *sorted(schema["$defs"].items())]:
        heading = "The file" if title == "Experiment" else title
        out += [
            "",
            f"## {heading}",
            "",
            definition["description"],
            "",
            "| key | form | default | meaning |",
            "|---|---|---|---|",
        ]
        required = set(definition.get("required", ()))
        for key, each in definition["properties"].items():
            default = "required" if key in required else _default(each)
            out.append(f"| `{key}` | {_form(each)} | {default} | {_cell(each['description'])} |")
    return "\n".join(out) + "\n"


def starter(name: str) -> str:
    """A commented experiment that passes a dry run as it stands.

    Args:
        name: Of the experiment.
    """
    return _STARTER.format(schema=SCHEMA.as_uri(), name=name)


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].split())


def _default(each: dict[str, Any]) -> str:
    if "default" not in each or each["default"] in (None, {}, []):
        return ""
    if isinstance(each["default"], dict):
        given = {key: value for key, value in each["default"].items() if value not in (None, [], {})}
        return (
            f"`{json.dumps(given)}`" if given and not any(isinstance(value, dict) for value in given.values()) else ""
        )
    return f"`{json.dumps(each['default'])}`"


def _form(each: dict[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_forms(each)))


def _forms(each: dict[str, Any]) -> Iterator[str]:
    if "anyOf" in each:
        for inner in each["anyOf"]:
            yield from _forms(inner)
    elif "$ref" in each:
        name = each["$ref"].rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    elif "enum" in each or "const" in each:
        yield ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in each.get("enum", [each.get("const")]))
    elif each.get("type") == "array":
        yield f"list of {_form(each.get('items', {})) or 'text'}"
    elif each.get("type") == "object" and isinstance(each.get("additionalProperties"), dict):
        yield f"by name: {_form(each['additionalProperties'])}"
    elif each.get("type") != "null":
        yield {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}.get(
            str(each.get("type")), "mapping"
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(json.dumps(experiment_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    docs = Path(__file__).resolve().parents[2] / "docs" / "experiment.md"
    docs.write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
