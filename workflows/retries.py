"""Timeouts and retries that several workflows share; every retry has a cap."""

from datetime import timedelta

from temporalio.common import RetryPolicy

QUICK = timedelta(seconds=15)
OPENING_LOST = timedelta(seconds=10)  # opening a run may start tool servers, so it heartbeats
RECORDS = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=15),
    maximum_attempts=200,
)
CALLS = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=10,
)
