"""A server on 127.0.0.1 that takes batches as OpenAI and Anthropic do, with what goes wrong there; over real HTTP.

Each request of a batch is answered by a function of path and body, so that a batch can be compared with calls one by one. It
counts, per request and model's answer, what a provider would charge for. A batch is worked on when the test says so (`work`), or at once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.support.serving import listening

Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
_KINDS = {
    400: "invalid_request_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def chat_answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A text that depends on the request alone, in the form of the wire that the path is of."""
    told = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    text, given = f"Answer {told}", len(json.dumps(body)) // 4
    if path.endswith("/messages"):
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": given, "output_tokens": 10}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        return 200, {**head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    if path.endswith("/responses"):
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        usage = {"input_tokens": given, "output_tokens": 10, "total_tokens": given + 10}
        head = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": body["model"]}
        return 200, {**head, "output": [message], "usage": usage, "error": None, "incomplete_details": None}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": given, "completion_tokens": 10, "total_tokens": given + 10}
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
    return 200, {**head, "choices": [choice], "usage": usage}


@dataclass
class Batch:
    """One batch: `requests` are (custom id, body), sent in `size` bytes; `results` lines, `errors` those of an error file."""

    id: str
    path: str
    requests: list[tuple[str, dict[str, Any]]]
    size: int
    created_at: datetime
    metadata: dict[str, str] | None = None
    input_file: str | None = None
    state: str = "validating"
    results: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    output_file: str | None = None
    error_file: str | None = None
    faults: list[dict[str, Any]] | None = None


