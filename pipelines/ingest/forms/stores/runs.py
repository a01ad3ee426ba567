"""What a run of LangSmith, or feedback on one, says.

LangChain's messages stand as constructors (`lc`) and have ids that stay the same in every later input, so threads are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import said
from pipelines.ingest.assemble.messages import Read, read, take_answer, take_request
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.fields import keep_other, name_reason
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.stores.copies import Said
from pipelines.ingest.forms.stores.values import first_text, inner, pop_any, pop_number, pop_text, pop_time

_SOURCES = {"app": "human", "human": "human", "model": "model", "auto_eval": "model"}
_REQUESTED = ("ls_model_name",)
_KEPT_PARAMS = ("tools", "functions")


def rows_of(group: Group, options: Options) -> Iterator[Row]:
    """The rows of one thread; what they map is taken out of its records, and what runs that hold others repeat is left out."""
    said_already, held = Said(), list[tuple[Record, Row]]()
    for record in group.records:
        if record.kind == "feedback":
            yield _feedback(record)
            continue
        is_mark = record.value.get("run_type") not in ("llm", "tool")
        if not is_mark:
            said_already.add([record.value.get("inputs"), record.value.get("outputs")])
        facts, row = _run(record, group, options)
        yield facts
        if is_mark:
            held.append((record, row))
        else:
            yield row
    for record, outer in held:
        said_already.leave_out(record, "inputs", "outputs")
        yield outer


def _run(record: Record, group: Group, options: Options) -> tuple[Facts, Call | Step]:
    run = record.value
    extra = run["extra"] if isinstance(run.get("extra"), dict) else {}
    metadata = extra["metadata"] if isinstance(extra.get("metadata"), dict) else {}
    parent = first_text(run, "parent_run_id")
    facts = _facts(record, group, options, metadata, is_root=parent is None)
    is_mark = run.get("run_type") not in ("llm", "tool")
    taken = dict(run) if is_mark else run  # of a run that only holds others all is kept
    kind, name = pop_any(taken, "run_type"), pop_text(taken, "name")
    common = {
        "id": pop_text(taken, "id") or (first_text(run, "dotted_order") or record.place)[-36:],
        "place": record.place,
        "parent": parent,
        "start": pop_time(taken, "start_time"),
        "end": pop_time(taken, "end_time"),
        "agent": _sub_graph(metadata),
        "error": pop_any(taken, "error"),
        "rest": run,
    }
    if kind == "llm":
        return facts, _call(common, name, run, extra, metadata)
    if kind == "tool":
        return facts, _tool(common, name, run, extra)
    return facts, Step("mark", name=name, **common)


def _facts(record: Record, group: Group, options: Options, metadata: dict[str, Any], *, is_root: bool) -> Facts:
    run = record.value
    for name in ("thread_id", "session_id", "conversation_id"):
        if metadata.get(name) == group.key:
            del metadata[name]
    project = pop_text(run, "session_name")
    fields = {
        "conversation_id": group.key,
        "source": options.source or (f"langsmith/{project}" if project else "langsmith"),
        "subject_id": pop_text(metadata, *([options.subject_key] if options.subject_key else []), "user_id"),
        "task_id": pop_text(run, "reference_example_id"),
        "agent": run.get("name") if is_root and run.get("run_type") == "chain" else None,
    }
    return Facts(record.place, said(fields))


def _sub_graph(metadata: dict[str, Any]) -> str | None:
    """The node of a LangGraph graph whose own graph a run is of; None in the outermost one."""
    outer, bar, _ = str(metadata.get("langgraph_checkpoint_ns", metadata.get("checkpoint_ns", ""))).partition("|")
    return outer.split(":", 1)[0] if bar else None


def _feedback(record: Record) -> Facts:
    row = record.value
    value = row.get("value")
    number = pop_number(row, "score") if not isinstance(row.get("score"), bool) else float(pop_any(row, "score"))
    source = row.get("feedback_source")
    score = {
        "name": pop_text(row, "key"),
        "value": number,
        "label": pop_text(row, "value") if isinstance(value, str) else None,
        "kind": "numeric" if number is not None else "categorical" if isinstance(value, str) else None,
        "source": _SOURCES.get(str(source.get("type"))) if isinstance(source, dict) else None,
        "comment": pop_text(row, "comment"),
        "recorded_at": pop_time(row, "created_at"),
        "call_id": pop_text(row, "run_id"),
    }
    return Facts(record.place, scores=[{key: each for key, each in score.items() if each is not None}], rest=row)


def _tool(common: dict[str, Any], name: str | None, run: dict[str, Any], extra: dict[str, Any]) -> Step:
    step = Step("tool", name=name, call_id=pop_text(extra, "tool_call_id"), arguments=pop_any(run, "inputs"), **common)
    outputs = run.get("outputs")
    answer = outputs.get("output") if isinstance(outputs, dict) else None
    if isinstance(outputs, dict) and isinstance(answer, dict) and ("lc" in answer or answer.get("type") == "tool"):
        chat = next((each.chat for each in read([answer]).messages), {})
        step.message = Message(dict(chat))
        step.output = chat.pop("content", None)
        step.call_id = step.call_id or first_text(chat, "tool_call_id")
        if chat.get("error") and step.error is None:
            step.error = chat["error"]
        known = {"role": "tool", "tool_call_id": step.call_id, "name": name, "error": step.error}
        outputs["output"] = {key: each for key, each in chat.items() if known.get(key) != each}
    elif isinstance(outputs, dict) and outputs.keys() == {"output"}:
        step.output = outputs.pop("output")
    else:
        step.output = pop_any(run, "outputs") or None
    return step


def _call(
    common: dict[str, Any], name: str | None, run: dict[str, Any], extra: dict[str, Any], metadata: dict[str, Any]
) -> Call:
    if name is not None:
        run["name"] = name
    call = Call(**common)
    params = extra.pop("invocation_params", None)
    call.params = params if isinstance(params, dict) else {}
    call.model_requested = call.listed_model = pop_text(metadata, *_REQUESTED)
    call.provider = pop_text(metadata, "ls_provider")
    for key in ("model", "model_name"):
        if call.params.get(key) == call.model_requested:
            call.params.pop(key, None)
    _asked(call, run)
    _answered(call, run)
    call.tools = next(
        (call.params.pop(each) for each in _KEPT_PARAMS if isinstance(call.params.get(each), list)), call.tools
    )
    call.params = said(call.params)
    if call.listed_model not in (call.model, call.model_requested):
        metadata["ls_model_name"] = call.listed_model
    if call.model is None:
        call.model, call.model_requested = call.model_requested, None
    _measured(call, run, metadata)
    call.prompt = said({"name": pop_text(metadata, "lc_hub_repo"), "version": pop_text(metadata, "lc_hub_commit_hash")})
    return call


def _asked(call: Call, run: dict[str, Any]) -> None:
    inputs = run.get("inputs")
    if not isinstance(inputs, dict) or not inputs:
        return  # only a preview or an address of it was recorded
    is_wire = isinstance(inputs.get("messages"), list) and all(
        isinstance(each, dict) and "role" in each for each in inputs["messages"]
    )
    history = take_request(inputs)
    keep_other(run, history)
    if not history.messages:
        return
    call.input, call.tools = history.messages, history.tools or None
    if is_wire:
        call.model_requested = pop_text(inputs, "model") or call.model_requested
        call.params = {**inputs, **call.params}
        inputs.clear()


def _answered(call: Call, run: dict[str, Any]) -> None:
    outputs = run.get("outputs")
    if not isinstance(outputs, dict):
        return
    _flatten_reason(outputs.get("choices"))
    generations = outputs.get("generations")
    is_langchain = isinstance(generations, list) and bool(generations)
    answer = _generated(outputs) if is_langchain else take_answer(outputs)
    call.output, call.finish_reason = answer.messages, answer.finish_reason
    keep_other(run, answer)
    for message in call.output:
        about = message.chat.pop("response_metadata", None)
        if isinstance(about, dict):
            call.model = pop_text(about, "model_name", "model") or call.model
            call.response_id = pop_text(about, "id") or call.response_id
            call.finish_reason = pop_text(about, "finish_reason", "stop_reason") or call.finish_reason
            if left := said(about):
                run.setdefault("response_metadata", left)
        if isinstance(usage := message.chat.pop("usage_metadata", None), dict):
            call.usage = _usage(usage)
            if left := said(usage):
                run.setdefault("usage_metadata", left)
    if "choices_read" not in run and (known := pop_text(outputs, "model")) is not None:
        call.model = known
    call.response_id = call.response_id or pop_text(outputs, "id")
    name_reason(call, call.finish_reason)
    if not call.usage and isinstance(outputs.get("usage_metadata"), dict):
        call.usage = _usage(outputs["usage_metadata"])


def _flatten_reason(choices: Any) -> None:
    """What the JavaScript SDK makes of a streamed answer: the finish reason is the last chunk's whole choice."""
    for choice in choices if isinstance(choices, list) else ():
        reason = choice.get("finish_reason") if isinstance(choice, dict) else None
        if isinstance(reason, dict) and isinstance(reason.get("finish_reason"), str):
            choice["finish_reason"] = reason["finish_reason"]


