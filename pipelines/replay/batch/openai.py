"""Batches as OpenAI takes them: a file of requests is uploaded, a batch is made of it, and results are files again.

A batch carries its token in its metadata, and its file in its name, so both are found again by whoever was killed before
they knew the provider's names for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from pipelines.replay.asking.fault import shown
from pipelines.replay.batch.client import BatchError, Client, NotNowError
from pipelines.replay.batch.provider import Kept, Line, Provider, Remote, Sending, Sought, counts_of, dump, named, word

_ENDED = frozenset(("completed", "failed", "expired", "cancelled"))
_MEMBER = "refold"
"""The member of a batch's metadata that holds its token."""
_PAGE = 100
_SKEW = timedelta(hours=1)
"""How far the provider's clock may be behind this one."""


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Line).decode


class OpenAI(Provider):
    """The provider; see `Provider`."""

    name = "OpenAI"
    most_requests = 50_000
    most_bytes = 200_000_000
    keeps = (
        "the files of a batch are kept at the provider for up to 30 days; they are deleted once the answers are here"
    )
    head = b""
    between = b"\n"
    tail = b"\n"

    def entry(self, custom_id: str, path: str, body: bytes) -> bytes:
        """See `Provider`."""
        return b'{"custom_id":"%s","method":"POST","url":"/v1%s","body":%s}' % (custom_id.encode(), path.encode(), body)

    async def upload(self, client: Client, sending: Sending) -> str | None:
        """See `Provider`."""
        import aiohttp  # noqa: PLC0415 - loaded when the session was opened

        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", sending.file, filename=_file_name(sending.token), content_type="application/jsonl")
        return named((await client.send("POST", "/files", form=form)).get("id"))

    async def create(self, client: Client, sending: Sending) -> Remote:
        """See `Provider`."""
        asked = {
            "input_file_id": sending.upload,
            "endpoint": f"/v1{sending.path}",
            "completion_window": "24h",
            "metadata": {_MEMBER: sending.token},
        }
        return _remote(await client.send("POST", "/batches", dump(asked)))

    async def find(self, client: Client, sought: Sought) -> Remote | None:
        """See `Provider`."""
        oldest = (sought.begun_at - _SKEW).timestamp()
        async for each in _listed(client, "/batches?"):
            metadata = each.get("metadata")
            if isinstance(metadata, dict) and metadata.get(_MEMBER) == sought.token:
                return _remote(each)
            if isinstance(made := each.get("created_at"), int | float) and made < oldest:  # the newest come first
                return None
        return None

    async def poll(self, client: Client, id_: str) -> Remote:
        """See `Provider`."""
        return _remote(await client.get(f"/batches/{id_}"))

    async def results(self, client: Client, remote: Remote) -> AsyncIterator[Line]:
        """See `Provider`."""
        for file in remote.files:
            async for line in client.lines(f"/files/{file}/content"):
                yield _line(line)

    async def remove(self, client: Client, kept: Kept) -> None:
        """See `Provider`."""
        files = [
            *(kept.remote.files if kept.remote is not None else ()),
            *([kept.upload] if kept.upload is not None else ()),
        ]
        if (
            kept.upload is None and kept.remote is None
        ):  # it may have been left there without anybody here having been told
            files += [
                named(each["id"])
                async for each in _listed(client, "/files?purpose=batch&")
                if each.get("filename") == _file_name(kept.token)
            ]
        for file in files:
            with suppress(NotNowError, BatchError):  # it expires by itself
                await client.send("DELETE", f"/files/{file}")


def _file_name(token: str) -> str:
    return f"refold-{token}.jsonl"


async def _listed(client: Client, path: str) -> AsyncIterator[dict[str, Any]]:
    """The objects of a list, page by page."""
    after = ""
    while True:
        page = await client.get(f"{path}limit={_PAGE}{after}")
        found = page.get("data")
        listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        for each in listed:
            yield each
        if not (page.get("has_more") and listed):
            return
        after = f"&after={named(listed[-1].get('id'))}"


def _remote(document: dict[str, Any]) -> Remote:
    state, counts = word(document.get("status")), counts_of(document)
    files = tuple(named(file) for key in ("output_file_id", "error_file_id") if (file := document.get(key)) is not None)
    return Remote(
        id=named(document.get("id")),
        state=state,
        is_ended=state in _ENDED,
        done=counts.get("completed", 0) + counts.get("failed", 0),
        total=counts.get("total", 0),
        files=files,
        fault=_fault(document) if state == "failed" and not files else None,
    )


def _fault(document: dict[str, Any]) -> str:
    """Why a batch failed as a whole: its first errors."""
    errors = document.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else None
    told = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    words = "; ".join(f"{each.get('message') or each.get('code')}" for each in told[:3])
    return shown((words or "it does not say why").encode("utf-8", "replace"))


def _line(line: bytes) -> Line:
    """One line of an output or error file.

    Raises:
        BatchError: It is none.
    """
    try:
        read = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BatchError(f"a line of the results cannot be read: {error}: {shown(line)}") from None
    if read.response is not None:
        return Line(read.custom_id, read.response.status_code, bytes(read.response.body))
    why = read.error or _Error()
    return Line(read.custom_id, None, shown(f"{why.code}: {why.message}".encode("utf-8", "replace")).encode())
