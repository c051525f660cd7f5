"""The two client metrics of OpenTelemetry's GenAI conventions, for the calls at hand.

`gen_ai.client.token.usage` and `gen_ai.client.operation.duration`, as histograms with delta temporality: each
batch stands for itself, so that no process has to remember what was told before.
"""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from gateway.traces.spans import Span, Value

TOKENS, SECONDS = "gen_ai.client.token.usage", "gen_ai.client.operation.duration"
# As the conventions advise.
_TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_SECOND_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_LABELS = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
_NANO = 1_000_000_000


def encoded(spans: Sequence[Span], resource: Resource) -> bytes:
    """An OTLP export request in protobuf, b'' where none of the spans is a call that is settled."""
    calls = [span for span in spans if span.outgoing and span.attributes.get("curb.state") == "settled"]
    if not calls:
        return b""
    reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
    provider = MeterProvider(
        [reader], resource, shutdown_on_exit=False,
        views=[_view(TOKENS, _TOKEN_BUCKETS), _view(SECONDS, _SECOND_BUCKETS)],
    )  # fmt: skip
    meter = provider.get_meter("curb")
    tokens = meter.create_histogram(TOKENS, "{token}", "Tokens that went in and came out")
    seconds = meter.create_histogram(SECONDS, "s", "How long calls took")
    for span in calls:
        labels = _labels(span)
        for kind in ("input", "output"):
            count = span.attributes.get(f"gen_ai.usage.{kind}_tokens", 0)
            tokens.record(count if isinstance(count, int) else 0, {**labels, "gen_ai.token.type": kind})
        failed: dict[str, Value] = {"error.type": span.error} if span.error else {}
        seconds.record((span.end_ns - span.start_ns) / _NANO, {**labels, **failed})
    data = reader.get_metrics_data()
    provider.shutdown()
    return b"" if data is None else encode_metrics(data).SerializeToString()


def _view(name: str, buckets: Sequence[float]) -> View:
    return View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(buckets))


def _labels(span: Span) -> dict[str, Value]:
    return {name: span.attributes[name] for name in _LABELS if name in span.attributes}
