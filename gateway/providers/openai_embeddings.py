"""OpenAI's embeddings: a request passes as it is; its answer is vectors, which nobody here reads.

https://platform.openai.com/docs/api-reference/embeddings
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.calls import Message, ModelRequest, WireRequest
from gateway.config import Api, Deployment, FamilyName, Provider
from gateway.listening import Delta
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError, from_stream
from gateway.providers.exchange import Hearing
from gateway.providers.http import Http
from gateway.providers.openai import sent
from gateway.providers.sse import SseEvent
from gateway.providers.usage import openai_usage
from gateway.providers.wire_json import dumps


class OpenAIEmbeddings:
    """See gateway.providers.base.Family."""

    name: FamilyName = "openai"
    api: Api = "embeddings"

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """There is no answer in words here."""
        raise ProviderError(
            ErrorKind.INVALID_REQUEST, f"{deployment.name} makes embeddings and no answers", sent=False
        )

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        return dumps({**request.document, "model": deployment.model})

    async def send(
        self,
        http: Http,
        provider: Provider,
        deployment: Deployment,
        body: bytes,
        *,
        attempt_id: str,
        timeout_seconds: float,
        before_send: Callable[[], None],
        progress: Progress | None = None,
        hearing: Hearing | None = None,
    ) -> ProviderAnswer:
        progress = progress if progress is not None else Progress()
        return await sent(
            http,
            provider,
            "/embeddings",
            body,
            lambda: EmbeddingsReader(provider.name, progress),
            attempt_id=attempt_id,
            timeout_seconds=timeout_seconds,
            before_send=before_send,
            progress=progress,
            hearing=hearing if hearing is not None else Hearing(),
        )


class EmbeddingsReader:
    """Reads what is told beside the vectors; see gateway.providers.exchange.Reader."""

    deltas: list[Delta] | None = None

    def __init__(self, provider: str, progress: Progress) -> None:
        self._provider = provider
        self._progress = progress
        self.finished = False
        self.ended = False

    def feed(self, event: SseEvent) -> None:
        raise ValueError("embeddings come in one piece")

    def whole(self, document: Mapping[str, Any]) -> None:
        progress = self._progress
        if document.get("error"):
            raise from_stream(self._provider, document["error"], progress.partial())
        if not isinstance(document["data"], list):
            raise TypeError("`data` is no list")
        if usage := document.get("usage"):
            progress.provider_usage = dict(usage)
            progress.usage = openai_usage(usage)
        self.finished = True

    def answer(self, done_ms: int) -> ProviderAnswer:
        progress = self._progress
        return ProviderAnswer(
            message=Message(role="assistant", parts=()),
            finish_reason="stop",
            usage=progress.usage,
            provider_usage=progress.provider_usage,
            provider_request_id=progress.provider_request_id,
            first_token_ms=None,
            done_ms=done_ms,
        )
