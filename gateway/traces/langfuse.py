"""Langfuse: spans by its OTLP endpoint, scores by its API with the SDK's own types.

Self-hosted or cloud, version 3 or newer. https://langfuse.com/integrations/native/opentelemetry
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from gateway.traces.otlp import OtlpTarget, TracesRefused, TraceTargetUnavailable, retry_after
from gateway.traces.spans import Score, Told

_TRACES = "/api/public/otel/v1/traces"
_INGESTION = "4"  # spans are taken as they are, without waiting for others of their trace
_SCORES_AT_ONCE = 100
_TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class LangfuseTarget:
    """A project of a Langfuse at base_url. Keys are the project's; secret."""

    base_url: str
    public_key: str
    secret_key: str = field(repr=False)
    environment: str = ""
    name: str = "langfuse"

    async def send(self, client: httpx.AsyncClient, told: Sequence[Told]) -> None:
        """Send spans, then scores. Raises TraceTargetUnavailable, TracesRefused."""
        await self._otlp().send(client, told)
        scores = [score for each in told for score in each.scores]
        for start in range(0, len(scores), _SCORES_AT_ONCE):
            await self._score(client, scores[start : start + _SCORES_AT_ONCE])

    def _otlp(self) -> OtlpTarget:
        token = base64.b64encode(f"{self.public_key}:{self.secret_key}".encode()).decode()
        headers = {
            "authorization": f"Basic {token}",
            "x-langfuse-sdk-name": "curb",
            "x-langfuse-public-key": self.public_key,
            "x-langfuse-ingestion-version": _INGESTION,
        }
        return OtlpTarget(self.name, self.base_url.rstrip("/") + _TRACES, headers, langfuse=True)

    async def _score(self, client: httpx.AsyncClient, scores: Sequence[Score]) -> None:
        # Imported here: it takes a second, and only who tells Langfuse needs it.
        from langfuse.api import AsyncLangfuseAPI, CreateScoreRequest, ScoreDataType
        from langfuse.api.core.api_error import ApiError

        api = AsyncLangfuseAPI(
            base_url=self.base_url.rstrip("/"),
            username=self.public_key,
            password=self.secret_key,
            x_langfuse_public_key=self.public_key,
            httpx_client=client,
        )
        asked = [
            CreateScoreRequest(
                id=score.id,
                trace_id=score.trace_id,
                name=score.name,
                value=score.value,
                data_type=ScoreDataType(score.kind),
                comment=score.comment or None,
                environment=self.environment or None,
            )
            for score in scores
        ]
        try:
            done = await api.scores.create(request=asked, request_options={"max_retries": 0})
        except ApiError as error:
            raise _meaning(self.name, error.status_code, error.body, error.headers or {}) from error
        except httpx.HTTPError as error:
            raise TraceTargetUnavailable(f"{self.name}: scores: {type(error).__name__}: {error}") from error
        if errors := getattr(done, "errors", None):
            raise TracesRefused(f"{self.name}: scores: {str(errors)[:300]}")


def _meaning(
    name: str, status: int | None, body: object, headers: dict[str, str]
) -> TraceTargetUnavailable | TracesRefused:
    said = f"{name}: scores: HTTP {status}: {str(body)[:300]}"
    wrong_key = status in (401, 403)
    if status is not None and 400 <= status < 500 and status not in _TRY_AGAIN and not wrong_key:
        return TracesRefused(said)
    return TraceTargetUnavailable(said, retry_after(headers.get("retry-after", "")))
