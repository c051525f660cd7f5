"""Anthropic's message batches: the requests go in one document, the results come as lines.

https://docs.anthropic.com/en/api/creating-message-batches
A batch carries nothing by which it could be found again: one whose creation was cut off is in doubt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.config import FamilyName, Provider
from gateway.providers.answers import Progress
from gateway.providers.anthropic import VERSION
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
from gateway.providers.usage import anthropic_usage
from gateway.providers.wire_json import dumps, loads

_PATH = "/v1/messages/batches"
_SECONDS = 60.0
_TRANSFER_SECONDS = 600.0


class AnthropicBatches:
    """See gateway.providers.batches.BatchApi."""

    family: FamilyName = "anthropic"
    findable = False

    def encode(self, requests: Sequence[tuple[str, bytes]], endpoint: str) -> bytes:
        return dumps({"requests": [{"custom_id": i, "params": loads(body)} for i, body in requests]})

    async def create(self, http: Http, provider: Provider, sending: Sending, *, begin: Begin) -> Told:
        check = await begin()
        headers = {**sending.headers, "x-client-request-id": sending.attempt_id}
        said = await _asked(
            http,
            provider,
            _PATH,
            sending.upload,
            headers,
            seconds=_TRANSFER_SECONDS,
            before_send=check,
        )
        return _told(provider, said)

    async def find(self, http: Http, provider: Provider, marker: str, since: datetime) -> Told | None:
        raise ProviderError(ErrorKind.BAD_RESPONSE, f"{provider.name} cannot tell", sent=False)

    async def look(self, http: Http, provider: Provider, id: str) -> Told:
        return _told(provider, await _asked(http, provider, f"{_PATH}/{id}", method="GET"))

    async def cancel(self, http: Http, provider: Provider, id: str) -> None:
        await _asked(http, provider, f"{_PATH}/{id}/cancel")

    async def results(self, http: Http, provider: Provider, told: Told) -> Results:
        said = await _asked(
            http,
            provider,
            f"{_PATH}/{told.id}/results",
            method="GET",
            seconds=_TRANSFER_SECONDS,
            most_bytes=MOST_RESULT_BYTES,
        )
        return Results(output=said)

    def answered(self, results: Results) -> Iterator[Answered]:
        for line in lines_of(results.output):
            try:
                one = loads(line)
                if one["result"]["type"] == "succeeded":
                    said = one["result"]["message"].get("usage")
                    usage = anthropic_usage(said) if isinstance(said, dict) else None
                    yield Answered(str(one["custom_id"]), usage)
            except NO_SENSE:
                yield Answered("", None)


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
            {"anthropic-version": VERSION, **(headers or {}), **({"x-api-key": key} if key else {})},
            timeout_seconds=seconds,
            method=method,
            most_bytes=most_bytes,
            before_send=before_send,
        )

    return await http.keys.using(provider, Progress(), ask, scattered=path != _PATH)


def _told(provider: Provider, said: bytes) -> Told:
    try:
        document: Mapping[str, Any] = loads(said)
        ended, answered = document["processing_status"] == "ended", count_of(document, "succeeded")
        return Told(str(document["id"]), ended, document, answered=answered)
    except NO_SENSE as error:
        raise ProviderError(
            ErrorKind.BAD_RESPONSE, f"{provider.name} sent what is no batch", sent=True
        ) from error
