"""Durations counted in buckets that grow by 19 % each, so that hours add up and percentiles can be told."""

from collections.abc import Mapping

BUCKETS_PER_DOUBLING = 4
MAX_BUCKET = 88
"""Bucket 0 is below a millisecond; bucket 88 is from 58 minutes on."""


def lower_edge_ms(bucket: int) -> float:
    """Where a bucket begins, in milliseconds; it ends where the next one begins."""
    return 0.0 if bucket <= 0 else 2.0 ** ((bucket - 1) / BUCKETS_PER_DOUBLING)


def percentile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """The duration below which `share` (0 to 1) of the counted ones lie, in milliseconds.

    counts: how many by bucket. Interpolated inside of the bucket, so at most 19 % off. None without any.
    """
    total = sum(counts.values())
    if not total:
        return None
    rank, below = share * total, 0
    for bucket in sorted(counts):
        if counts[bucket] and below + counts[bucket] >= rank:
            start, end = lower_edge_ms(bucket), lower_edge_ms(bucket + 1)
            return start + (end - start) * max(rank - below, 0.0) / counts[bucket]
        below += counts[bucket]
    raise AssertionError("a share of at most 1 ends in some bucket")
