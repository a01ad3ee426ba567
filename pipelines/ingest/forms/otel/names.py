"""What the attributes of spans are called in each dialect: tables, no more.

A name maps to one field of a row. Where a span has several names of one field, the one that stands first here is it; another of the
same value says nothing new, and one of another value stays in the row's `rest`.
"""

from __future__ import annotations

CALL_FIELDS = {
    "gen_ai.response.model": "model",
    "llm.response.model_name": "model",
    "llm.model_name": "model",
    "ai.response.model": "model",
    "gen_ai.request.model": "model_requested",
    "llm.request.model_name": "model_requested",
    "ai.model.id": "model_requested",
    "gen_ai.provider.name": "provider",
    "gen_ai.system": "provider",
    "llm.provider": "provider",
    "llm.system": "provider",
    "ai.model.provider": "provider",
    "gen_ai.agent.name": "agent",
    "agent.name": "agent",
    "traceloop.workflow.name": "agent",
    "gen_ai.response.id": "response_id",
    "ai.response.id": "response_id",
    "gen_ai.usage.cost": "cost_usd",
    "llm.cost.total": "cost_usd",
}
"""Fields of a call that are taken as they are."""

USAGE = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.prompt_tokens": "input_tokens",
    "llm.token_count.prompt": "input_tokens",
    "ai.usage.promptTokens": "input_tokens",
    "ai.usage.inputTokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.completion_tokens": "output_tokens",
    "llm.token_count.completion": "output_tokens",
    "ai.usage.completionTokens": "output_tokens",
    "ai.usage.outputTokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_input_tokens",
    "gen_ai.usage.cache_read_input_tokens": "cached_input_tokens",
    "llm.token_count.prompt_details.cache_read": "cached_input_tokens",
    "ai.usage.cachedInputTokens": "cached_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",
    "gen_ai.usage.cache_creation_input_tokens": "cache_write_tokens",
    "llm.token_count.prompt_details.cache_write": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "gen_ai.usage.reasoning_tokens": "reasoning_tokens",
    "llm.token_count.completion_details.reasoning": "reasoning_tokens",
    "ai.usage.reasoningTokens": "reasoning_tokens",
}
"""Tokens of a call."""

PARAMS = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.stream": "stream",
    "gen_ai.request.encoding_formats": "encoding_formats",
    "gen_ai.output.type": "output_type",
    "gen_ai.is_streaming": "stream",
    "llm.is_streaming": "stream",
    "llm.top_k": "top_k",
    "llm.temperature": "temperature",
    "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
    "llm.chat.stop_sequences": "stop",
    "ai.settings.temperature": "temperature",
    "ai.settings.topP": "top_p",
    "ai.settings.topK": "top_k",
    "ai.settings.maxTokens": "max_tokens",
    "ai.settings.maxOutputTokens": "max_tokens",
    "ai.settings.seed": "seed",
    "ai.settings.stopSequences": "stop",
    "ai.settings.frequencyPenalty": "frequency_penalty",
    "ai.settings.presencePenalty": "presence_penalty",
    "ai.prompt.toolChoice": "tool_choice",
}
"""Parameters of a call by their names in chat completions."""

PROMPT = {
    "gen_ai.prompt.name": "name",
    "traceloop.prompt.key": "name",
    "gen_ai.prompt.version": "version",
    "llm.prompt_template.version": "version",
    "traceloop.prompt.version": "version",
    "llm.prompt_template.template": "template",
    "traceloop.prompt.template": "template",
    "llm.prompt_template.variables": "variables",
    "traceloop.prompt.template_variables": "variables",
}
"""What names the prompt of a call."""

FACTS = {
    "user.id": "subject_id",
    "enduser.id": "subject_id",
    "langfuse.user.id": "subject_id",
    "ai.telemetry.metadata.userId": "subject_id",
    "traceloop.association.properties.user_id": "subject_id",
    "llm.user": "subject_id",
    "user_id": "subject_id",
    "gen_ai.agent.version": "variant",
    "gen_ai.agent.id": "variant",
}
"""What a span says of its whole conversation."""

TOOL_NAMES = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "lk.function_tool.name", "traceloop.entity.name")
TOOL_IDS = ("gen_ai.tool.call.id", "tool.id", "tool_call.id", "ai.toolCall.id", "lk.function_tool.id")
TOOL_ARGUMENTS = (
    "gen_ai.tool.call.arguments",
    "ai.toolCall.args",
    "lk.function_tool.arguments",
    "input.value",
    "traceloop.entity.input",
)
TOOL_OUTPUTS = (
    "gen_ai.tool.call.result",
    "ai.toolCall.result",
    "lk.function_tool.output",
    "output.value",
    "traceloop.entity.output",
)
MARK_NAMES = ("gen_ai.agent.name", "agent.name", "traceloop.entity.name", "gen_ai.workflow.name", "graph.node.name")

FIRST_TOKEN_SECONDS = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
    "lk.response.ttft",
    "metrics.ttfb",
)
FIRST_TOKEN_MILLISECONDS = ("ai.response.msToFirstChunk",)
FIRST_TOKEN_EVENTS = ("First Token Stream Event", "llm.content.completion.chunk", "ai.stream.firstChunk")

CALL_OPERATIONS = ("chat", "text_completion", "generate_content", "completion")
TOOL_KINDS = {
    "gen_ai.operation.name": "execute_tool",
    "openinference.span.kind": "TOOL",
    "traceloop.span.kind": "tool",
    "ai.operationId": "ai.toolCall",
}
"""Attributes by which a span is a tool that ran."""

CONTENT_SWITCHES = (
    ("openinference.span.kind", "OPENINFERENCE_HIDE_INPUTS and OPENINFERENCE_HIDE_OUTPUTS unset"),
    ("llm.request.type", "TRACELOOP_TRACE_CONTENT=true"),
    ("ai.operationId", "recordInputs and recordOutputs of experimental_telemetry not false"),
    ("spring.ai.kind", "spring.ai.chat.observations.log-prompt=true and log-completion=true"),
    (
        "",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY (before 2026: true, and the log records exported)",
    ),
)
"""What has messages recorded, by an attribute of the emitter; the last is for all others."""
