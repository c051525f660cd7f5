"""OpenAI's batches: a file of requests goes up, a file of answers comes down.

https://platform.openai.com/docs/api-reference/batch
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.config import FamilyName, Provider
from gateway.policy.usage import Usage
from gateway.providers.answers import Progress
from gateway.providers.batches import (
    MOST_RESULT_BYTES,
    NO_SENSE,
    Answered,
    Begin,
    Results,
    Sending,
    Told,
    count_of,
    lines_of,
)
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.providers.exchange import asked
from gateway.providers.http import Http
from gateway.providers.usage import openai_usage, responses_usage
from gateway.providers.wire_json import dumps, loads

MARKER = "curb_batch"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_SECONDS = 60.0
_MOST_BYTES = 32 * 1024 * 1024
_TRANSFER_SECONDS = 600.0
_PAGE = 100
_MOST_PAGES = 20
_CLOCKS_SECONDS = 86_400  # more than any clock of theirs is off


class OpenAIBatches:
    """See gateway.providers.batches.BatchApi."""

    family: FamilyName = "openai"
    findable = True

    def encode(self, requests: Sequence[tuple[str, bytes]], endpoint: str) -> bytes:
        lines = (
            dumps({"custom_id": custom_id, "method": "POST", "url": endpoint, "body": loads(body)})
            for custom_id, body in requests
        )
        return b"\n".join(lines)

    async def create(self, http: Http, provider: Provider, sending: Sending, *, begin: Begin) -> Told:
        content_type, form = _form(sending.upload)

        async def hand_in(key: str) -> bytes:
            kept = await _with(
                key, http, provider, "/files", form, {"content-type": content_type}, seconds=_TRANSFER_SECONDS
            )
            order = {
                "input_file_id": _id_of(provider, kept),
                "endpoint": sending.endpoint,
                "completion_window": "24h",
                "metadata": {MARKER: sending.marker},
            }
            headers = {"x-client-request-id": sending.attempt_id}
            check = await begin()
            return await _with(key, http, provider, "/batches", dumps(order), headers, before_send=check)

        return _told(provider, await http.keys.using(provider, Progress(), hand_in))

    async def find(self, http: Http, provider: Provider, marker: str, since: datetime) -> Told | None:
        async def look_through(key: str) -> Told | None:
            return await _find(key, http, provider, marker, int(since.timestamp()) - _CLOCKS_SECONDS)

        return await http.keys.any_of(provider, look_through)

    async def look(self, http: Http, provider: Provider, id: str) -> Told:
        return _told(provider, await _asked(http, provider, f"/batches/{id}", method="GET"))

    async def cancel(self, http: Http, provider: Provider, id: str) -> None:
        await _asked(http, provider, f"/batches/{id}/cancel")

    async def results(self, http: Http, provider: Provider, told: Told) -> Results:
        return Results(*[await self._file(http, provider, told.document.get(n)) for n in _FILES])

    async def _file(self, http: Http, provider: Provider, id: object) -> bytes:
        if not isinstance(id, str) or not id:
            return b""
        return await _asked(
            http,
            provider,
            f"/files/{id}/content",
            method="GET",
            seconds=_TRANSFER_SECONDS,
            most_bytes=MOST_RESULT_BYTES,
        )

    def answered(self, results: Results) -> Iterator[Answered]:
        for line in lines_of(results.output):
            try:
                one = loads(line)
                response = one.get("response") or {}
                if response.get("status_code") == 200:
                    yield Answered(str(one["custom_id"]), _usage(response["body"].get("usage")))
            except NO_SENSE:
                yield Answered("", None)


def _usage(reported: Any) -> Usage | None:
    """Of either of OpenAI's ways of counting."""
    if not isinstance(reported, dict):
        return None
    return responses_usage(reported) if "input_tokens" in reported else openai_usage(reported)


_FILES = ("output_file_id", "error_file_id")


async def _find(key: str, http: Http, provider: Provider, marker: str, since: int) -> Told | None:
    """Page after page, the latest first; not further back than it can be."""
    after = ""
    for _ in range(_MOST_PAGES):
        query = f"?limit={_PAGE}" + (f"&after={after}" if after else "")
        try:
            page = loads(await _with(key, http, provider, f"/batches{query}", method="GET"))
            found = list(page["data"])
            for each in found:
                if (each.get("metadata") or {}).get(MARKER) == marker:
                    return _read(each)
            created = [int(each["created_at"]) for each in found]
        except NO_SENSE as error:
            raise _no_batch(provider) from error
        if not found or not page.get("has_more"):
            return None
        if created[-1] < since and created == sorted(created, reverse=True):
            return None
        after = found[-1]["id"]
    raise ProviderError(ErrorKind.BAD_RESPONSE, f"{provider.name} has too many batches", sent=False)


async def _asked(
    http: Http,
    provider: Provider,
    path: str,
    *,
    method: str = "POST",
    seconds: float = _SECONDS,
    most_bytes: int = _MOST_BYTES,
) -> bytes:
    """About a batch or a file that one of the keys has made."""

    async def ask(key: str) -> bytes:
        return await _with(key, http, provider, path, method=method, seconds=seconds, most_bytes=most_bytes)

    return await http.keys.using(provider, Progress(), ask, scattered=True)


async def _with(
    key: str,
    http: Http,
    provider: Provider,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    seconds: float = _SECONDS,
    most_bytes: int = _MOST_BYTES,
    before_send: Callable[[], None] = lambda: None,
) -> bytes:
    return await asked(
        http,
        provider,
        path,
        body,
        {**(headers or {}), **({"authorization": f"Bearer {key}"} if key else {})},
        timeout_seconds=seconds,
        method=method,
        most_bytes=most_bytes,
        before_send=before_send,
    )


def _id_of(provider: Provider, said: bytes) -> str:
    try:
        return str(loads(said)["id"])
    except NO_SENSE as error:
        raise _no_batch(provider) from error


def _no_batch(provider: Provider) -> ProviderError:
    return ProviderError(ErrorKind.BAD_RESPONSE, f"{provider.name} sent what is no batch", sent=True)


def _told(provider: Provider, said: bytes) -> Told:
    try:
        return _read(loads(said))
    except NO_SENSE as error:
        raise _no_batch(provider) from error


def _read(document: Mapping[str, Any]) -> Told:
    status = str(document["status"])
    rejected = ""
    if status == "failed":
        problems = (document.get("errors") or {}).get("data") or [{}]
        rejected = str(problems[0].get("message") or "the provider did not take it")[:400]
    answered = count_of(document, "completed")
    return Told(str(document["id"]), status in _ENDED, document, rejected, answered)


def _form(content: bytes) -> tuple[str, bytes]:
    """A form with the file in it (RFC 7578): its content type and its bytes."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    )
    return (
        f"multipart/form-data; boundary={boundary}",
        head.encode() + content + f"\r\n--{boundary}--\r\n".encode(),
    )
