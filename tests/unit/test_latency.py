"""Percentiles from buckets are close to those of the values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.latency import BUCKETS_PER_DOUBLING, MAX_BUCKET, lower_edge_ms, percentile_ms


def bucket_of(ms: float) -> int:
    """As queries/usage.sql counts."""
    if ms < 1:
        return 0
    return min(math.floor(math.log2(ms) * BUCKETS_PER_DOUBLING) + 1, MAX_BUCKET)


def test_nothing_has_no_percentile() -> None:
    assert percentile_ms({}, 0.95) is None


def test_buckets_touch_and_grow() -> None:
    edges = [lower_edge_ms(bucket) for bucket in range(MAX_BUCKET + 1)]

    assert edges[:2] == [0.0, 1.0]
    assert edges == sorted(set(edges))


@given(
    st.lists(st.floats(min_value=1, max_value=3_000_000), min_size=1, max_size=200),
    st.floats(min_value=0.01, max_value=1),
)
def test_a_percentile_is_within_a_fifth_of_the_true_one(durations: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for ms in durations:
        counts[bucket_of(ms)] = counts.get(bucket_of(ms), 0) + 1

    told = percentile_ms(counts, share)

    true = sorted(durations)[max(math.ceil(share * len(durations)) - 1, 0)]
    assert told == pytest.approx(true, rel=0.21)