def _generated(outputs: dict[str, Any]) -> Read:
    """The answer that LangChain's generations hold: the first one of the first prompt; the others are alternatives."""
    listed = outputs.pop("generations")
    first, *others = listed[0] if isinstance(listed[0], list) and listed[0] else [listed[0] or {}]
    generation = dict(first) if isinstance(first, dict) else {"text": first}
    message = generation.pop("message", None)
    answer = read(message, "assistant") if message is not None else Read()
    if not answer.messages:
        answer = Read([Message({"role": "assistant", "content": generation.pop("text", None)})])
    elif generation.get("text") in ("", answer.messages[0].chat.get("content")):
        generation.pop("text", None)
    info = generation.get("generation_info")
    if isinstance(info, dict):
        answer.finish_reason = pop_text(info, "finish_reason") or answer.finish_reason
    if left := said(generation):
        outputs["generation"] = left
    answer.choices = [*answer.choices, *others, *listed[1:]]
    return answer


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """LangChain's token counts; what was cached is among the input's."""
    ins, outs = (inner(usage, name) for name in ("input_token_details", "output_token_details"))
    return {
        key: each
        for key, each in {
            "input_tokens": pop_number(usage, "input_tokens"),
            "output_tokens": pop_number(usage, "output_tokens"),
            "cached_input_tokens": pop_number(ins, "cache_read"),
            "cache_write_tokens": pop_number(ins, "cache_creation"),
            "reasoning_tokens": pop_number(outs, "reasoning"),
        }.items()
        if each is not None
    }


def _measured(call: Call, run: dict[str, Any], metadata: dict[str, Any]) -> None:
    ins, outs = pop_number(run, "prompt_tokens"), pop_number(run, "completion_tokens")
    if not call.usage:
        call.usage = {key: each for key, each in (("input_tokens", ins), ("output_tokens", outs)) if each is not None}
    copied = metadata.get("usage_metadata")
    if isinstance(copied, dict) and call.usage and copied.get("input_tokens") == call.usage.get("input_tokens"):
        _usage(copied)
    call.usage_basis = "with_cache" if call.usage else None
    call.cost_usd = pop_number(run, "total_cost")
    first = pop_time(run, "first_token_time")
    if first is not None and call.start is not None:
        call.ttft_ms = (first - call.start) / 10**6
