"""Where something belongs in a trace: what headers say, what follows from names, who is in a sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import Caller
from gateway.errors import ConfigurationError
from gateway.traces import ids
from worker.config_traces import TracesPlan
from worker.settings import Settings
from worker.tracing import trace_targets

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_header_that_is_written_reads_the_same() -> None:
    place = ids.Place(TRACE, SPAN)
    assert ids.read_traceparent(ids.write_traceparent(place)) == place


@pytest.mark.parametrize("version", ["00", "01", "cc"])
def test_headers_of_versions_to_come_are_read_too(version: str) -> None:
    more = "-what-else" if version != "00" else ""
    assert ids.read_traceparent(f"{version}-{TRACE}-{SPAN}-00{more}") == ids.Place(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"FF-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_a_header_that_is_none_says_nothing(header: str) -> None:
    assert ids.read_traceparent(header) == ids.Place()


@given(st.text())
def test_no_text_at_all_breaks_reading(text: str) -> None:
    place = ids.read_traceparent(text)
    assert (place == ids.Place()) or (len(place.trace_id), len(place.span_id)) == (32, 16)


def test_a_call_without_a_trace_has_that_of_the_run_at_the_top() -> None:
    child = ids.placed(Caller(agent="a", run_id="c", ancestors=("b", "top"), step=2), "key")
    assert (child.trace_id, child.span_id) == (ids.trace_of("top"), ids.step_span("c", 2))


def test_a_call_of_no_run_is_a_trace_of_its_own() -> None:
    alone = ids.placed(Caller(agent="a"), "key")
    assert (alone.trace_id, alone.span_id) == (ids.trace_of("key"), "")


def test_a_callers_own_trace_is_kept() -> None:
    own = ids.placed(Caller(agent="a", run_id="r", step=1, trace_id=TRACE, span_id=SPAN), "key")
    assert (own.trace_id, own.span_id) == (TRACE, SPAN)


@given(st.text(), st.integers(1, 1000))
def test_ids_have_the_size_that_the_protocol_wants_and_are_never_zero(name: str, step: int) -> None:
    assert int(ids.trace_of(name), 16)
    assert len(ids.trace_of(name)) == 32
    for span in (ids.run_span(name), ids.step_span(name, step), ids.attempt_span(name)):
        assert len(span) == 16
        assert int(span, 16)


@given(st.sets(st.text(min_size=1), min_size=50, max_size=50))
def test_a_bigger_sample_holds_every_smaller_one(names: set[str]) -> None:
    traces = [ids.trace_of(name) for name in names]
    kept = [{t for t in traces if ids.is_sampled(t, ratio)} for ratio in (0.0, 0.3, 0.7, 1.0)]
    assert kept[0] == set()
    assert kept[0] <= kept[1] <= kept[2] <= kept[3] == set(traces)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_nobody_is_told_anything_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert trace_targets(Settings(), TracesPlan()) == ()


def test_half_a_set_of_keys_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(monkeypatch, LANGFUSE_PUBLIC_KEY="pk-1")
    with pytest.raises(ConfigurationError, match="LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"):
        trace_targets(given, TracesPlan())


def test_both_can_be_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(
        monkeypatch,
        LANGFUSE_PUBLIC_KEY="pk-1",
        LANGFUSE_SECRET_KEY="sk-hidden",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer hidden,x-team=a",
    )
    targets = trace_targets(given, TracesPlan())
    assert [target.name for target in targets] == ["langfuse", "otlp"]
    assert "hidden" not in repr(given)


def test_headers_that_are_none_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(
        monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318", OTEL_EXPORTER_OTLP_HEADERS="hidden"
    )
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_HEADERS") as wrong:
        trace_targets(given, TracesPlan())
    assert "hidden" not in str(wrong.value)
