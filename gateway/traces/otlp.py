"""Sends spans, and the metrics of calls, by OTLP over HTTP, in protobuf, to any OpenTelemetry collector.

The encoding is the OpenTelemetry SDK's; sending is ours, because what a server says about waiting and about
what it will never take decides what happens to the outbox.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.errors import CurbError
from gateway.traces.genai_metrics import encoded
from gateway.traces.spans import Span, Told

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 20.0
_NEVER = frozenset({400, 404, 405, 411, 413, 415, 422})  # the same again would be refused again
_LONGEST_WORDS = 300


class TraceTargetUnavailable(CurbError):
    """Nobody takes traces now; asking again later may help. retry_after_seconds: as the server says."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TracesRefused(CurbError):
    """The server will not take just these."""


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector. endpoint: the whole URL, ending in /v1/traces; metrics go to the same with /v1/metrics.
    headers: for authorization; secret. langfuse: whether it is one: they read more of a span and no metrics.
    """

    name: str
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: str = "curb"
    langfuse: bool = False

    async def send(self, client: httpx.AsyncClient, told: Sequence[Told]) -> None:
        """Send all spans in one request, and what they measured in another.

        Raises TraceTargetUnavailable, TracesRefused.
        """
        spans = [span for each in told for span in each.spans]
        if not spans:
            return
        resource = Resource({"service.name": self.service})
        body = encode_spans([_readable(span, resource, self.langfuse) for span in spans])
        answer = await post(client, self, self.endpoint, body.SerializeToString())
        _note_rejected(self, answer)
        if not self.langfuse and (measured := encoded(spans, resource)):
            await self._measure(client, measured)

    async def _measure(self, client: httpx.AsyncClient, body: bytes) -> None:
        """Metrics are extra: a collector that takes none keeps its traces."""
        url = self.endpoint.removesuffix("traces") + "metrics"
        try:
            await post(client, self, url, body)
        except (TraceTargetUnavailable, TracesRefused) as error:
            log.warning("metrics of calls were not taken", target=self.name, error=str(error))


async def post(client: httpx.AsyncClient, target: OtlpTarget, url: str, body: bytes) -> httpx.Response:
    """One request; what its answer means. Raises TraceTargetUnavailable, TracesRefused."""
    headers = {
        **target.headers,
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
    }
    try:
        answer = await client.post(
            url, content=gzip.compress(body), headers=headers, timeout=_TIMEOUT_SECONDS
        )
    except httpx.HTTPError as error:
        raise TraceTargetUnavailable(f"{target.name}: {url}: {type(error).__name__}: {error}") from error
    if answer.is_success:
        return answer
    said = f"{target.name}: {url}: HTTP {answer.status_code}: {answer.text[:_LONGEST_WORDS]}"
    if answer.status_code in _NEVER:
        raise TracesRefused(said)
    raise TraceTargetUnavailable(said, retry_after(answer.headers.get("retry-after", "")))


def retry_after(header: str) -> float | None:
    """Seconds, where the header says so."""
    return float(header) if header.strip().isdigit() else None


def _note_rejected(target: OtlpTarget, answer: httpx.Response) -> None:
    if "protobuf" not in answer.headers.get("content-type", ""):
        return
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    if partial.rejected_spans:
        log.warning(
            "spans were rejected",
            target=target.name,
            spans=partial.rejected_spans,
            reason=partial.error_message[:_LONGEST_WORDS],
        )


_SCOPE = InstrumentationScope("curb")


def _readable(span: Span, resource: Resource, langfuse: bool) -> ReadableSpan:
    """The span as the SDK's encoder reads it."""
    status = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes={**span.attributes, **span.langfuse} if langfuse else dict(span.attributes),
        kind=SpanKind.CLIENT if span.outgoing else SpanKind.INTERNAL,
        status=status,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