@dataclass
class BatchServer:
    """The server and what it saw.

    Attributes:
        answer: Answers one request.
        is_prompt: Whether a batch is worked on as soon as it is created.
        expired: Of each batch, how many requests expire when it is worked on first.
        turned_down: Errors with which every batch fails as a whole; nothing of it is worked on.
        lost: Creations that are carried out and not answered: how many still.
        broken: Calls, by method and beginning of the path, that get HTTP 503: how many still.
        page: Batches and files on one page of a list.
        paid: Answers that are charged for, by body.
        calls: Calls, by method and path.
        headers: Of the last call.
    """

    answer: Answer = chat_answer
    is_prompt: bool = False
    expired: int = 0
    turned_down: list[dict[str, Any]] | None = None
    lost: int = 0
    broken: Counter[tuple[str, str]] = field(default_factory=Counter)
    page: int = 2
    paid: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    port: int = 0

    def base_url(self, api: str = "chat") -> str:
        """The address of a wire's endpoint."""
        return f"http://127.0.0.1:{self.port}" + ("" if api == "messages" else "/v1")

    def work(self) -> None:
        """Work on every batch that waits, to its end; results come in another order than requests."""
        for batch in self.batches.values():
            if batch.state in ("validating", "in_progress"):
                self._work(batch)

    def _work(self, batch: Batch) -> None:
        if self.turned_down is not None:
            batch.state, batch.faults = "failed", self.turned_down
            return
        shuffled = sorted(batch.requests, key=lambda each: hashlib.sha256(each[0].encode()).digest())
        for place, (custom_id, body) in enumerate(shuffled):
            if place < self.expired:
                self._expire(batch, custom_id)
            else:
                self._answer(batch, custom_id, body)
        batch.state = "expired" if batch.counts["expired"] else "completed"
        if batch.path != "/v1/messages":
            batch.output_file = self._keep("output.jsonl", batch.results) if batch.results else None
            batch.error_file = self._keep("errors.jsonl", batch.errors) if batch.errors else None

    def _expire(self, batch: Batch, custom_id: str) -> None:
        batch.counts["expired"] += 1
        if batch.path == "/v1/messages":
            batch.results.append(_dump({"custom_id": custom_id, "result": {"type": "expired"}}))
            return
        error = {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired.",
        }
        batch.errors.append(_dump({"id": "batch_req_1", "custom_id": custom_id, "response": None, "error": error}))

    def _answer(self, batch: Batch, custom_id: str, body: dict[str, Any]) -> None:
        status, document = self.answer(batch.path, body)
        is_good = status == 200
        batch.counts["succeeded" if is_good else "errored"] += 1
        if is_good:
            self.paid[json.dumps(body, sort_keys=True)] += 1
        if batch.path == "/v1/messages":
            error = {
                "type": "error",
                "error": {"type": _KINDS.get(status), **document.get("error", {})},
                "request_id": None,
            }
            result = {"type": "succeeded", "message": document} if is_good else {"type": "errored", "error": error}
            batch.results.append(_dump({"custom_id": custom_id, "result": result}))
            return
        response = {"status_code": status, "request_id": "req_1", "body": document}
        line = _dump({"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None})
        (batch.results if is_good else batch.errors).append(line)

    def _keep(self, name: str, lines: list[bytes]) -> str:
        id_ = f"file-{next(self.numbers)}"
        self.files[id_] = (name, b"".join(line + b"\n" for line in lines))
        return id_

    @web.middleware
    async def _around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.headers = dict(request.headers)
        self.calls[request.method, request.path] += 1
        for (method, path), count in self.broken.items():
            if count and request.method == method and request.path.startswith(path):
                self.broken[method, path] -= 1
                return web.json_response({"error": {"message": "overloaded"}}, status=503)
        return await handler(request)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        sent: Any = form["file"]
        content = sent.file.read()
        if len(content) > 200_000_000:
            return _error(413, "the file is larger than 200 MB")
        id_ = f"file-{next(self.numbers)}"
        self.files[id_] = (sent.filename, content)
        return web.json_response(self._file(id_))

    def _file(self, id_: str) -> dict[str, Any]:
        name, content = self.files[id_]
        head = {"id": id_, "object": "file", "bytes": len(content), "created_at": int(datetime.now(UTC).timestamp())}
        return {**head, "filename": name, "purpose": "batch", "status": "processed"}

    async def _list_files(self, request: web.Request) -> web.Response:
        assert request.query["purpose"] == "batch"
        return web.json_response(self._paged([self._file(id_) for id_ in self.files], request.query.get("after")))

    async def _content(self, request: web.Request) -> web.Response:
        kept = self.files.get(request.match_info["id"])
        return _error(404, "no such file") if kept is None else web.Response(body=kept[1])

    async def _delete_file(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        if self.files.pop(id_, None) is None:
            return _error(404, "no such file")
        return web.json_response({"id": id_, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        content = self.files[asked["input_file_id"]][1]
        lines = [json.loads(line) for line in content.splitlines()]
        if len(lines) > 50_000 or len({line["body"]["model"] for line in lines}) != 1:
            return _error(400, "too many requests, or several models")
        assert all((line["method"], line["url"]) == ("POST", asked["endpoint"]) for line in lines)
        requests = [(line["custom_id"], line["body"]) for line in lines]
        batch = self._add(asked["endpoint"], requests, len(content), asked.get("metadata"), asked["input_file_id"])
        return self._told(request, batch, self._openai(batch))

    async def _create_messages(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        if len(content) > 256_000_000:
            return _error(413, "the batch is larger than 256 MB")
        requests = [(each["custom_id"], each["params"]) for each in json.loads(content)["requests"]]
        if len(requests) > 100_000:
            return _error(400, "too many requests")
        batch = self._add("/v1/messages", requests, len(content))
        return self._told(request, batch, self._anthropic(batch))

    def _add(
        self,
        path: str,
        requests: list[tuple[str, dict[str, Any]]],
        size: int,
        metadata: dict[str, str] | None = None,
        input_file: str | None = None,
    ) -> Batch:
        assert len({id_ for id_, _ in requests}) == len(requests)
        assert all(0 < len(id_) <= 64 and id_.replace("-", "").replace("_", "").isalnum() for id_, _ in requests)
        at = datetime.now(UTC) + timedelta(microseconds=len(self.batches))
        batch = Batch(f"batch_{next(self.numbers)}", path, requests, size, at, metadata, input_file)
        self.batches[batch.id] = batch
        if self.is_prompt:
            self._work(batch)
        return batch

    def _told(self, request: web.Request, batch: Batch, document: dict[str, Any]) -> web.StreamResponse:
        """The answer to a creation; or none, though it was carried out."""
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(document)

    def _openai(self, batch: Batch) -> dict[str, Any]:
        counts = {
            "total": len(batch.requests),
            "completed": batch.counts["succeeded"],
            "failed": batch.counts["errored"] + batch.counts["expired"],
        }
        errors = {"object": "list", "data": batch.faults} if batch.faults is not None else None
        head = {"id": batch.id, "object": "batch", "endpoint": batch.path, "completion_window": "24h", "errors": errors}
        head |= {"status": batch.state, "created_at": int(batch.created_at.timestamp()), "metadata": batch.metadata}
        files = {
            "input_file_id": batch.input_file,
            "output_file_id": batch.output_file,
            "error_file_id": batch.error_file,
        }
        return {**head, **files, "request_counts": counts}

    def _anthropic(self, batch: Batch) -> dict[str, Any]:
        is_ended = batch.state in ("completed", "expired")
        counts = {name: batch.counts[name] for name in ("succeeded", "errored", "canceled", "expired")}
        counts["processing"] = 0 if is_ended else len(batch.requests)
        at, ends = batch.created_at.isoformat(), (batch.created_at + timedelta(days=1)).isoformat()
        url = f"{self.base_url('messages')}/v1/messages/batches/{batch.id}/results" if is_ended else None
        head = {"id": batch.id, "type": "message_batch", "processing_status": "ended" if is_ended else "in_progress"}
        times = {"created_at": at, "expires_at": ends, "ended_at": at if is_ended else None}
        more = {"results_url": url, "archived_at": None, "cancel_initiated_at": None}
        return {**head, "request_counts": counts, **times, **more}

    def _of(self, is_messages: bool) -> list[Batch]:
        return [batch for batch in reversed(self.batches.values()) if (batch.path == "/v1/messages") == is_messages]

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(
            self._paged([self._openai(each) for each in self._of(False)], request.query.get("after"))
        )

    async def _list_messages(self, request: web.Request) -> web.Response:
        listed = [self._anthropic(each) for each in self._of(True)]
        return web.json_response(self._paged(listed, request.query.get("after_id")))

    def _paged(self, listed: list[dict[str, Any]], after: str | None) -> dict[str, Any]:
        start = next((place + 1 for place, each in enumerate(listed) if each["id"] == after), 0)
        page = listed[start : start + self.page]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, "has_more": start + self.page < len(listed), **ends}

    async def _get(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return _error(404, "no such batch")
        is_messages = request.path.startswith("/v1/messages")
        return web.json_response(self._anthropic(batch) if is_messages else self._openai(batch))

    async def _results(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        if batch is None or batch.state not in ("completed", "expired"):
            return _error(404, "no results")
        return web.Response(body=b"".join(line + b"\n" for line in batch.results), content_type="application/x-jsonl")

    async def _delete(self, request: web.Request) -> web.Response:
        if self.batches.pop(request.match_info["id"], None) is None:
            return _error(404, "no such batch")
        return web.json_response({"id": request.match_info["id"], "type": "message_batch_deleted"})

    async def _call(self, request: web.Request) -> web.Response:
        """One call, answered at once: what a batch is compared with."""
        body = await request.json()
        status, document = self.answer(request.path, body)
        if status == 200:
            self.paid[json.dumps(body, sort_keys=True)] += 1
        return web.json_response(document, status=status)

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2**29, middlewares=[self._around])
        add = application.router.add_route
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
            add("POST", path, self._call)
        add("POST", "/v1/files", self._upload)
        add("GET", "/v1/files", self._list_files)
        add("GET", "/v1/files/{id}/content", self._content)
        add("DELETE", "/v1/files/{id}", self._delete_file)
        add("POST", "/v1/batches", self._create)
        add("GET", "/v1/batches", self._list)
        add("GET", "/v1/batches/{id}", self._get)
        add("POST", "/v1/messages/batches", self._create_messages)
        add("GET", "/v1/messages/batches", self._list_messages)
        add("GET", "/v1/messages/batches/{id}", self._get)
        add("GET", "/v1/messages/batches/{id}/results", self._results)
        add("DELETE", "/v1/messages/batches/{id}", self._delete)
        return application

    def listens_at(self, port: int) -> None:
        self.port = port


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": _KINDS.get(status, "api_error")}}, status=status)


@contextmanager
def serving_batches(**settings: Any) -> Iterator[BatchServer]:
    """A server in a thread of its own for the length of the block."""
    server = BatchServer(**settings)
    with listening(server.application(), server.listens_at):
        yield server
