"""OpenAI's batches: a file of requests goes up, a file of answers comes down.

https://platform.openai.com/docs/api-reference/batch
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway.config import FamilyName, Provider
from gateway.policy.usage import Usage
from gateway.providers.answers import Progress
from gateway.providers.batches import MOST_RESULT_BYTES, Answered, Results, Sending, Told
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.providers.exchange import asked
from gateway.providers.http import Http
from gateway.providers.usage import openai_usage, responses_usage
from gateway.providers.wire_json import dumps, loads

MARKER = "curb_batch"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_SECONDS = 60.0
_TRANSFER_SECONDS = 600.0
_PAGE = 100
_MOST_PAGES = 20


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

    async def create(
        self, http: Http, provider: Provider, sending: Sending, *, before_send: Callable[[], None]
    ) -> Told:
        content_type, body = _form(sending.upload)
        kept = await _asked(
            http, provider, "/files", body, {"content-type": content_type}, seconds=_TRANSFER_SECONDS
        )
        order = {
            "input_file_id": loads(kept)["id"],
            "endpoint": sending.endpoint,
            "completion_window": "24h",
            "metadata": {MARKER: sending.marker},
        }
        headers = {"x-client-request-id": sending.attempt_id}
        said = await _asked(http, provider, "/batches", dumps(order), headers, before_send=before_send)
        return _told(provider, said)

    async def find(self, http: Http, provider: Provider, marker: str) -> Told | None:
        after = ""
        for _ in range(_MOST_PAGES):
            query = f"?limit={_PAGE}" + (f"&after={after}" if after else "")
            page = loads(await _asked(http, provider, f"/batches{query}", method="GET"))
            for each in page["data"]:
                if (each.get("metadata") or {}).get(MARKER) == marker:
                    return _read(each)
            if not page.get("has_more") or not page["data"]:
                return None
            after = page["data"][-1]["id"]
        raise ProviderError(ErrorKind.BAD_RESPONSE, f"{provider.name} has too many batches", sent=False)

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
        for line in filter(None, results.output.splitlines()):
            one = loads(line)
            response = one.get("response") or {}
            if response.get("status_code") == 200:
                usage = response["body"].get("usage")
                yield Answered(str(one["custom_id"]), _usage(usage))


def _usage(reported: Any) -> Usage | None:
    """Of either of OpenAI's ways of counting."""
    if not isinstance(reported, dict):
        return None
    return responses_usage(reported) if "input_tokens" in reported else openai_usage(reported)


_FILES = ("output_file_id", "error_file_id")


async def _asked(
    http: Http,
    provider: Provider,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    seconds: float = _SECONDS,
    most_bytes: int = 32 * 1024 * 1024,
    before_send: Callable[[], None] = lambda: None,
) -> bytes:
    async def ask(key: str) -> bytes:
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

    return await http.keys.using(provider, Progress(), ask)


def _told(provider: Provider, said: bytes) -> Told:
    try:
        return _read(loads(said))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProviderError(
            ErrorKind.BAD_RESPONSE, f"{provider.name} sent what is no batch", sent=True
        ) from error


def _read(document: Mapping[str, Any]) -> Told:
    status = str(document["status"])
    rejected = ""
    if status == "failed":
        problems = (document.get("errors") or {}).get("data") or [{}]
        rejected = str(problems[0].get("message") or "the provider did not take it")[:400]
    return Told(str(document["id"]), status in _ENDED, document, rejected)


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
